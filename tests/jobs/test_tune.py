"""Thresholds out of labels: what is suggested, what is not, and how it is said."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from jobs.cli import cli
from jobs.config import ConfigError
from jobs.labels import Label
from jobs.tune import Proposal, as_json, propose, show, toml
from pipeline.recipe import load

WIDE = "[keep]\na = { max = 0.9 }\nduplicate_rank = { max = 0 }\n[keep.video]\nb = { min = 0.1 }\n"
NARROW = "from = 'wide'\n[keep]\na = { max = 0.8 }\nc = { min = 0.05, max = 0.95 }\n"
CLIPS = 2000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wide.toml").write_text(WIDE)
    (tmp_path / "narrow.toml").write_text(NARROW)
    return tmp_path


def measured(clips: int = CLIPS) -> pa.Table:
    """Clips whose `a`, `b`, `c` rise from 0 to 1 in three unrelated orders."""
    dice = np.random.default_rng(3)
    even = np.arange(clips) / clips
    return pa.table(
        {
            "clip_id": [f"clip{number}" for number in range(clips)],
            "is_image": [False] * clips,
            "duplicate_rank": pa.array([0] * clips, pa.int32()),
            **{name: dice.permutation(even) for name in "abc"},
        }
    )


def labels(table: pa.Table, over: float = 0.6, reason: str = "blurred") -> dict[str, Label]:
    """Every clip labelled; those whose `a` is above `over` are bad."""
    pairs = zip(table.column("clip_id").to_pylist(), table.column("a").to_pylist(), strict=True)
    return {name: Label(name, a > over, 1.0, (reason,) if a > over else ()) for name, a in pairs}


def found(folder: Path, column: str | None = None, **more: Any) -> Proposal:
    table = measured()
    given = {"known": labels(table), "recipe": load("narrow", [folder]), "limit": 0.03} | more
    return propose(given["recipe"], [table], given["known"], column, given["limit"])


def test_the_column_that_tells_gets_the_threshold_that_the_limit_allows(folder: Path) -> None:
    (tuning,) = found(folder, "a").tunings
    chosen = tuning.tuned.chosen
    assert tuning.rule.name == "narrow.a"  # the wider pool's rule on it decides nothing here
    assert chosen is not None
    assert 0.57 < chosen.threshold < 0.63
    assert chosen.bound <= 0.03
    assert chosen.precision is not None
    assert chosen.precision > 0.9
    assert tuning.tuned.now.threshold == 0.8
    assert tuning.tuned.now.bad_share == pytest.approx(0.25, abs=0.02)
    assert 0.9 < chosen.recall <= 1  # type: ignore[operator]


def test_a_column_that_tells_nothing_gets_none(folder: Path) -> None:
    for tuning in found(folder).tunings:
        if tuning.rule.column != "a":
            assert tuning.tuned.chosen is None
            assert "over the limit" in tuning.tuned.why
            assert tuning.reasons[0][0] == "blurred"


def test_a_rank_among_copies_is_not_tuned_and_both_ends_of_a_rule_are(folder: Path) -> None:
    names = [(tuning.rule.name, tuning.tuned.operator) for tuning in found(folder).tunings]
    assert names == [("wide.video.b", "min"), ("narrow.a", "max"), ("narrow.c", "min"), ("narrow.c", "max")]


def test_a_null_is_never_kept(folder: Path) -> None:
    table = measured()
    known = labels(table)
    some_null = table.set_column(3, "a", pa.array([None] * CLIPS, pa.float64()))
    (tuning,) = propose(load("narrow", [folder]), [some_null], known, "a", 0.03).tunings
    assert tuning.tuned.points == ()
    assert tuning.tuned.now.labels == 0
    assert "it takes 99" in tuning.tuned.why


def test_labels_weigh_what_they_stand_for(folder: Path) -> None:
    """Half of the bad clips were left out of the review: each of the others stands for two."""
    table = measured()
    whole = labels(table, over=0.78)
    half = {
        name: Label(name, label.bad, 0.5 if label.bad else 1.0)
        for number, (name, label) in enumerate(whole.items())
        if not label.bad or number % 2
    }
    (weighted,) = found(folder, "a", known=half).tunings
    (full,) = found(folder, "a", known=whole).tunings
    assert weighted.tuned.now.bad_share == pytest.approx(full.tuned.now.bad_share, abs=0.01)
    (ignored,) = found(
        folder, "a", known={name: Label(name, one.bad, 1.0) for name, one in half.items()}
    ).tunings
    assert ignored.tuned.now.bad_share < 0.6 * full.tuned.now.bad_share  # type: ignore[operator]


def test_clips_that_another_rule_drops_do_not_count(folder: Path) -> None:
    table = measured()
    (tuning,) = propose(load("narrow", [folder]), [table], labels(table), "a", 0.03).tunings
    kept = np.asarray(table.column("b")) >= 0.1
    kept &= (np.asarray(table.column("c")) >= 0.05) & (np.asarray(table.column("c")) <= 0.95)
    kept &= np.asarray(table.column("a")) <= 0.9
    assert tuning.tuned.points[-1].labels == kept.sum()


def test_the_table_the_lines_and_the_json_say_the_same(folder: Path) -> None:
    proposal = found(folder)
    chosen = next(t.tuned.chosen for t in proposal.tunings if t.rule.name == "narrow.a")
    assert chosen is not None
    shown = show(proposal)
    assert "narrow.a      2,000" not in shown  # those that other rules drop are no evidence
    assert f"max {chosen.threshold:g}" in shown
    assert tomllib.loads(toml(proposal)) == {"keep": {"a": {"max": chosen.threshold}}}
    plain = json.loads(as_json(proposal))
    (rule,) = [rule for rule in plain["rules"] if rule["rule"] == "narrow.a"]
    assert rule["suggested"]["threshold"] == chosen.threshold
    assert rule["now"]["threshold"] == 0.8
    assert len(rule["points"]) == 20
    assert plain["labels"] == {"clips": CLIPS, "bad": 799, "elsewhere": 0}


def test_one_column_shows_every_threshold_that_was_tried(folder: Path) -> None:
    assert len(show(found(folder, "a"), every=True).splitlines()) > 25


def test_labels_of_other_runs_are_counted_or_refused(folder: Path) -> None:
    table = measured()
    more = labels(table) | {"other": Label("other", True, 1.0)}
    assert "1 more are labelled that this run does not have" in show(found(folder, known=more))
    with pytest.raises(ConfigError, match="none of the 1 labelled clips is in this run"):
        found(folder, known={"other": Label("other", True, 1.0)})


def test_a_column_without_a_number_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="narrow has no rule with a number about nope; its columns are"):
        found(folder, "nope")


def test_the_command_prints_and_changes_nothing(
    whole: tuple[Any, Path], digests_of: Callable[[Path], dict[str, str]], tmp_path: Path
) -> None:
    small, run = whole
    before = digests_of(run)
    ids = [clip["clip_id"] for clip in parts(run)]
    (tmp_path / "labels.csv").write_text("clip_id,verdict\n" + "".join(f"{one},good\n" for one in ids))
    asked = ["tune", str(run), "--recipe", str(small.recipe), "--labels", str(tmp_path / "labels.csv")]
    said = CliRunner().invoke(cli, asked)
    assert said.exit_code == 0, said.output
    assert f"{len(ids)} labelled clips, 0 of them bad; of what is kept at most 3 % may be bad" in said.output
    assert "even without a bad one it takes 99" in said.output
    plain = json.loads(CliRunner().invoke(cli, [*asked, "--json", "--limit", "0.5"]).output)
    assert plain["limit"] == 0.5
    assert plain["labels"] == {"clips": len(ids), "bad": 0, "elsewhere": 0}
    wrong = CliRunner().invoke(cli, [*asked[:-1], str(tmp_path / "none.csv")])
    assert wrong.exit_code == 2
    assert wrong.stderr.count("\n") == 1
    assert "none.csv: it cannot be read: No such file" in wrong.stderr
    assert digests_of(run) == before


def parts(run: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(run.glob("clips@*/*.parquet")) for row in pq.read_table(path).to_pylist()]
