"""Captioning by a model through the whole program: a real server, its misdeeds, retries, and `--show`."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from jobs.caption import asked, contact_sheet
from jobs.cli import cli
from jobs.command import status_of
from jobs.config import Config, ConfigError, dump, load
from jobs.run import NotReady, Run, chosen_stages
from jobs.status import AGAIN, USAGE
from jobs.tables import measurements
from pipeline.stage import FrameBatch, StageDied

GOOD = (Path(__file__).parents[1] / "captioner" / "hostile" / "ok_plain.json").read_text(encoding="utf-8")


def settings(url: str, **changes: Any) -> dict[str, Any]:
    vlm = {"url": url, "served_model": "tiny", "retries": 0, "timeout_s": 20.0, "concurrency": 4}
    return {"captioner": "server", "stages": ["black", "vlm"], "stage": {"vlm": vlm | changes}}


@pytest.fixture
def cut(whole: Any, chat_server: Any, chat_reply: Any, tmp_path: Path) -> Run:
    """A run whose clips are found and not yet captioned."""
    small, done = whole
    chat_server.reply = lambda asked: chat_reply(GOOD)
    shutil.copytree(done, tmp_path / "run")
    run: Run = small.run(tmp_path / "run", **settings(chat_server.url))
    run.store.put_text("run.toml", dump(run.config))
    return run


def rows(run: Run) -> list[dict[str, Any]]:
    (planned,) = [one for one in run.planned if one.stage.name == "vlm"]
    found = []
    for part in run.parts:
        found += run.store.table(run.annotation(planned, part).path).to_pylist()
    return found


@pytest.mark.slow
def test_every_clip_is_captioned_or_has_a_reason_and_retry_asks_for_the_failed_alone(
    cut: Run, chat_server: Any, chat_reply: Any
) -> None:
    count = sum(part.output.rows for part in cut.parts)
    assert count > 2
    broken = {"all": 0}

    def reply(asked: Any) -> Any:
        broken["all"] += 1
        if broken["all"] == 1:
            return chat_reply(status=500)
        return chat_reply("prose" if broken["all"] == 2 else GOOD)

    chat_server.reply = reply
    run = cut
    run.annotate(["vlm"], "caption")
    first = rows(run)
    assert len(first) == count
    failed = [row for row in first if row["error_reason"] is not None]
    assert [row["error_reason"] for row in failed] == ["engine_failed"]
    assert "it answered 500" in failed[0]["error"]
    how = [(row["vlm_status"], row["vlm_attempts"], row["vlm_caption"]) for row in failed]
    assert how == [("failed", 1, None)]
    # What is known of a failure passes no rule: where recipes look, the row has no values.
    seen = pa.concat_tables(list(measurements(run, ["vlm_attempts", "vlm_notes"]))).to_pylist()
    told = [(one["vlm_attempts"], one["vlm_notes"]) for one in seen if one["failed_stages"] == ["vlm"]]
    assert told == [(None, None)]
    assert all(one["vlm_attempts"] for one in seen if not one["failed_stages"])
    assert all(json.loads(row["vlm_caption"]) == json.loads(GOOD) for row in first if row not in failed)
    assert sorted(row["vlm_attempts"] for row in first if row not in failed)[-1] == 2
    asked_before = len(chat_server.asked)
    run.annotate(["vlm"], "caption", retry=True)
    assert len(chat_server.asked) == asked_before + 1
    assert [row["error_reason"] for row in rows(run)] == [None] * count


@pytest.mark.slow
def test_a_server_that_is_gone_stops_the_run_and_costs_no_clip(
    cut: Run, chat_server: Any, chat_reply: Any
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    table = cut.config.stage["vlm"] | {"url": nowhere}
    dead = Run(cut.store, cut.config.model_copy(update={"stage": {"vlm": table}}), cut.pool, cut.progress)
    with pytest.raises(StageDied, match="no connection") as died:
        dead.ready(["vlm"])
    assert status_of(died.value) == AGAIN
    with pytest.raises(StageDied, match="no connection"):
        dead.annotate(["vlm"], "caption")
    assert not [entry for entry in dead.annotation_entries() if "/vlm@" in entry.step]
    cut.annotate(["vlm"], "caption")
    assert all(row["error_reason"] is None for row in rows(cut))


@pytest.mark.slow
def test_the_request_for_a_clip_is_shown_and_tried(cut: Run, chat_server: Any, tmp_path: Path) -> None:
    table = cut.store.table(cut.parts[0].output.path)
    clip_id = table["clip_id"][0].as_py()
    runner = CliRunner()
    sheet = tmp_path / "sheet.png"
    root = str(tmp_path / "run")
    done = runner.invoke(cli, ["caption", root, "--show", clip_id, "--to", str(sheet)])
    assert done.exit_code == 0, done.output
    assert [request.path for request in chat_server.asked] == []
    text = done.output
    assert f"clip      {clip_id}: " in text
    assert "caption_en/1-" in text
    assert '"shot_type": "how much of the main subject the frame holds [long_shot | ' in text
    assert '"additionalProperties":' in text
    assert "temperature 0.05, then 0.5; at most 2048 tokens, 2 attempts; seed " in text
    found = asked(Run(cut.store, cut.config), clip_id)
    assert f"sha256 {found.request.frames_sha256}" in text
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape[1] == 324 * min(4, len(found.request.frames.images))
    tried = runner.invoke(cli, ["caption", root, "--show", clip_id, "--to", str(sheet), "--try"])
    assert "--- answer 1: stop, 70 tokens in, 30 out" in tried.output
    assert "--- ok after 1 attempt by server tiny" in tried.output
    sent = chat_server.asked[0].body["messages"][1]["content"][1]["text"]
    assert all(line in text for line in sent.splitlines())
    whole = json.dumps([request.body["messages"] for request in chat_server.asked])
    assert Path(cut.used[found.clip.video_id]["path"]).name not in whole
    assert clip_id not in whole


@pytest.mark.slow
def test_show_says_what_is_wrong(cut: Run, tmp_path: Path) -> None:
    runner = CliRunner()
    root = str(tmp_path / "run")
    for arguments, status, says in (
        (["--show", "nowhere"], USAGE, "has no clip nowhere"),
        (["--show", "x", "--set", "captioner=embedded"], USAGE, "needs captioner"),
        (["--show", "x", "--set", "stage.vlm.prompt=absent"], USAGE, "no packaged prompt 'absent'"),
        (["--try"], USAGE, "go with --show"),
    ):
        done = runner.invoke(cli, ["caption", root, *arguments])
        assert done.exit_code == status, done.output
        assert says in done.output
    with pytest.raises(ConfigError, match="the embedded captioner asks nobody"):
        asked(Run(cut.store, cut.config.model_copy(update={"captioner": "embedded", "stages": ()})), "x")
    with pytest.raises(NotReady, match="has no clip"):
        asked(Run(cut.store, cut.config), "x")


def test_the_contact_sheet_has_any_number_of_frames() -> None:
    for count in (1, 4, 5, 16):
        images = np.full((count, 90, 160, 3), 200, np.uint8)
        frames = FrameBatch(images, np.arange(count) * 1.0, np.arange(count))
        sheet = cv2.imdecode(np.frombuffer(contact_sheet(frames), np.uint8), cv2.IMREAD_COLOR)
        assert sheet.shape[:2] == ((180 + 20) * -(-count // 4), 324 * min(count, 4))
        assert (sheet[90, 160] == 200).all()


def stages(**plain: Any) -> dict[str, Any]:
    return {stage.name: stage for stage in chosen_stages(Config.model_validate(plain))}


def test_the_captioner_decides_which_stages_there_are() -> None:
    assert "vlm" not in stages()
    assert "caption_sources" not in stages()["caption"].columns.names
    asking = stages(captioner="server", stage={"vlm": {"url": "http://h/v1", "served_model": "m"}})
    names = list(asking)
    assert names.index("vlm") < names.index("caption") < names.index("fusion")
    assert asking["vlm"].engine == "server"
    assert asking["caption"].requires == ("vlm", "camera", "shot", "expression")
    assert stages(captioner="vllm")["vlm"].engine == "vllm"
    assert set(stages(captioner="vllm", stages=["vlm"])) >= {"vlm"}
    assert "camera" not in stages(captioner="vllm", stages=["vlm"])
    assert "camera" in stages(captioner="vllm", stages=["vlm"], stage={"vlm": {"facts": True}})


def test_settings_of_the_model_may_stand_where_it_sleeps() -> None:
    assert "vlm" not in stages(stage={"vlm": {"url": "http://h/v1"}})


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"stages": ["vlm"]}, 'the stage \'vlm\' needs captioner = "vllm" or "server"'),
        ({"captioner": "vllm", "stage": {"vlm": {"engine": "server"}}}, "captioner is 'vllm'"),
        ({"captioner": "vllm", "stage": {"vlm": {"frames": 3}}}, "unknown key 'stage.vlm.frames'"),
        ({"captioner": "vllm", "stage": {"vlm": {"frames_max": 0}}}, "frames_max"),
        ({"captioner": "vllm", "stage": {"vlm": {"language": "fr"}}}, "language"),
        ({"captioner": "vllm", "stage": {"caption": {"shot_min": 2.0}}}, "shot_min"),
        ({"captioner": "vllm", "stage": {"nothing": {}}}, "unknown stage 'nothing'"),
    ],
)
def test_settings_that_cannot_be(plain: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        stages(**plain)


def test_files_of_the_model_are_beside_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[stage.vlm]\nmodel = "checkpoint"\nprompt = "mine.toml"\nserved_model = "a/b"\n')
    table = load(path).stage["vlm"]
    assert (table["model"], table["prompt"]) == (str(tmp_path / "checkpoint"), str(tmp_path / "mine.toml"))
    assert table["served_model"] == "a/b"
    path.write_text('[stage.vlm]\nprompt = "caption_zh"\n')
    assert load(path).stage["vlm"]["prompt"] == "caption_zh"


def test_a_url_with_a_key_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[stage.vlm]\nurl = "http://me:hidden@host/v1"\n')
    with pytest.raises(ConfigError, match=r"the URL of stage\.vlm\.url") as refused:
        load(path)
    assert "hidden" not in str(refused.value)
