from __future__ import annotations

import math
from pathlib import Path

import pytest

from balance.axes import MOTIONS
from balance.concepts import UNKNOWN, load_concepts
from balance.settings import MOTION_EDGES, Axis, Balance, balance_from, read_reference
from pipeline.recipe import load

CONCEPTS = load_concepts()
KNOWN = {"concept": CONCEPTS.categories, "kind": CONCEPTS.names, "motion": MOTIONS}


def parsed(settings, folder=Path()):
    return balance_from(settings, KNOWN, folder)


def test_the_packaged_recipe_balances_by_the_papers_shares():
    balance = parsed(load("sft_540p").balance)
    shares = {"Human": 0.553, "Scenery": 0.14, "Animal": 0.085, "Architecture": 0.046}
    assert balance == Balance((Axis("concept", shares=shares),), min_kept_ratio=0.5, prefer="vtss_score")


def test_several_axes_each_with_its_own_target():
    balance = parsed(
        {
            "prefer": "vqa_score",
            "repeat": 1.5,
            "tolerance_ratio": 0.002,
            "axis": {
                "kind": {"temperature": 0.5},
                "motion": {"caps": {"still": 0.1}, "tolerance_ratio": 0.01},
                "source": {"cap": 0.05, "by": "film"},
                "cluster": {"temperature": 0.3, "clusters": 64},
                "duration_s": {"edges": [3, 6.5], "temperature": 0.0},
                "bucket": {},
            },
        }
    )
    assert balance.axes == (
        Axis("kind", temperature=0.5, tolerance_ratio=0.002),
        Axis("motion", caps={"still": 0.1}, tolerance_ratio=0.01, edges=MOTION_EDGES),
        Axis("source", cap=0.05, by="film", tolerance_ratio=0.002),
        Axis("cluster", temperature=0.3, clusters=64, tolerance_ratio=0.002),
        Axis("duration_s", temperature=0.0, edges=(3, 6.5), tolerance_ratio=0.002),
        Axis("bucket", tolerance_ratio=0.002),
    )
    assert (balance.prefer, balance.repeat) == ("vqa_score", 1.5)
    assert [axis.bounded for axis in balance.axes] == [True] * 5 + [False]


def test_unknown_may_be_named():
    assert parsed({"caps": {UNKNOWN: 0.2}}).axes[0].caps == {UNKNOWN: 0.2}


def test_a_reference_is_a_table_of_counts_or_a_file_beside_the_recipe(tmp_path):
    (tmp_path / "books.csv").write_text("label,count,note\nHuman,30,\nAnimal,10,x\n")
    file = parsed({"reference": "books.csv"}, tmp_path).axes[0]
    assert file == parsed({"reference": {"Human": 30, "Animal": 10}}).axes[0]
    assert file.targets({"Human": 1, "Food": 9}) == {"Human": 0.75, "Animal": 0.25, "Food": 0.0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read"),
        ("label,count\n", "has no rows"),
        ("label,count\nHuman,many\n", "line 2: a row is a label, once, and its count"),
        ("label,count\nHuman,1\nHuman,2\n", "line 3: a row is a label"),
        ("name,count\nHuman,1\n", "line 2: a row is a label"),
        ("label,count\nHuman\n", "line 2: a row is a label"),
        ("label,count\nHuman,-1\n", "line 2: a row is a label"),
        ('label,count\n"Human,1\n', "cannot be read"),
    ],
)
def test_a_wrong_reference_is_one_sentence(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "books.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_reference(tmp_path / "books.csv")
    assert "books.csv" in str(caught.value)


def test_targets_of_what_is_there():
    counts = {"Human": 900, "Animal": 100}
    absent = Axis("concept", shares={"Human": 0.4, "Sport": 0.5})
    assert absent.reachable(counts) == pytest.approx({"Human": 0.8})  # Animal has the other 0.2
    alone = Axis("concept", shares={"Human": 0.4, "Animal": 0.1, "Sport": 0.5})
    assert alone.reachable(counts) == pytest.approx({"Human": 0.8, "Animal": 0.2})
    assert Axis("concept", cap=0.3).reachable(counts) == {"Human": 0.3, "Animal": 0.3}
    assert Axis("concept", temperature=0.5).targets(counts) == pytest.approx({"Human": 0.75, "Animal": 0.25})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "one of shares, caps, cap, temperature, reference is needed, not 0"),
        ({"axis": {"motion": {}}}, "is needed, not 0"),
        ({"temperature": 0.5, "caps": {"Human": 0.5}}, "is enough, not caps and temperature"),
        ({"target": 1}, "unknown key target; the keys are min_kept_ratio, repeat, prefer, shares, caps"),
        ({"axis": {"motion": {"target": 1}}}, "unknown key target; the keys are shares, caps"),
        ({"axis": {"motion": {"prefer": "x"}}}, "unknown key prefer"),
        ({"axis": {"motion": 0.5}}, "axis holds a table for each axis"),
        ({"axis": 1}, "axis holds a table for each axis"),
        ({"shares": {"Human": 0.5}, "axis": {"motion": {}}}, r"shares belongs to an axis: \[balance.axis"),
        ({"shares": 0.5}, "shares is 0.5, not a table"),
        ({"shares": {"Humans": 0.5}}, "shares names Humans, which is none of Human, Animal"),
        (
            {"axis": {"motion": {"shares": {"quick": 0.5}}}},
            "shares names quick, which is none of still, slow",
        ),
        ({"shares": {"Human": "half"}}, "shares has Human = 'half', not a number"),
        ({"shares": {"Human": 0.0}}, r"shares has Human = 0.0, which is not in \(0, 1\]"),
        ({"shares": {"Human": math.nan}}, "shares has Human = nan"),
        ({"shares": {"Human": 0.7, "Animal": 0.6}}, "shares add up to 1.3, more than 1"),
        ({"caps": {"Human": 55.3}}, "caps has Human = 55.3"),
        ({"cap": 0}, r"cap is 0, not in \(0, 1\]"),
        ({"cap": "0.1"}, "cap is '0.1', not a number"),
        ({"temperature": 2}, r"temperature is 2, not in \[0, 1\]"),
        ({"temperature": True}, "temperature is True, not a number"),
        ({"temperature": 0.5, "min_kept_ratio": 50}, r"min_kept_ratio is 50, not in \[0, 1\]"),
        ({"temperature": 0.5, "tolerance_ratio": -1}, "tolerance_ratio is -1"),
        ({"temperature": 0.5, "prefer": 1}, "prefer is 1, not text"),
        ({"temperature": 0.5, "repeat": 0.5}, r"repeat is 0.5, not in \[1, 4\]"),
        ({"temperature": 0.5, "repeat": 100}, r"repeat is 100, not in \[1, 4\]"),
        ({"reference": 3}, "reference is 3, neither a table of counts nor a file"),
        ({"reference": {"Human": -1}}, "reference has a count that is negative"),
        ({"reference": {"Human": 0}}, "reference counts nothing"),
        ({"axis": {"duration_s": {"edges": [3, 2], "cap": 0.5}}}, "edges are numbers that rise"),
        ({"axis": {"duration_s": {"edges": 3, "cap": 0.5}}}, "edges is 3, not a list of numbers"),
        ({"axis": {"motion": {"edges": [1], "cap": 0.5}}}, "motion: edges are 3 numbers"),
        ({"axis": {"cluster": {"clusters": 1, "cap": 0.5}}}, "clusters is 1, fewer than 2"),
        ({"axis": {"cluster": {"clusters": 2.5, "cap": 0.5}}}, "clusters is 2.5, not a whole number"),
        ({"axis": {"source": {"by": 3, "cap": 0.5}}}, "by is 3, not text"),
    ],
)
def test_wrong_settings_are_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        parsed(settings)
