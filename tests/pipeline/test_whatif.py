from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.recipe import RecipeError, judge, load
from pipeline.whatif import RuleChange, Tally, funnel, whatif

WIDE = "[keep]\na = { max = 0.5 }\nb = { max = 0.5 }\n"
NARROW = "from = 'wide'\n[keep]\nc = { max = 0.5 }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wide.toml").write_text(WIDE)
    (tmp_path / "narrow.toml").write_text(NARROW)
    return tmp_path


def clips(a, b, c, duration_s=None):
    return pa.table(
        {
            "clip_id": [f"clip{i}" for i in range(len(a))],
            "duration_s": duration_s or [float(i + 1) for i in range(len(a))],
            "a": pa.array(a, pa.float64()),
            "b": pa.array(b, pa.float64()),
            "c": pa.array(c, pa.float64()),
        }
    )


TABLE = clips([0, 1, 1, 0, None, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1])


def tally(*seconds):
    return Tally(len(seconds), round(sum(seconds) * 1e6))


def test_a_funnel_counts_pools_and_rules_in_three_ways(folder):
    found = funnel(load("narrow", [folder]), [TABLE])
    assert found.total == tally(1, 2, 3, 4, 5, 6)
    assert found.pools == (("wide", tally(1, 6)), ("narrow", tally(1)))
    assert found.kept == tally(1)
    a, b, c = found.rules
    assert (a.rule, a.first, a.failed, a.only, a.missing) == (
        "wide.a", tally(2, 3, 5), tally(2, 3, 5), tally(2, 5), tally(5)
    )  # fmt: skip
    assert (b.rule, b.first, b.failed, b.only, b.missing) == (
        "wide.b",
        tally(4),
        tally(3, 4),
        tally(4),
        tally(),
    )
    assert (c.rule, c.first, c.failed, c.only, c.missing) == (
        "narrow.c",
        tally(6),
        tally(3, 6),
        tally(6),
        tally(),
    )


def test_a_value_is_missing_only_where_the_rule_asks_for_it(folder):
    (folder / "video.toml").write_text("[keep.video]\na = { max = 0.5 }\n")
    table = TABLE.append_column("is_image", pa.array([False, False, False, False, True, True]))
    (rule,) = funnel(load("video", [folder]), [table]).rules
    assert (rule.failed, rule.missing) == (tally(2, 3), tally())


def test_a_value_that_is_not_a_number_is_missing(folder):
    table = clips([float("nan"), 1, 0], [0, 0, 0], [0, 0, 0])
    a, b, _ = funnel(load("narrow", [folder]), [table]).rules
    assert (a.failed, a.missing) == (tally(1, 2), tally(1))
    assert b.missing == tally()


def test_a_column_without_a_value_is_missing_whole(folder):
    table = TABLE.set_column(2, "a", pa.nulls(6))
    a, _, _ = funnel(load("narrow", [folder]), [table]).rules
    assert a.failed == a.missing == tally(1, 2, 3, 4, 5, 6)


def random_table(rows, seed=0):
    dice = np.random.default_rng(seed)
    return clips(*(dice.random((3, rows)).tolist()), duration_s=dice.random(rows).tolist())


def test_a_funnel_is_closed_and_does_not_depend_on_batches(folder):
    recipe = load("narrow", [folder])
    table = random_table(5000)
    whole = funnel(recipe, [table])
    assert whole == funnel(recipe, [table.slice(start, 333) for start in range(0, 5000, 333)])
    dropped = sum((rule.first for rule in whole.rules), Tally())
    assert dropped + whole.kept == whole.total
    assert whole.kept.clips == judge(recipe, table).column("kept").to_pylist().count(True)


def test_nothing_in_nothing_out(folder):
    assert funnel(load("narrow", [folder]), []).kept == Tally()
    assert whatif(load("wide", [folder]), load("wide", [folder]), []).final.gained == Tally()


def test_what_another_threshold_would_change(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("edited")
    (other / "wide.toml").write_text("[keep]\na = { max = 1 }\nd = { max = 0.5 }\n")
    table = TABLE.append_column("d", pa.array([1.0, 0, 0, 0, 0, 0]))
    found = whatif(load("wide", [folder]), load("wide", [other]), [table])
    assert found.total == tally(1, 2, 3, 4, 5, 6)
    (change,) = found.pools
    assert change is found.final
    assert (change.pool, change.before, change.after) == ("wide", tally(1, 6), tally(2, 3, 4, 6))
    assert (change.gained, change.lost) == (tally(2, 3, 4), tally(1))
    assert found.rules == (
        RuleChange("wide.a", "max 0.5", "max 1", tally(2, 3, 5), tally(5)),
        RuleChange("wide.b", "max 0.5", None, tally(3, 4), tally()),
        RuleChange("wide.d", None, "max 0.5", tally(), tally(1)),
    )


def test_two_recipes_of_other_names_are_compared_pool_by_pool(folder):
    (folder / "loose.toml").write_text("from = 'wide'\n[keep]\nc = { max = 2 }\n")
    found = whatif(load("narrow", [folder]), load("loose", [folder]), [TABLE])
    assert [change.pool for change in found.pools] == ["wide", "narrow"]
    assert found.pools[0].before == found.pools[0].after == tally(1, 6)
    assert found.final.gained == tally(6)
    assert [(rule.rule, rule.before_threshold, rule.after_threshold) for rule in found.rules] == [
        ("wide.a", "max 0.5", "max 0.5"),
        ("wide.b", "max 0.5", "max 0.5"),
        ("narrow.c", "max 0.5", "max 2"),
    ]


def test_whatif_agrees_with_two_verdicts(folder):
    table = random_table(4000, 1)
    narrow, wide = load("narrow", [folder]), load("wide", [folder])
    old, new = (np.array(judge(recipe, table).column("kept").to_pylist()) for recipe in (narrow, wide))
    final = whatif(narrow, wide, [table.slice(0, 1500), table.slice(1500)]).final
    assert final.before.clips == old.sum()
    assert final.after.clips == new.sum()
    assert final.gained.clips == (new & ~old).sum()
    assert final.lost.clips == (old & ~new).sum() == 0


def test_a_missing_column_is_named(folder):
    with pytest.raises(RecipeError, match=r"narrow\.c: there is no column c"):
        funnel(load("narrow", [folder]), [TABLE.drop_columns("c")])


def test_a_clip_of_unknown_length_counts_as_a_clip(folder):
    table = TABLE.set_column(1, "duration_s", pa.array([None] * 6, pa.float64()))
    assert funnel(load("wide", [folder]), [table]).total == Tally(6, 0)
