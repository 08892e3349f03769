"""What the items of a plan show, gathered from a run; and the whole way from a run to an answered request."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from jobs import review_serve
from jobs.config import ConfigError
from jobs.pools import Pools
from jobs.review_items import Items, captions_of
from jobs.review_serve import corrected, live, sit
from jobs.review_twins import Near, twin_of
from jobs.run import Run
from jobs.tables import measurements
from pipeline.recipe import load
from review.plan import Item, Plan, Plant, Stratum
from review.store import Event, ReviewStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(whole: tuple[Any, Path]) -> Run:
    made, folder = whole
    done: Run = made.run(folder)
    return done


@pytest.fixture(scope="module")
def rows(run: Run) -> dict[str, dict[str, Any]]:
    """The run's clips by file and first frame."""
    found = [row for batch in measurements(run, []) for row in batch.to_pylist()]
    return {f"{Path(run.used[row['video_id']]['path']).name}:{row['start_frame']}": row for row in found}


def plan_of(items: tuple[Item, ...], pool: str = "", **changes: Any) -> Plan:
    plain: dict[str, Any] = {
        "gate": "pretrain" if pool else "segmentation",
        "pool": pool,
        "limit": 0.15,
        "confidence": 0.95,
        "power": 0.9,
        "expected": 0.05,
        "readers": 1,
        "seed": 0,
        "snapshot": {},
        "strata": (Stratum("all", len(items), len(items)),),
        "items": items,
        "rule": "fixed",
    }
    return Plan(**(plain | changes))


def item(number: int, row: dict[str, Any], planted: Plant | None = None) -> Item:
    return Item(f"{number:016x}", row["clip_id"], "" if planted else "all", 1.0, planted=planted)


def test_an_item_shows_its_clip_and_the_shots_beside_it(run: Run, rows: dict[str, Any]) -> None:
    first, second, alone = rows["b.mp4:0"], rows["b.mp4:32"], rows["a.mp4:0"]
    plan = plan_of((item(1, second), item(2, first), item(3, alone)))
    shown = Items(run, plan).shown()
    assert list(shown) == [one.item_id for one in plan.items]
    one = shown[plan.items[0].item_id]
    assert (one.source, one.start_s, one.end_s, one.captions, one.twin) == ("b.mp4", 1.6, 3.0, (), None)
    footage = one.order.footage
    assert (footage.start_frame, footage.end_frame, footage.before, footage.after) == (32, 60, 14, None)
    footage = shown[plan.items[1].item_id].order.footage
    assert (footage.start_frame, footage.end_frame, footage.before, footage.after) == (0, 28, None, 44)
    footage = shown[plan.items[2].item_id].order.footage
    assert (footage.before, footage.after, footage.video["path"].rsplit("/", 1)[-1]) == (None, None, "a.mp4")


def test_picked_clips_are_shown_though_their_name_is_no_pool(run: Run, rows: dict[str, Any]) -> None:
    plan = plan_of((item(1, rows["a.mp4:0"]),), pool="picked-list", strata=())
    (one,) = Items(run, plan).shown().values()
    assert (one.source, one.twin) == ("a.mp4", None)


def test_a_cut_inside_knows_what_it_leads_to(run: Run, rows: dict[str, Any]) -> None:
    first, alone = rows["b.mp4:0"], rows["a.mp4:0"]
    plan = plan_of((item(1, first, Plant("cut_inside", alone["clip_id"], 0.7)),))
    order = Items(run, plan).shown()[plan.items[0].item_id].order
    assert order.donor is not None
    assert order.donor.video["path"].endswith("a.mp4")


def test_a_wrong_caption_is_the_other_clips_under_the_own_engines_name() -> None:
    row = {"clip_id": "a", "caption": '{"lighting":"Soft."}', "caption_engine": "one/1"}
    donor = {"clip_id": "b", "caption": '{"lighting":"Hard."}', "caption_engine": "two/2"}
    (plain,) = captions_of(item(1, row), row, None)
    (wrong,) = captions_of(item(1, row, Plant("wrong_caption", "b")), row, donor)
    (cut,) = captions_of(item(1, row, Plant("cut_inside", "b")), row, donor)
    assert (plain.engine, plain.caption) == (cut.engine, cut.caption) == ("one/1", {"lighting": "Soft."})
    assert (wrong.engine, wrong.caption) == ("one/1", {"lighting": "Hard."})
    assert captions_of(item(1, row), row | {"caption": None}, None) == ()


def test_a_models_own_caption_stands_second_where_it_says_something_else() -> None:
    row = {"clip_id": "a", "caption": '{"lighting":"Soft."}', "caption_engine": "with experts"}
    other = row | {"vlm_caption": '{"lighting":"Hard."}', "vlm_engine": "model"}
    assert [said.engine for said in captions_of(item(1, row), other, None)] == ["with experts", "model"]
    same = row | {"vlm_caption": row["caption"], "vlm_engine": "model"}
    assert [said.engine for said in captions_of(item(1, row), same, None)] == ["with experts"]


def test_near_clips_are_those_that_one_rule_just_rejects(
    run: Run, rows: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "strict.toml").write_text(STRICT)
    strict = load(tmp_path / "strict.toml")
    found = Near(Pools(run), strict).clips({rows["b.mp4:0"]["clip_id"]})
    short = [row for row in rows.values() if row["duration_s"] < 1.9]
    assert set(found) == {row["clip_id"] for row in short} - {rows["b.mp4:0"]["clip_id"]}
    assert (
        found[rows["b.mp4:32"]["clip_id"]] == "Near the threshold: strict.duration_s is 1.4, wanted min 1.9"
    )
    chosen = {twin_of(f"{number:016x}", found) for number in range(50)}
    assert chosen == set(found)
    assert twin_of("00", {}) is None


def test_a_corrected_caption_is_cleaned_and_what_does_not_fit_is_a_sentence() -> None:
    whole = {
        "subjects": [],
        "shot_type": "close_up",
        "shot_angle": "",
        "shot_position": "",
        "camera_motion": " It   pans. ",
        "environment": "",
        "lighting": "",
    }
    assert corrected(json.dumps(whole))["camera_motion"] == "It pans."
    for wrong in (whole | {"shot_type": "huge"}, whole | {"x": 1}, {}, []):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            corrected(json.dumps(wrong))


def test_the_banner_tells_nothing_of_planted_items(tmp_path: Path) -> None:
    rows = [{"clip_id": f"clip{number}"} for number in range(40)]
    sample = tuple(item(number, row) for number, row in enumerate(rows))
    planted = tuple(item(100 + number, row, Plant("logo")) for number, row in enumerate(rows[:4]))
    plan = plan_of(planted + sample, strata=(Stratum("all", 40, 40),))
    with ReviewStore(tmp_path / "x.sqlite", plan) as store:
        before = live(plan, store)
        assert before is not None
        assert before.state == "open"
        for one in planted:
            store.append(Event(f"client-{one.item_id}", one.item_id, "ann", "verdict", 1.0, verdict="good"))
        assert live(plan, store) == before, "what was judged of planted ones does not show"
        for one in sample:
            store.append(Event(f"client-{one.item_id}", one.item_id, "ann", "verdict", 1.0, verdict="good"))
        after = live(plan, store)
        assert after is not None
        assert after.state == "pass"
    with ReviewStore(tmp_path / "y.sqlite", plan_of(sample, strata=())) as store:
        assert live(plan_of(sample, strata=()), store) is None


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 65, "\x1b[31m"])
def test_a_reviewer_has_a_name_that_can_be_shown(run: Run, tmp_path: Path, name: str) -> None:
    plan = plan_of(())
    with ReviewStore(tmp_path / "x.sqlite", plan) as store, pytest.raises(ConfigError, match="reviewer"):
        sit(run, plan, store, tmp_path, [name])


def test_the_browser_gets_the_link_by_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    opened = []

    class Window:
        def open(self, url: str) -> bool:
            opened.append(url)
            return True

    review_serve.open_browser(tmp_path, "http://127.0.0.1:1/x/start?token=secret&y", Window)
    (url,) = opened
    assert url == (tmp_path / "open.html").as_uri()
    assert stat.S_IMODE((tmp_path / "open.html").stat().st_mode) == 0o600
    assert 'url=http://127.0.0.1:1/x/start?token=secret&amp;y"' in (tmp_path / "open.html").read_text()


@pytest.mark.slow
def test_the_command_serves_a_run_until_it_is_interrupted(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.store.root, folder)
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "review",
        str(folder),
        "--gate",
        "segmentation",
        "--no-browser",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        link = next(line for line in process.stderr if " reviews at " in line).split()[-1]
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.open(link).close()
        base = link.partition("start?")[0]
        with opener.open(f"{base}api/state") as answer:
            queue = json.load(answer)["queue"]
        with opener.open(f"{base}api/item/{queue[0]}") as answer:
            assert json.load(answer)["captions"] == [], "this gate is not about captions"
        with opener.open(f"{base}media/{queue[0]}/clip") as answer:
            assert answer.headers["content-type"] in ("video/mp4", "image/png")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Ctrl-C" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert [
        path.name for path in (folder / "review" / "previews").iterdir() if path.name.startswith(".")
    ] == []


STRICT = """
about = "Long clips alone"
[keep]
duration_s = { min = 1.9 }
[shard]
resolution = "256p"
frame_counts = [1, 17]
fps = [16]
max_upscale_ratio = 1.5
"""
