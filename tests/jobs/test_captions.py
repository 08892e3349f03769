"""Captions of a run as a whole: prompts in its shards, evaluation, a training set, clips to look at."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from captioner.pick import Clash, Picked
from captioner.schema import Caption, dumps, loads
from captioner.serialize import write
from jobs import chain, cli, pick
from jobs.captions import from_file
from jobs.config import ConfigError, dump
from jobs.pools import Pools
from jobs.review import Review, Reviews
from jobs.run import Run
from jobs.truth import truth as truth_of
from pipeline.shards import TEXTS, open_shard, read_manifest, read_rows
from review.plan import Settings
from review.store import Event

EMPTY = Caption(
    subjects=(),
    shot_type="",
    shot_angle="",
    shot_position="",
    camera_motion="",
    environment="",
    lighting="",
)
CLOSE = EMPTY.model_copy(update={"shot_type": "close_up", "environment": "A beach at dusk"})


def line(clip_id: str, caption: Caption) -> str:
    return json.dumps({"clip_id": clip_id, "caption": json.loads(dumps(caption))}) + "\n"


BAD = (
    "{nonsense\n",
    "[1]\n",
    '{"caption": {}}\n',
    '{"clip_id": "x"}\n',
    '{"clip_id": "x", "caption": {"subjects": []}}\n',
    '{"clip_id": "x", "caption": "' + "[" * 100_000 + '"}\n',
    '{"clip_id": "x", "caption": {"a": ' + "[" * 100_000 + "}}\n",
)


def test_a_bad_row_is_one_sentence_and_the_others_count(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_bytes(
        "".join(BAD).encode()
        + b"\xff\xfe\n\n"
        + (line("a", CLOSE) + line("a", EMPTY)).encode()
        + json.dumps({"clip_id": "b", "caption": dumps(CLOSE)}).encode()
    )
    found = from_file(path)
    assert found.by_clip == {"a": CLOSE, "b": CLOSE}
    assert len(found.faults) == len(BAD) + 2
    assert all(fault.startswith(f"{path}, line ") and "\n" not in fault for fault in found.faults)
    assert all(len(fault) < 300 for fault in found.faults)
    with pytest.raises(ConfigError, match="cannot be read"):
        from_file(tmp_path / "none.jsonl")


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli.cli, list(map(str, words)))
    return done.exit_code, done.output


def test_two_files_are_shown_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text(line("a", CLOSE) + line("b", CLOSE))
    (tmp_path / "old.jsonl").write_text(line("a", EMPTY) + "{\n")
    (tmp_path / "new.jsonl").write_text(line("a", CLOSE) + line("b", EMPTY))
    command = ["caption-eval", "--words", "--truth", tmp_path / "truth.jsonl"]
    status, text = run(*command, tmp_path / "old.jsonl", tmp_path / "new.jsonl")
    assert status == 0
    rows = {row[:16].strip(): row.split() for row in text.splitlines()}
    assert rows["shot type"] == [
        *("shot", "type", "2", "0.0", "0.0", "to", "65.8", "0"),
        *("50.0", "9.5", "to", "90.5", "50"),
    ]
    assert "A: old; clips without a caption: 1" in text
    assert "B less A: +50.0 points on average" in text
    assert "old.jsonl, line 2: " in text
    status, text = run(*command, "--json", tmp_path / "new.jsonl")
    assert json.loads(text)["engines"][0]["fields"]["environment"]["right"] == 0.5
    status, text = run(*command, tmp_path / "old.jsonl", tmp_path / "none.jsonl")
    assert (status, "cannot be read" in text) == (2, True)
    (tmp_path / "other.jsonl").write_text(line("z", CLOSE))
    status, text = run(*command, tmp_path / "other.jsonl")
    assert (status, "none of the truth's clips" in text) == (2, True)
    (tmp_path / "bad.jsonl").write_text("{\n[1]\n")
    status, text = run(*command, tmp_path / "bad.jsonl")
    assert (status, text.count("bad.jsonl, line "), "none of the truth's clips" in text) == (2, 2, True)


def test_a_model_behind_a_server_judges_and_is_not_asked_twice(
    tmp_path: Path, chat_server: Any, chat_reply: Any
) -> None:
    chat_server.reply = lambda asked: chat_reply(text="Part")
    (tmp_path / "truth.jsonl").write_text(line("a", CLOSE))
    (tmp_path / "new.jsonl").write_text(line("a", CLOSE.model_copy(update={"environment": "The sea"})))
    judge = ["--judge", chat_server.url, "--judge-model", "tiny", "--cache", tmp_path / "cache.jsonl"]
    for _ in range(2):
        status, text = run(
            "caption-eval", "--json", "--truth", tmp_path / "truth.jsonl", *judge, tmp_path / "new.jsonl"
        )
        found = json.loads(text)
        assert status == 0
        assert found["judge"].startswith("server tiny judge_en/1-")
        assert found["engines"][0]["fields"]["environment"]["right"] == 0.5
    assert len(chat_server.asked) == 1
    status, text = run(
        "caption-eval", "--truth", tmp_path / "truth.jsonl", *judge[:2], tmp_path / "new.jsonl"
    )
    assert (status, "--judge-model" in text, "stage" in text) == (2, True, False)
    for wrong, word in (
        (["--judge", "ftp://x", "--judge-model", "m"], "--judge"),
        ([*judge[:4], "--cache", tmp_path / "no" / "cache"], "no file can be written"),
        (["--cache", tmp_path / "cache"], "--judge"),
    ):
        status, text = run(
            "caption-eval", "--truth", tmp_path / "truth.jsonl", *wrong, tmp_path / "new.jsonl"
        )
        assert (status, word in text, "stage" in text) == (2, True, False)
    chat_server.reply = lambda asked: chat_reply(text="I cannot say")
    judge = judge[:4]
    status, text = run("caption-eval", "--truth", tmp_path / "truth.jsonl", *judge, tmp_path / "new.jsonl")
    assert status == 3
    assert "environment: 0 of 1 texts could be judged" in text
    assert "shot type" in text


def test_a_list_of_clips_is_no_formula_and_whole_or_absent(tmp_path: Path) -> None:
    clash = Clash("shot_type", "close_up", "medium_shot", 0.5)
    found = [Picked("=1+1", "v", "@SUM(A1)", 0.5, (clash,)), Picked("b", "v", "", 0.25, (clash, clash))]
    pick.write(found, tmp_path / "clips.csv")
    rows = (tmp_path / "clips.csv").read_text().splitlines()
    assert rows[0] == "clip_id,score,reason,fields,video_id,concept"
    assert rows[1].startswith("'=1+1,0.5,")
    assert rows[1].endswith(",'@SUM(A1)")
    pick.write(found, tmp_path / "clips.jsonl")
    assert (
        json.loads((tmp_path / "clips.jsonl").read_text().splitlines()[1])["fields"] == "shot_type shot_type"
    )
    for bad in (tmp_path / "clips.txt", tmp_path / "no" / "clips.csv"):
        with pytest.raises(ConfigError):
            pick.write(found, bad)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips.csv", "clips.jsonl"]


# --- a run with captions

WHOLE = CLOSE.model_copy(
    update={"shot_angle": "eye_level", "shot_position": "front_view", "lighting": "Soft evening light"}
)


class MadeAnew(Reviews):
    """Reviews of a run that has made its captions anew since."""

    def same_captions(self, review: Review) -> bool:
        return False


def reviewed(made: Run, good: list[str], corrected: list[str]) -> None:
    """A review of the run's captions in which ann calls some good and corrects others."""
    review = Reviews(Pools(made)).plan(Settings("pretrain", "tiny"), {}, anew=False)
    with review.open() as store:
        for item in review.plan.items:
            if item.planted is None and item.clip_id in good:
                store.append(Event(f"g{item.item_id}", item.item_id, "ann", "verdict", 2.0, 1.0, "good"))
            elif item.planted is None and item.clip_id in corrected:
                fields = {"caption": json.loads(dumps(WHOLE))}
                store.append(Event(f"e{item.item_id}", item.item_id, "ann", "edit", 3.0, fields=fields))


@pytest.fixture
def captioned(small: Any, tmp_path: Path) -> tuple[Run, Path]:
    sources = [str(small.media / name) for name in ("a.mp4", "b.mp4")]
    made = small.done(tmp_path / "run", sources=sources, stages=["black", "fusion"])
    return made, tmp_path / "run"


def shard_rows(folder: Path) -> list[dict[str, Any]]:
    pool = folder / "shards" / "tiny"
    files = read_manifest((pool / "manifest.json").read_bytes()).files
    return [
        row
        for file in files
        for row in read_rows(open_shard(pa.BufferReader((pool / file.path).read_bytes())))
    ]


@pytest.mark.slow
def test_a_captioned_run_has_prompts_and_is_evaluated_and_taught_from(
    captioned: tuple[Run, Path], small: Any, tmp_path: Path
) -> None:
    made, folder = captioned
    rows = shard_rows(folder)
    assert len(rows) == 3
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "t2v prompt" in page
    for row in rows:
        caption = loads(row["caption"])
        assert row["prompt_t2v"] == (write(caption, row["clip_id"], "t2v").text or None)
        assert {one["kind"] for one in row["prompts"]} <= {"t2v", "i2v"}
    nulls = read_manifest((folder / "shards/tiny/manifest.json").read_bytes()).nulls
    assert nulls == {name: sum(row[name] is None for row in rows) for name in TEXTS} | {"prompts": 0}
    assert (nulls["caption"], nulls["prompt_t2v"]) == (0, 2)  # of two clips nothing could be said
    listed = f"2 without a prompt_t2v, {nulls['prompt_i2v']} without a prompt_i2v"
    assert f"of 3 clips, {listed}" in small.said[-1].getvalue()
    assert "<code>prompt_t2v</code> of 2 rows" in page
    _, text = run("report", folder, "--json")
    assert json.loads(text)["shards"]["tiny"]["nulls"] == nulls

    truth = tmp_path / "truth.jsonl"
    truth.write_text("".join(line(row["clip_id"], loads(row["caption"])) for row in rows[:2]))
    status, text = run("caption-eval", "--words", "--json", "--truth", truth, folder)
    found = json.loads(text)["engines"]
    assert (status, [one["missing"] for one in found]) == (0, [0])
    assert found[0]["engine"] == "caption: rushes-embedded/1"
    assert {rate["right"] for rate in found[0]["fields"].values()} <= {1.0}

    status, text = run("caption-export", folder, "--to", tmp_path / "clips")
    assert status == 2
    assert "hold no caption to learn from: embedded 1, empty 2" in text
    said = [row["clip_id"] for row in rows if loads(row["caption"]).said()]
    silent = sorted(row["clip_id"] for row in rows if row["clip_id"] not in said)
    reviewed(made, good=said, corrected=silent)
    judged = tmp_path / "judged.jsonl"
    status, text = run("review-export", folder, "--to", judged, "--truth")
    assert (status, text) == (0, f"{judged}: 2 captions corrected and 1 confirmed\n")
    by_people = {row["clip_id"]: row for row in map(json.loads, judged.read_text().splitlines())}
    assert {clip: by_people[clip]["how"] for clip in (*said, *silent)} == {
        said[0]: "confirmed",
        **dict.fromkeys(silent, "corrected"),
    }
    assert from_file(judged).by_clip[silent[0]] == WHOLE
    reviews = MadeAnew(Pools(made))
    (review,) = reviews.all()
    later = truth_of(reviews, review)
    assert ([row["clip_id"] for row in later.rows], later.outdated) == (silent, 1)
    assert run("shard", folder, "--quiet", "--workers", 0)[0] == 0
    rows = shard_rows(folder)
    assert read_manifest((folder / "shards/tiny/manifest.json").read_bytes()).nulls["prompt_t2v"] == 0

    for name, options in (("clips", ()), ("again", ()), ("frames", ("--frames", 2)), ("few", ("-n", 1))):
        status, text = run(
            "caption-export", folder, "--to", tmp_path / name, "--embedded", "--val", 0.3, *options
        )
        assert status == 0, text
        assert ("measure with others" in text) == (name != "few" or "corrected by people" in text)
    manifest, frames, few = (
        json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("clips", "frames", "few")
    )
    assert (tmp_path / "clips" / "manifest.json").read_bytes() == (
        tmp_path / "again" / "manifest.json"
    ).read_bytes()
    assert sum(part["clips"] for part in manifest["splits"].values()) == len(rows)
    assert manifest["splits"]["val"]["clips"] > 0
    media = {row["clip_id"]: row["media_sha256"] for row in rows}
    for name, listed in manifest["files"].items():
        assert hashlib.sha256((tmp_path / "clips" / name).read_bytes()).hexdigest() == listed["sha256"]
        if name.startswith("media/"):
            assert listed["sha256"] == media[Path(name).stem]
    pictures = [name for name in frames["files"] if name.endswith(".jpg")]
    assert len(pictures) > len(rows)
    assert (tmp_path / "frames" / pictures[0]).read_bytes()[:2] == b"\xff\xd8"
    assert sum(part["clips"] for part in few["splits"].values()) == 1
    status, text = run("caption-export", folder, "--to", tmp_path / "clips")
    assert (status, "is there already" in text) == (2, True)
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps({"clip_id": silent[0]}) + '\n{"clip_id": "nobody"}\n')
    apart = ("--without", held, "--embedded")
    status, text = run("caption-export", folder, "--to", tmp_path / "apart", *apart)
    assert status == 0, text
    assert (
        "left out: held out 2\nheld out: 1 of 2 clips are not in this run" in text
    )  # both clips of its video
    assert [
        json.loads(one)["id"] for one in (tmp_path / "apart/train.jsonl").read_text().splitlines()
    ] == said
    held.write_text('{"clip_id": "nobody"}\n')
    status, text = run("caption-export", folder, "--to", tmp_path / "new", "--without", held)
    assert (status, "none of its clips is in" in text) == (2, True)
    status, text = run("caption-export", folder, "--to", tmp_path / "new", "--pool", "none")
    assert (status, "there are no shards of none" in text) == (2, True)
    assert not list(tmp_path.glob(".partial*"))

    status, text = run("caption-pick", folder, "--to", tmp_path / "clips.csv")
    assert status == 2
    assert 'its captioner is "embedded"' in text
    assert text.count("\n") == 1


SAID = EMPTY.model_copy(
    update={"camera_motion": "The camera pans quickly to the left.", "shot_type": "close_up"}
)


@pytest.mark.slow
def test_a_model_that_contradicts_the_experts_is_looked_at(
    small: Any, tmp_path: Path, chat_server: Any, chat_reply: Any
) -> None:
    chat_server.reply = lambda asked: chat_reply(text=dumps(SAID))
    asking = {"engine": "server", "url": chat_server.url, "served_model": "tiny"}
    changes = {"captioner": "server", "stages": ["black", "fusion"], "stage": {"vlm": asking}}
    made = small.run(tmp_path / "run", sources=[str(small.media / "a.mp4")], **changes)
    with made.store.locked():
        made.store.put_text("run.toml", dump(made.config))
        for name in ("ingest", "segment", "annotate", "caption"):
            chain.do(made, name)
    status, text = run("caption-pick", tmp_path / "run", "--to", tmp_path / "clips.csv")
    assert status == 0, text
    (row,) = csv.DictReader((tmp_path / "clips.csv").read_text(encoding="utf-8").splitlines())
    assert row["fields"] == "camera_motion"
    assert "model 'The camera pans quickly to the left.'" in row["reason"]
    truth = tmp_path / "truth.jsonl"
    truth.write_text(line(row["clip_id"], SAID))
    status, text = run("caption-eval", "--words", "--truth", truth, tmp_path / "run")
    assert "A: caption: server tiny" in text
    assert "B: vlm_caption: server tiny" in text
    found = {line[:16].strip(): line.split() for line in text.splitlines()}
    assert found["camera motion"][-5:] == ["100.0", "20.7", "to", "100.0", "100"]


@pytest.mark.slow
def test_a_prompt_that_is_missing_is_counted_and_a_retry_asks_for_it_alone(
    small: Any, tmp_path: Path, chat_server: Any, chat_reply: Any
) -> None:
    refused = ["zh"]

    def reply(asked: Any) -> Any:
        words = asked.body["messages"][-1]["content"]
        if isinstance(words, list):  # frames: the captioner asks
            return chat_reply(text=dumps(SAID))
        chinese = "特写" in words
        if chinese and refused:
            return chat_reply(status=400)
        return chat_reply(
            text="这是一个特写镜头，画面十分清晰。" if chinese else "It is a close-up of a quiet scene."
        )

    chat_server.reply = reply
    asking = {"engine": "server", "url": chat_server.url, "served_model": "tiny"}
    stage = {"vlm": asking, "fusion": asking | {"languages": ["en", "zh"], "dropout": 0.0}}
    changes = {"captioner": "server", "stages": ["black", "fusion"], "stage": stage}
    small.done(tmp_path / "run", sources=[str(small.media / "a.mp4")], **changes)
    (row,) = shard_rows(tmp_path / "run")
    assert row["prompt_t2v"].startswith("It is a close-up of a quiet scene. The camera pans")
    written = [(one["kind"], one["language"]) for one in row["prompts"]]
    assert written == [
        ("t2v", "en"),
        ("i2v", "en"),
        ("i2v", "zh"),
    ]  # the last is the camera's, and no model's
    assert "of 1 clips, 1 without some of their prompts" in small.said[-1].getvalue()
    status, text = run("report", tmp_path / "run", "--json")
    found = json.loads(text)
    assert (status, found["shards"]["tiny"]["nulls"]["prompts"]) == (0, 1)
    assert [(one["stage"], one["reason"]) for one in found["failures"]] == [("fusion", "engine_failed")]
    assert "t2v/zh/0" in found["failures"][0]["message"]
    before = len(chat_server.asked)
    refused.clear()
    assert run("retry", tmp_path / "run")[0] == 0
    assert len([one for one in chat_server.asked[before:] if one.body]) == 1
    (row,) = shard_rows(tmp_path / "run")
    assert [(one["kind"], one["language"]) for one in row["prompts"]] == [
        (kind, language) for language in ("en", "zh") for kind in ("t2v", "i2v")
    ]
    found = json.loads(run("report", tmp_path / "run", "--json")[1])
    assert (found["shards"]["tiny"]["nulls"]["prompts"], found["failures"]) == (0, [])
