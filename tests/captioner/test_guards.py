"""The guards over plain text: loops, other languages, words that say nothing; and prose that passes them all."""

from __future__ import annotations

import pytest

from captioner.guards import (
    has_markup,
    other_language,
    refuses,
    repeated,
    sentences,
    stands_for_nothing,
    tokens,
    unfenced,
)

ENGLISH = (
    "A young woman in a red coat walks slowly along the snowy path, her hands in her pockets, while a brown dog runs"
    " ahead and turns back twice. She stops at the bench, sits down, and looks at the lake behind her.",
    "The camera pans from left to right, then from right to left, and then holds still.",
    "A very, very tall man stands beside two boys: the one on the left waves, the one on the right does not.",
    "Left, right, left, right: the soldiers march past the gate.",
)
CHINESE = (
    "一位穿红色大衣的年轻女子沿着积雪的小路慢慢走着,双手插在口袋里,一只棕色的狗跑在前面。她在长椅旁停下,坐下来。",
    "镜头从左向右缓缓摇动,随后静止。",
    "人们慢慢地、静静地走过一家Starbucks咖啡店。",
)


@pytest.mark.parametrize("text", [*ENGLISH, *CHINESE, "", "..."])
def test_prose_does_not_repeat_itself(text: str) -> None:
    assert repeated(text) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("the man walks the man walks the man walks", "the same 3 words come again and again"),
        ("big big big big house", "the same word comes again and again"),
        ("up and up and up and up and down", "the same 2 words come again and again"),
        ("!!!!!!!!", "the same signs come again and again"),
        ("lalalalalalalalala", "the same signs come again and again"),
        ("他走着他走着他走着", "the same 3 words come again and again"),
        ("A man walks past. He stops. A man walks past.", "a sentence comes twice"),
        (
            " ".join(f"it is {word} and so it is not" for word in "abcdefghi"),
            "most of it is said more than once",
        ),
    ],
)
def test_loops_are_seen(text: str, says: str) -> None:
    assert repeated(text) == says


def test_a_loop_at_the_end_of_a_long_text_is_seen() -> None:
    start = " ".join(f"word{number} the" for number in range(2_000))
    assert repeated(start) == ""
    assert repeated(start + " and so on" * 3) != ""


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_english(text: str) -> None:
    assert not other_language(text, "en")
    assert other_language(text, "zh")


@pytest.mark.parametrize("text", CHINESE)
def test_chinese_is_chinese(text: str) -> None:
    assert not other_language(text, "zh")
    assert other_language(text, "en")


@pytest.mark.parametrize(
    ("text", "language", "other"),
    [
        ("Une jeune femme marche le long du chemin enneigé. " * 5, "en", True),
        ("Ein Mann mit einem roten Hut und eine Frau gehen auf der Straße mit dem Hund.", "en", True),
        ("Un hombre con una camisa roja camina por la calle de la ciudad con el perro.", "en", True),
        (
            "Red shirt, blue jeans, black boots, long hair, standing near table, looking left. " * 3,
            "en",
            False,
        ),
        ("xq zvot plurk nim " * 9, "en", True),
        ("Rue de la Paix: a man with a hat is on the left of the picture.", "en", False),
        ("Камера медленно движется вправо.", "en", True),
        ("Камера медленно движется вправо.", "zh", True),
        ("赤いコートの女性がゆっくりと歩いている。", "zh", True),
        ("빨간 코트를 입은 여자가 걷고 있다.", "zh", True),
        ("A shop sign reads 兰州拉面 and people wait in front of it.", "en", False),
        ("Café Müller, Ångström and naïve façades", "en", False),
        ("An F-16, a B2 and a 4K screen", "en", False),
        ("NYC", "zh", False),
        ("", "en", False),
        ("1, 2, 3", "zh", False),
    ],
)
def test_languages(text: str, language: str, other: bool) -> None:
    assert other_language(text, language) is other


@pytest.mark.parametrize(
    "text", ["N/A", "n.a.", "...", "…", "-", "--", "None.", "(unknown)", "Not visible.", "无", "不适用。"]
)
def test_what_stands_for_nothing(text: str) -> None:
    assert stands_for_nothing(text)


@pytest.mark.parametrize(
    "text", ["", "No one is there.", "A man", "Unknown Pleasures is on his shirt.", "无人机拍摄"]
)
def test_what_says_something(text: str) -> None:
    assert not stands_for_nothing(text)


def test_apologies_and_markup() -> None:
    assert refuses("I'm sorry, but I can't help with that.")
    assert refuses("作为一个人工智能,我看不到视频。")
    assert not refuses("She is sorry and cannot stop crying.")
    assert has_markup("a park <|im_end|> and trees")
    assert has_markup('{"subjects": []}')
    assert not has_markup("a < b and c > d, {curly}, and 50 % |")


def test_a_plain_answer_is_taken_out_of_its_wrapping() -> None:
    assert unfenced("<think>hm</think>\n```text\nA woman walks.\n```") == "A woman walks."
    assert unfenced(' "A woman walks." ') == "A woman walks."
    assert unfenced('"A", she says, "B"') == '"A", she says, "B"'
    assert unfenced("“一位女子走着。”") == "一位女子走着。"


def test_words_and_sentences() -> None:
    assert tokens("She's 3 m tall: 高三米") == ["she", "s", "3", "m", "tall", "高", "三", "米"]
    assert sentences("One man walks. Two stop! 三人坐下。四人走。") == [
        "one man walks",
        "two stop",
        "三人坐下",
        "四人走",
    ]
