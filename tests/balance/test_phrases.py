from __future__ import annotations

import pytest

from balance.concepts import UNKNOWN, load_concepts
from balance.phrases import folded, phrases

CONCEPTS = load_concepts()


@pytest.mark.parametrize(
    ("word", "concept"),
    [
        # what something is of, with or in is not what it is ...
        ("statue of a woman", "Architecture > Ruin"),
        ("Dog of a woman", "Animal > Dog"),
        ("shadow of a man", UNKNOWN),
        ("woman with a dog", "Human > Woman"),
        ("young woman in a red dress", "Human > Woman"),
        ("man riding a horse", "Human > Man"),
        ("cup of coffee", "Food > Cup"),
        # ... unless a word says nothing of itself, or the whole is known
        ("two herds of elephants", "Animal > Wild mammal"),
        ("close-up of a pair of dogs", "Animal > Dog"),
        ("view of a statue of a woman", "Architecture > Ruin"),
        ("group of people", "Human > Crowd"),
        ("large group of friends", "Human > Crowd"),
        # plurals
        ("buses", "Vehicles > Bus"),
        ("babies", "Human > Baby"),
        ("wild ponies", "Animal > Horse"),
        ("wolves", "Animal > Wild mammal"),
        ("knives", "Object > Tableware"),
        ("tomatoes", "Food > Vegetable"),
        ("walruses", "Animal > Sea mammal"),
        ("waves", "Scenery > Sea"),
        ("cookies", "Food > Baked"),
        ("horses", "Animal > Horse"),
        ("grass", "Plant > Grass"),
        ("manes", UNKNOWN),
        # brackets and marks
        ("dog (golden retriever)", "Animal > Dog"),
        ("狗（金毛）", "Animal > Dog"),
        ("“Dog”.", "Animal > Dog"),
        ("《狗》", "Animal > Dog"),
        ("(dog)", "Animal > Dog"),
        ("()", UNKNOWN),
        # the last character of a Chinese word
        ("马", "Animal > Horse"),
        ("河马", "Animal > Wild mammal"),
        ("木马", "Object > Goods"),
        ("蜗牛", "Animal"),
        ("天牛", "Animal > Insect"),
        ("雪人", "Object > Goods"),
        ("稻草人", "Object > Goods"),
        ("机器狗人", UNKNOWN),
        ("老女人", "Human > Woman"),
        ("鼠标", "Object > Device"),
        ("老电视机", "Object > Device"),
        # no Chinese word ends within a word of letters
        ("géant", UNKNOWN),
        ("café owner's dog", "Animal > Dog"),
    ],
)
def test_a_phrase_is_taken_for_what_it_is(word, concept):
    assert CONCEPTS.concept_of(None, word) == concept


@pytest.mark.parametrize(
    ("subject_type", "sub_type", "concept"),
    [
        ("动物", "白猫", "Animal > Cat"),
        (None, "白猫", UNKNOWN),
        ("人物", "雪人", "Human"),
        ("Animal", "herd of quokkas", "Animal"),
    ],
)
def test_the_last_character_says_the_kind_of_a_type_alone(subject_type, sub_type, concept):
    assert CONCEPTS.concept_of(subject_type, sub_type) == concept


@pytest.mark.parametrize(
    "word", ["herd of " * 20_000 + "dogs", "大" * 100_000 + "女人", "(" * 100_000 + "dog"]
)
def test_a_caption_without_end_is_looked_up_too(word):
    assert CONCEPTS.concept_of("Blob", word) in ("Animal > Dog", "Human > Woman")


def test_what_is_looked_up_and_in_which_order():
    assert list(phrases("Two wolves of the North")) == [
        *("two wolves of the north", "two wolve", "two wolf", "two wolfe", "wolve", "wolf", "wolfe"),
    ]
    assert list(phrases("大白猫", short=True)) == ["大白猫", "大白猫", "白猫", "猫"]
    assert list(phrases("大白猫")) == ["大白猫", "大白猫", "白猫"]
    assert list(phrases(None)) == [""]
    assert folded("  Ｄｏｇ__(a) [b] -x! ") == "dog x"
