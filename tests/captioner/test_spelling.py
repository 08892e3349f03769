"""Other words: synonyms of shots, people and animals by many names, and words that only look like them."""

from __future__ import annotations

import pytest

from captioner.spelling import SYNONYMS, VOCABULARIES, bare, is_human, term, types


@pytest.mark.parametrize(
    ("field", "word", "meant"),
    [
        ("shot_type", "medium close-up", "close_up"),
        ("shot_type", "wide_shot", "long_shot"),
        ("shot_type", "Extreme Long Shot", "long_shot"),
        ("shot_type", "full body shot", "full_shot"),
        ("shot_angle", "overhead", "high_angle"),
        ("shot_angle", "Dutch angle", "other"),
        ("shot_position", "side profile", "side_view"),
        ("shot_position", "POV", "point_of_view"),
        ("shot_position", "top-down view", "overhead_view"),
        ("shot_type", "cinematic", "cinematic"),
        ("shot_type", "", ""),
    ],
)
def test_a_synonym_is_the_schemas_word(field: str, word: str, meant: str) -> None:
    assert term(field, word) == meant


def test_synonyms_are_bare_and_none_is_a_word_of_the_schema_for_another() -> None:
    for field, synonyms in SYNONYMS.items():
        known = {bare(word): word for word in VOCABULARIES[field]}
        assert set(synonyms.values()) <= set(VOCABULARIES[field])
        assert all(bare(word) == word for word in synonyms)
        assert all(known.get(word, meant) == meant for word, meant in synonyms.items())


@pytest.mark.parametrize(
    ("kind", "sub_kind", "meant"),
    [
        ("Human", "Woman", ("Human", "Woman")),
        ("Woman", "", ("Human", "Woman")),
        ("Person", "Dancer", ("Human", "Dancer")),
        ("Young woman", "", ("Human", "Young woman")),
        ("Humans", "", ("Human", "")),
        ("Human (Woman)", "", ("Human", "Woman")),
        ("人物", "女人", ("Human", "女人")),
        ("Dogs", "", ("Animal", "Dogs")),
        ("Vehicles", "Car", ("Vehicles", "Car")),
        ("Teddy bear", "", ("Teddy bear", "")),
        ("CD player", "", ("CD player", "")),
        ("", "", ("", "")),
    ],
)
def test_people_and_animals_by_another_name(kind: str, sub_kind: str, meant: tuple[str, str]) -> None:
    assert types(kind, sub_kind) == meant
    assert is_human(kind) is (meant[0] == "Human")
