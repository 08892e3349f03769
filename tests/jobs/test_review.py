"""Reviews of a real run: plan, verdicts, gate, shards that it stops, captions that come back."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from captioner.schema import dumps, loads
from jobs.cli import cli
from jobs.config import ConfigError, dump
from jobs.labels import read
from jobs.pools import Pools
from jobs.population import Population
from jobs.review import Review, Reviews
from jobs.review_commands import lonely
from jobs.run import Run
from pipeline.shards import Judged, Manifest, open_shard, read_manifest, read_rows
from review.plan import PlanError, Settings
from review.store import Event

pytestmark = pytest.mark.slow
CAPTION = {
    "subjects": [
        {
            "TYPES": {"type": "Human", "sub_type": "Woman"},
            "appearance": "A red coat.",
            "action": "She walks.",
            "expression": "",
            "position": "",
            "is_main_subject": True,
        }
    ],
    "shot_type": "long_shot",
    "shot_angle": "",
    "shot_position": "",
    "camera_motion": "",
    "environment": "",
    "lighting": "",
}


@pytest.fixture
def made(whole: tuple[Any, Path], tmp_path: Path) -> Run:
    """A finished run of its own: three clips and an image in the pool, one black clip outside."""
    small, folder = whole
    shutil.copytree(folder, tmp_path / "run")
    run: Run = small.run(tmp_path / "run")
    return run


def rushes(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def judge(review: Review, verdict: str, *readers: str, only: Sequence[str] = ()) -> None:
    """These readers say the same of every item, or of those about some clips; they notice what is planted."""
    with review.open() as store:
        for item in review.plan.items:
            if only and item.clip_id not in only:
                continue
            for who in readers:
                said: Any = "bad" if item.planted is not None else verdict
                reasons = ("other",) if said == "bad" else ()
                at = Event(
                    f"{who}-{item.item_id}-{verdict}", item.item_id, who, "verdict", 9.0, 1.0, said, reasons
                )
                store.append(at)


def verdict_of(run: Run) -> str:
    return Reviews(Pools(run)).gates("tiny")["pretrain"].state


def anew(run: Run) -> Review:
    return Reviews(Pools(run)).plan(Settings("pretrain", "tiny"), {}, anew=True)


def manifest_of(run: Run) -> Manifest:
    return read_manifest(run.store.read("shards/tiny/manifest.json"))


def planned(run: Run, **more: Any) -> Review:
    return Reviews(Pools(run)).plan(replace(Settings("pretrain", "tiny"), **more), {}, anew=False)


def test_a_population_is_the_pool_and_what_its_rules_reject(made: Run) -> None:
    reviews = Reviews(Pools(made))
    pool = reviews.population("pretrain", "tiny")
    verdicts = Pools(made).verdicts(Pools(made).recipe("tiny"))
    assert pool.column("kept").to_pylist() == verdicts.column("kept").to_pylist()
    kept = pool.filter(pa.compute.field("kept"))
    assert set(kept.column("source").to_pylist()) == {"media"}
    assert "below 480p wide image" in kept.column("bucket").to_pylist()
    rejected = pool.filter(~pa.compute.field("kept"))
    assert rejected.column("miss").to_pylist() == [0.0]  # the nearest of one to its threshold
    every = reviews.population("source", "")
    assert every.num_rows == verdicts.num_rows
    assert every.column("kept").to_pylist() == [True] * every.num_rows


def test_a_pool_that_loses_clips_to_its_balance_has_them_on_neither_side(made: Run) -> None:
    pools = Pools(made)
    recipe = pools.recipe("tiny")
    kept = pools.verdicts(recipe).column("kept").to_numpy(zero_copy_only=False)
    stays = kept.copy()
    stays[kept.nonzero()[0][0]] = False
    found = Population(pools).of_pool(recipe, kept, stays)
    assert found.num_rows == len(kept) - 1
    assert sum(found.column("kept").to_pylist()) == stays.sum()


def test_a_plan_is_frozen_and_found_again(made: Run) -> None:
    first = planned(made)
    assert first.folder.name == "pretrain-tiny"
    data = (first.folder / "plan.json").read_bytes()
    assert planned(made).plan == first.plan
    assert (first.folder / "plan.json").read_bytes() == data
    with pytest.raises(PlanError, match=r"frozen with limit 0\.15"):
        Reviews(Pools(made)).plan(Settings("pretrain", "tiny", limit=0.2), {"limit": 0.2}, anew=False)


def test_another_sample_of_the_same_clips_is_counted(made: Run) -> None:
    first = planned(made)
    judge(first, "good", "ann")
    with first.open(), pytest.raises(PlanError, match=r"pretrain-tiny is open: end `rushes review`"):
        Reviews(Pools(made)).plan(Settings("pretrain", "tiny"), {}, anew=True)
    assert planned(made).plan == first.plan
    second = Reviews(Pools(made)).plan(Settings("pretrain", "tiny"), {}, anew=True)
    assert (second.plan.seed, second.plan.attempt) == (1, 2)
    assert second.folder == first.folder
    assert [one.name for one in sorted(first.folder.parent.iterdir())] == ["pretrain-tiny", "pretrain-tiny~1"]
    third = Reviews(Pools(made)).plan(Settings("pretrain", "tiny"), {}, anew=True)
    assert (third.plan.seed, third.plan.attempt) == (2, 3)
    assert [one.folder.name for one in Reviews(Pools(made)).all()] == ["pretrain-tiny"]


def test_a_failed_gate_stops_the_shards_unless_told(made: Run) -> None:
    root = made.store.root
    before = read_manifest(made.store.read("shards/tiny/manifest.json"))
    assert before.gates == dict.fromkeys(("source", "segmentation", "pretrain", "posttrain"), "absent")
    review = planned(made)
    judge(review, "bad", "ann", "bob")
    answered = rushes("gate", root, "--pool", "tiny")
    assert answered.exit_code == 4
    assert "fail: more than 15 % of the clips are bad" in answered.output
    assert rushes("verify", root).exit_code == 0  # nothing has asked the gates yet
    refused = rushes("shard", root, "--quiet", "--workers", 0)
    assert refused.exit_code == 4
    assert "the pretrain gate of tiny failed" in refused.output
    assert "--despite-gate" in refused.output
    marked = manifest_of(made)
    assert marked.gates == before.gates | {"pretrain": "fail"}
    assert (marked.files, marked.judged) == (before.files, {"pretrain": Judged(review.plan.digest, 1)})
    shown = rushes("verify", root)
    assert shown.exit_code == 3
    assert "the pretrain gate failed, and nobody waived it" in shown.output
    assert rushes("shard", root, "--despite-gate", "--quiet", "--workers", 0).exit_code == 0
    after = manifest_of(made)
    assert (after.gates, after.files) == (marked.gates, before.files)
    assert after.judged == {"pretrain": Judged(review.plan.digest, 1, waived=True)}
    assert rushes("verify", root).exit_code == 0
    assert "despite" not in made.store.read("run.toml").decode()
    # It was said to that one command: the next is refused again, and the shards stay waived.
    assert rushes("shard", root, "--quiet", "--workers", 0).exit_code == 4
    assert manifest_of(made) == after


def test_a_sample_that_failed_stays_failed_until_a_later_one_passes(made: Run) -> None:
    root = made.store.root
    judge(planned(made), "bad", "ann", "bob")
    assert verdict_of(made) == "fail"
    second = anew(made)
    assert verdict_of(made) == "fail"
    shown = rushes("gate", root, "--pool", "tiny")
    assert shown.exit_code == 4
    assert "sample 1 of the same clips failed, which stands until a later one passes" in shown.output
    assert rushes("shard", root, "--quiet", "--workers", 0).exit_code == 4
    judge(second, "good", "ann", "bob")
    assert verdict_of(made) == "pass"
    assert rushes("gate", root, "--pool", "tiny").exit_code == 0
    assert rushes("shard", root, "--quiet", "--workers", 0).exit_code == 0
    assert manifest_of(made).judged["pretrain"] == Judged(second.plan.digest, 2)
    third = anew(made)
    assert verdict_of(made) == "not_enough"
    # A command that was killed between setting one aside and freezing the next leaves what stood.
    judge(third, "bad", "ann", "bob")
    third.folder.rename(third.folder.with_name("pretrain-tiny~3"))
    assert verdict_of(made) == "fail"


def test_the_report_and_the_funnel_show_what_the_gates_say(made: Run) -> None:
    root = made.store.root
    assert set(json.loads(rushes("report", root, "--json").output)["pools"]["tiny"]["gates"].values()) == {
        "absent"
    }
    judge(planned(made), "bad", "ann", "bob")
    assert json.loads(rushes("report", root, "--json").output)["pools"]["tiny"]["gates"]["pretrain"] == "fail"
    rushes("report", root)
    page = made.store.read("report.html").decode()
    assert "fail: more than 15 % of the clips are bad" in page


def test_a_gate_says_not_enough_then_pass(made: Run) -> None:
    root = made.store.root
    assert rushes("gate", root, "--pool", "tiny").exit_code == 2  # nothing planned
    review = planned(made)
    assert rushes("gate", root, "--pool", "tiny").exit_code == 5
    assert lonely(review.plan, review.states()[0], ["ann", "bob"]) == ""
    assert "name a second with --reviewer" in lonely(review.plan, review.states()[0], ["ann"])
    judge(review, "bad", "ann")
    assert f"({len(review.plan.items)} items wait for them)" in lonely(
        review.plan, review.states()[0], ["ann"]
    )
    assert (
        f"{len(review.plan.items)} items wait for another reader"
        in rushes("gate", root, "--pool", "tiny").output
    )
    judge(review, "good", "ann", "bob")
    answered = rushes("gate", root, "--pool", "tiny", "--json")
    assert answered.exit_code == 0
    found = json.loads(answered.output)
    assert (found["state"], found["gate"], found["pool"]) == ("pass", "pretrain", "tiny")
    assert found["snapshot"] == dict(review.plan.snapshot)
    assert (review.folder / "gate.json").read_text().strip() == answered.output.strip()
    assert verdict_of(made) == "pass"


def test_the_answer_of_another_state_of_the_run_is_stale(made: Run, whole: tuple[Any, Path]) -> None:
    judge(planned(made), "bad", "ann", "bob")
    assert rushes("gate", made.store.root, "--pool", "tiny").exit_code == 4
    recipe = Path(made.config.recipes[0])
    moved = recipe.parent / "moved" / "tiny.toml"
    moved.parent.mkdir(exist_ok=True)
    moved.write_text(recipe.read_text().replace("0.5", "0.4"))
    small, _ = whole
    run = small.run(Path(made.store.root), recipes=[str(moved)])
    pools = Pools(run)
    pools.dedup()
    pools.select(pools.recipe("tiny"))
    assert Reviews(pools).gates("tiny")["pretrain"].state == "stale"  # it failed another pool than this
    run.store.put_text("run.toml", dump(run.config))
    answered = rushes("gate", run.store.root, "--pool", "tiny")
    assert (answered.exit_code, "fail: more than" in answered.output) == (5, True)
    assert "stale: the run has changed" in answered.output
    with pytest.raises(PlanError, match="has changed since"):
        Reviews(pools).plan(Settings("pretrain", "tiny"), {}, anew=False)
    assert Reviews(pools).plan(Settings("pretrain", "tiny"), {}, anew=True).plan.attempt == 1


def shard_rows(run: Run) -> Iterator[dict[str, Any]]:
    for file in read_manifest(run.store.read("shards/tiny/manifest.json")).files:
        yield from read_rows(open_shard(pa.BufferReader(run.store.read(f"shards/tiny/{file.path}"))))


def test_a_corrected_caption_becomes_the_clip_s_own(made: Run) -> None:
    review = planned(made)
    item = next(one for one in review.plan.items if one.side == "kept" and one.planted is None)
    planted = next(one for one in review.plan.items if one.planted is not None)
    with review.open() as store:
        store.append(Event("e1", item.item_id, "ann", "edit", 5.0, fields={"caption": CAPTION}))
        wrong = CAPTION | {"lighting": "Dark."}
        store.append(Event("e2", planted.item_id, "bob", "edit", 6.0, fields={"caption": wrong}))
    before = {row["clip_id"]: row for row in shard_rows(made)}
    assert rushes("shard", made.store.root, "--quiet", "--workers", 0).exit_code == 0
    after = {row["clip_id"]: row for row in shard_rows(made)}
    text = dumps(loads(json.dumps(CAPTION)))
    assert after[item.clip_id]["caption"] == text
    assert after[item.clip_id]["caption_engine"] == "human:ann over nothing"
    assert after[item.clip_id]["concept"] == "Human > Woman"
    assert after[item.clip_id]["media_sha256"] == before[item.clip_id]["media_sha256"]
    assert Reviews(Pools(made)).looked_at() == {item.clip_id}
    others = set(before) - {item.clip_id}
    assert [after[name]["caption"] for name in others] == [None] * len(others)
    assert rushes("verify", made.store.root).exit_code == 0
    Reviews(Pools(made)).plan(Settings("pretrain", "tiny"), {}, anew=True)
    aside = Reviews(Pools(made)).corrections()
    assert {clip: found.caption for clip, found in aside.items()} == {item.clip_id: text}
    assert item.clip_id in Reviews(Pools(made)).looked_at()
    shutil.rmtree(review.folder)
    review.folder.with_name("pretrain-tiny~1").rename(review.folder)
    with review.open() as store:
        store.append(Event("e3", item.item_id, "ann", "edit", 7.0, fields={}))
    assert rushes("shard", made.store.root, "--quiet", "--workers", 0).exit_code == 0
    assert {row["clip_id"]: row for row in shard_rows(made)} == before


def test_a_correction_that_is_no_caption_is_named(made: Run) -> None:
    review = planned(made)
    with review.open() as store:
        fields = {"caption": {"shot_type": "sideways"}}
        for number, item in enumerate(review.plan.items):
            store.append(Event(f"e{number}", item.item_id, "ann", "edit", 5.0, fields=fields))
    done = rushes("shard", made.store.root, "--quiet", "--workers", 0)
    assert done.exit_code == 2
    assert "the corrected caption of clip" in done.output


def test_labels_go_out_to_tune_and_come_in_again(made: Run, tmp_path: Path) -> None:
    root = made.store.root
    review = planned(made)
    judge(review, "bad", "ann", "bob", only=[review.plan.items[0].clip_id])
    judge(review, "good", "ann", only=[item.clip_id for item in review.plan.items[1:]])
    file = tmp_path / "labels.csv"
    assert "verdicts of pretrain-tiny" in rushes("review-export", root, "--to", file).output
    labels = read(file)
    sampled = {item.clip_id: item.inclusion for item in review.plan.items if item.planted is None}
    assert {clip: label.inclusion for clip, label in labels.items()} == sampled
    tuned = rushes("tune", root, "--recipe", made.config.recipes[0], "--labels", file)
    assert tuned.exit_code == 0, tuned.output
    again = rushes("review-import", root, "--from", file)
    assert again.exit_code == 0
    with file.open(newline="") as opened:
        rows = len(list(csv.DictReader(opened)))
    assert again.output.strip() == f"0 taken, {rows} there already, 0 refused"
    file.write_text(
        "clip_id,verdict,reviewer\nnobody,good,ann\n" + f"{review.plan.items[-1].clip_id},good,cem\n"
    )
    some = rushes("review-import", root, "--from", file)
    assert some.exit_code == 3
    assert "labels.csv, line 2: the plan has no item of clip 'nobody'" in some.output
    assert "1 refused" in some.output


def test_label_studio_gets_what_it_takes_to_judge(made: Run, tmp_path: Path) -> None:
    root, tasks, films = made.store.root, tmp_path / "tasks.json", tmp_path / "my films"
    review = planned(made)
    told = rushes("review-export", root, "--to", tasks, "--previews", films)
    assert told.exit_code == 0, told.output
    own = [item for item in review.plan.items if item.planted is None]
    assert f"{len(own)} tasks, 0 verdicts of pretrain-tiny; tasks.xml: the labelling interface" in told.output
    data = {task["data"]["item_id"]: task["data"] for task in json.loads(tasks.read_text())}
    assert set(data) == {item.item_id for item in own}
    for name, one in data.items():
        assert Path(one["source"]).is_file()
        assert 0 <= one["start_s"] < one["end_s"]
        assert one["video"] == f"/data/local-files/?d=my%20films/{name}.mp4"
        with av.open(str(films / f"{name}.mp4")) as film:
            assert film.streams.video[0].codec_context.name == "h264"
    assert {one["caption"] for one in data.values()} == {""}  # nobody has captioned this run
    assert {path.name for path in films.iterdir()} == {f"{name}.mp4" for name in data}
    assert b'value="$video"' in tasks.with_suffix(".xml").read_bytes()
    assert rushes("review-export", root, "--to", tasks).exit_code == 0
    assert b'value="$video"' not in tasks.with_suffix(".xml").read_bytes()
    assert all("video" not in task["data"] for task in json.loads(tasks.read_text()))
    refused = rushes("review-export", root, "--to", tmp_path / "l.csv", "--previews", films)
    assert (refused.exit_code, "--previews is for the tasks of Label Studio" in refused.output) == (2, True)


def test_one_reader_passes_a_gate_that_asks_for_one(made: Run) -> None:
    root = made.store.root
    words = ("review", root, "--pool", "tiny", "--readers", 1, "--plan")
    drawn = rushes(*words)
    assert "nothing is read twice" in drawn.output
    (review,) = Reviews(Pools(made)).all()
    assert not any(item.double for item in review.plan.items)
    judge(review, "good", "ann")
    assert verdict_of(made) == "pass"
    several = rushes(*words, "--anew", "--reviewer", "ann", "--reviewer", "ben")
    assert several.exit_code == 0
    assert "nothing is read twice" not in several.output


def test_exactly_the_clips_of_a_file_are_reviewed(made: Run, tmp_path: Path) -> None:
    ids = Pools(made).verdicts(Pools(made).recipe("tiny")).column("clip_id").to_pylist()[:2]
    file = tmp_path / "disputed.jsonl"
    file.write_text("".join(json.dumps({"clip_id": clip, "reasons": ["shot_type"]}) + "\n" for clip in ids))
    done = rushes("review", made.store.root, "--clips", file, "--plan")
    assert done.exit_code == 0, done.output
    (review,) = Reviews(Pools(made)).all()
    assert review.folder.name == "picked-disputed"
    assert [item.clip_id for item in review.plan.items] == ids
    assert rushes("review", made.store.root, "--clips", file, "--plan").exit_code == 0
    assert {found.state for found in Reviews(Pools(made)).gates("tiny").values()} == {"absent"}
    file.write_text('{"clip_id": "nobody"}\n')
    assert (
        "1 of its clips are not in this run"
        in rushes("review", made.store.root, "--clips", file, "--plan").output
    )


def test_what_is_asked_wrongly_is_said(made: Run) -> None:
    root = made.store.root
    for words, why in (
        (("review", root, "--plan"), "say which with --pool"),
        (("review", root, "--pool", "tiny", "--limit", "3", "--plan"), "limit is 3"),
        (("review", root, "--pool", "none", "--plan"), "no pool 'none'"),
        (("review-export", root, "--to", "x.csv"), "there are: none"),
        (("review-export", root, "--to", "x.csv", "--gate", "source"), "no review of this gate"),
    ):
        done = rushes(*words)
        assert done.exit_code == 2, done.output
        assert why in done.output
    planned(made)
    assert ".csv, .jsonl, .parquet or" in rushes("review-export", root, "--to", "x.txt").output


def test_a_run_on_an_object_store_is_not_reviewed_and_not_hindered(made: Run) -> None:
    class Elsewhere:
        root = "s3://bucket/run"

    away: Any = replace(made, store=Elsewhere())
    reviews = Reviews(Pools(away))
    with pytest.raises(ConfigError, match="must be on a local disk"):
        reviews.folder("source", "")
    assert {found.state for found in reviews.gates("tiny").values()} == {"absent"}
    assert reviews.corrections() == {}
