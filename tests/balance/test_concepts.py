from __future__ import annotations

import pyarrow as pa
import pytest

from balance.concepts import UNKNOWN, Evidence, Unmapped, category_of, load_concepts
from captioner.concepts import TYPE_OF
from filters.descriptors.imagenet import LABELS

CONCEPTS = load_concepts()


@pytest.mark.parametrize(
    ("subject_type", "sub_type", "concept"),
    [
        ("Human", "Woman", "Human > Woman"),
        ("human", "  WOMEN ", "Human > Woman"),
        ("Person", None, "Human"),
        ("Human", "Astronaut", "Human"),
        ("Woman", None, "Human > Woman"),
        ("Woman", "Astronaut", "Human > Woman"),
        ("Vehicle", "Cars", "Vehicles > Car"),
        ("Transportation", "sail-boat", "Vehicles > Ship"),
        ("Transportation", "Contraption", "Vehicles"),
        ("Human", "Young adult woman", "Human > Woman"),
        ("Animal", "German Shepherd", "Animal > Dog"),
        ("人物", "年轻女人", "Human > Woman"),
        ("Human", "女孩", "Human > Child"),
        ("风景", "雪山", "Scenery > Mountain"),
        ("机器人", None, "Object > Device"),
        ("Ｈｕｍａｎ", "ＭＡＮ", "Human > Man"),
        ("Human", "Hot dog vendor", "Human"),
        ("Other", "Insect", "Animal > Insect"),
        ("", "Mountain", "Scenery > Mountain"),
        (None, "Person", "Human"),
        ("Animal", "Woman", "Animal"),
        ("Scenery", "Natural_Scenery", "Scenery"),
        ("Food", "Hot dog", "Food > Meat"),
        ("Blob", "Thingummy", UNKNOWN),
        ("Other", None, UNKNOWN),
        (None, None, UNKNOWN),
        ("Unknown", "Unknown", UNKNOWN),
    ],
)
def test_words_of_captions_become_concepts(subject_type, sub_type, concept):
    assert CONCEPTS.concept_of(subject_type, sub_type) == concept
    assert category_of(concept) in (*CONCEPTS.categories, UNKNOWN)


def test_the_categories_of_the_paper_are_there():
    assert {"Human", "Animal", "Scenery", "Architecture", "Plant", "Vehicles", "Sport", "Food"} <= set(
        CONCEPTS.categories
    )


def test_every_label_of_the_embedded_captioner_is_known():
    found = {label: CONCEPTS.concept_of(kind, label.capitalize()) for label, kind in TYPE_OF.items()}
    assert [label for label, concept in found.items() if concept == UNKNOWN] == []
    assert found["person"] == "Human"
    assert found["dog"] == "Animal > Dog"
    assert found["boat"] == "Vehicles > Ship"


def test_a_column_is_mapped_row_by_row():
    types = pa.chunked_array([["Human", None], ["Human", "Animal"]])
    kinds = pa.chunked_array([["Man", None, "Man"], [None]])
    assert CONCEPTS.assign(types, kinds).to_pylist() == ["Human > Man", UNKNOWN, "Human > Man", "Animal"]
    nothing = pa.chunked_array([pa.nulls(2)])
    assert CONCEPTS.assign(nothing, nothing).to_pylist() == [UNKNOWN, UNKNOWN]
    empty = pa.chunked_array([], pa.string())
    assert CONCEPTS.assign(empty, empty).to_pylist() == []


def test_what_is_not_known_as_it_is_said_is_counted_with_what_it_is_taken_for():
    said = [
        *[
            ("Human", "Young woman"),
            ("Human", "Women"),
            ("动物", "白猫"),
            ("动物", "白猫"),
            (None, "白猫"),
            (None, None),
        ],
        *[
            ("Blob", "Dog"),
            ("Blob", None),
            ("Animal", "Quokkas"),
            ("Other", "shadow of a man"),
            ("Animal", "Dog (old)"),
        ],
    ]
    columns = [pa.chunked_array([list(one)]) for one in zip(*said, strict=True)]
    assert CONCEPTS.unmapped(*columns) == {
        Unmapped("Human", "Young woman", "Human > Woman", guessed=True): 1,
        Unmapped("动物", "白猫", "Animal > Cat", guessed=True): 2,
        Unmapped("", "白猫", UNKNOWN): 1,
        Unmapped("Blob", "Dog", "Animal > Dog"): 1,
        Unmapped("Blob", "", UNKNOWN): 1,
        Unmapped("Animal", "Quokkas", "Animal"): 1,
        Unmapped("Other", "shadow of a man", UNKNOWN): 1,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no category"),
        ("A = 1", "A: a category is a table of `also`, `kinds` and `classes`"),
        ("[A]\nkind = {}", "A: a category is a table"),
        ("[A]\nkinds = []", "A: a category is a table"),
        ("[A]\nalso = 'x'", "A: its other words are a list of texts"),
        ("[A]\nalso = [1]", "A: its other words are a list of texts"),
        ("[A.kinds]\nB = 'x'", "A > B: its other words are a list of texts"),
        ("[A]\nalso = ['a']", "A: the word 'a' is empty or stands for A too"),
        ("[A]\n[B]\nalso = ['As', 'Bees', 'bee']", "B: the word 'bee' is empty or stands for B too"),
        ("[A.kinds]\nC = []\n[B.kinds]\nC = []", "B > C: the word 'C' is empty or stands for A > C too"),
        ("[A]\nalso = [' ']", "A: the word ' ' is empty"),
        ("[Unknown]", "Unknown: the word 'Unknown' is empty or stands for Unknown too"),
        ('["A > B"]\n["A > B".kinds]\nC = []', "a name has no > in it"),
        ('["A>B"]', "A>B: a name has no > in it"),
        ("[A", "it is not TOML"),
    ],
)
def test_a_wrong_taxonomy_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "concepts.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_concepts(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_every_run_of_classes_of_the_packaged_taxonomy_is_known():
    found = load_concepts(classes=LABELS)
    assert found.by_class["seashore"] == "Scenery > Sea"
    assert found.by_class["dome"] == "Architecture"
    assert found.by_class["Border collie"] == "Animal > Dog"
    assert "cardigan" not in found.by_class
    animals = {LABELS[i] for i in range(398)} - {
        name for name, c in found.by_class.items() if c.startswith("Animal")
    }
    assert animals == {"trilobite"}
    assert CONCEPTS.by_class == {}
    assert CONCEPTS.evidence == found.evidence == Evidence()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[A.classes]\nA = ['x']", "A: the classifier has no class or run of them 'x'"),
        ("[A.classes]\nA = ['two .. one']", "has no class or run of them 'two .. one'"),
        ("[A.classes]\nA = ['one .. two', 'two']", "A: the class 'two' means A too"),
        ("[A.classes]\nB = ['one']", "A.classes: B is no kind of it"),
        ("[A.classes]\nA = 'one'", "A.classes: A is no kind of it with a list"),
        ("[A]\nclasses = 1", "A: a category is a table"),
        ("evidence = 1\n[A]", "evidence: it is a table of category, kind, object"),
        ("[evidence]\nlooks = 1\n[A]", "evidence: it is a table of"),
        ("[evidence]\nkind = 2\n[A]", "evidence.kind: 2 is no share over 0 and up to 1"),
        ("[evidence]\nkind = 'x'\n[A]", "evidence.kind: 'x' is no share"),
        ("[evidence]\nkind = true\n[A]", "evidence.kind: True is no share"),
    ],
)
def test_wrong_classes_are_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "concepts.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_concepts(path, ("one", "two"))
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_taxonomy_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.toml: it cannot be read: No such file"):
        load_concepts(tmp_path / "gone.toml")
