"""The funnel: closed at every step, whatever was changed or lost in between."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import chain
from jobs.account import causes, funnel
from pipeline.reasons import Reason
from pipeline.store import Entry, Failure


def closed(counts: dict[str, Any]) -> bool:
    return abs(counts["in"] - sum(counts[n] for n in ("kept", "rejected", "failed", "pending"))) < 1e-2


def test_the_funnel_of_a_whole_run(whole: tuple[Any, Path]) -> None:
    small, out = whole
    found = funnel(small.account(out))
    assert found["videos"] == {"in": 6, "kept": 4, "rejected": 1, "failed": 1, "pending": 0}
    assert found["clips"] == {"in": 5, "kept": 4, "rejected": 1, "failed": 0, "pending": 0}
    assert all(closed(found[name]) for name in ("videos", "clips", "seconds"))
    pool = found["pools"]["tiny"]
    assert {name: pool[name] for name in ("in", "kept", "rejected", "failed", "pending")} == {
        "in": 5,
        "kept": 4,
        "rejected": 1,
        "failed": 0,
        "pending": 0,
    }
    assert closed(pool["seconds"])
    assert closed(pool["sharded"])
    files = list((out / "shards/tiny").glob("*/*.parquet"))
    assert found["shards"]["tiny"] == {
        "files": len(files),
        "rows": 4,
        "bytes": sum(path.stat().st_size for path in files),
        "nulls": {"caption": 4, "prompt_t2v": 4, "prompt_i2v": 4, "prompts": 0},
    }
    (failure,) = found["failures"]
    assert set(failure) == {"item", "stage", "reason", "message", "attempts"}
    assert (failure["stage"], failure["attempts"]) == ("ingest", 1)
    assert Reason(failure["reason"]) is Reason.NOT_MEDIA


def test_seconds_add_up_to_the_length_of_the_media(whole: tuple[Any, Path]) -> None:
    small, out = whole
    seconds = funnel(small.account(out))["seconds"]
    assert seconds["in"] == pytest.approx(
        2 + 3 + 1.2 + 2 + 0.04, abs=0.01
    )  # the copy counts, a picture is a frame
    assert seconds["kept"] + seconds["rejected"] == pytest.approx(seconds["in"], abs=0.01)


@pytest.mark.parametrize("step", ["select", "shard"])
@pytest.mark.slow
def test_another_threshold_over_shards_of_the_old_one(
    whole: tuple[Any, Path], tmp_path: Path, step: str
) -> None:
    """The funnel stays closed while the shards on disk are those of the recipe before."""
    small, reference = whole
    shutil.copytree(reference, tmp_path / "run")
    (tmp_path / "tiny.toml").write_text(
        small.recipe.read_text().replace("[keep.video]", "[keep.video]\nduration_s = { min = 1.9 }")
    )
    run = small.run(tmp_path / "run", recipes=[str(tmp_path / "tiny.toml")])
    chain.do(run, "select")
    if step == "shard":
        chain.do(run, "shard")
    found = funnel(chain.account_of(run))
    pool = found["pools"]["tiny"]
    assert (pool["kept"], pool["rejected"]) == (2, 3)  # the picture and the longest video
    assert closed(pool["sharded"])
    done = step == "shard"
    assert (pool["sharded"]["kept"], pool["sharded"]["pending"]) == ((2, 0) if done else (0, 2))
    assert found["shards"]["tiny"]["rows"] == (2 if done else 4)


def test_a_step_that_is_not_done_leaves_its_items_pending(small: Any, tmp_path: Path) -> None:
    run = small.run(tmp_path / "run")
    chain.do(run, "ingest")
    found = funnel(small.account(tmp_path / "run"))
    assert (found["videos"]["pending"], found["videos"]["kept"], found["clips"]["in"]) == (4, 0, 0)
    assert found["seconds"]["pending"] == pytest.approx(2 + 3 + 1.2 + 0.04, abs=0.01)
    assert found["pools"]["tiny"]["in"] == 0
    assert found["shards"] == {}


def test_a_changed_setting_makes_what_depends_on_it_pending(whole: tuple[Any, Path]) -> None:
    small, out = whole
    found = funnel(small.account(out, stage={"black": {"black_luma": 0.3}}))
    assert (found["clips"]["in"], found["clips"]["pending"]) == (5, 5)
    found = funnel(small.account(out, segment={"min_clip_s": 0.75, "max_clip_s": 3.0}))
    assert (found["videos"]["pending"], found["clips"]["in"]) == (4, 0)
    assert closed(found["seconds"])


def test_a_clip_that_is_lost_between_plan_and_shard_refuses_the_funnel(
    whole: tuple[Any, Path], tmp_path: Path
) -> None:
    small, reference = whole
    shutil.copytree(reference, tmp_path / "run")
    path = next((tmp_path / "run").glob("ledger/shards/tiny@*/*.json"))
    entry = Entry.from_json(path.read_bytes())
    lost = replace(entry.outputs[0], rows=entry.outputs[0].rows - 1)
    path.write_bytes(replace(entry, outputs=(lost, *entry.outputs[1:])).to_json())
    with pytest.raises(ValueError, match="4 went in, and 3 are accounted for"):
        funnel(small.account(tmp_path / "run"))


def test_what_follows_from_another_failure_is_no_cause() -> None:
    """The model failed for the first clip, so the caption and the prompts did, which come before it by name."""
    requires = {"caption": ("vlm", "shot"), "fusion": ("caption",), "shot": ()}
    stages = [("1", "caption"), ("1", "fusion"), ("1", "vlm"), ("2", "fusion"), ("3", "shard tiny")]
    failures = [Failure(item, stage, "stage_error", "no") for item, stage in stages]
    found = [(failure.item, failure.stage) for failure in causes(failures, requires)]
    assert found == [("1", "vlm"), ("2", "fusion"), ("3", "shard tiny")]


def test_a_clip_that_two_pools_could_not_encode_is_two_failures(
    whole: tuple[Any, Path], tmp_path: Path
) -> None:
    small, reference = whole
    out = tmp_path / "run"
    shutil.copytree(reference, out)
    (tmp_path / "other.toml").write_text(small.recipe.read_text())
    changes = {
        "recipes": [str(small.recipe), str(tmp_path / "other.toml")],
        "shard": {"pools": ["tiny", "other"], "rows": 2, "preset": "ultrafast"},
    }
    run = small.done(out, **changes)
    plans = {pool.recipe.name: pool for pool in chain.account_of(run).accounts}
    shards = chain.account_of(run).shards
    for name, pool in plans.items():
        unit = shards.plan(pool.recipe).units[0]
        failures = tuple(Failure(cut.clip_id, "shard", "encode_error", "no") for cut in unit.cuts)
        run.store.record(Entry(shards.task.step(name), unit.name, (), {}, failures))
    found = [(f["item"], f["stage"]) for f in funnel(small.account(out, **changes))["failures"]]
    stages = {stage for item, stage in found if item == unit.cuts[0].clip_id}
    assert stages == {"shard tiny", "shard other"}
