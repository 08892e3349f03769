"""The vlm stage: what counts as its settings, what it shows and asks, and what becomes of each answer."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from captioner.engine import CaptionEngine, frames_digest
from captioner.generate import Answer, Finish, GeneratorDied, Prompt
from captioner.policy import PolicyCaptioner
from captioner.prompt import PromptError
from captioner.schema import dumps, loads
from captioner.vlm import VlmCaptioner, told
from pipeline.clip import Clip
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch, Row, Stage, checked
from pipeline.weights import MissingWeight, WeightError

GOOD = (Path(__file__).parent / "hostile" / "ok_plain.json").read_text(encoding="utf-8")
SERVER = VlmCaptioner(engine="server", url="http://127.0.0.1:1/v1", served_model="tiny")


def clip(clip_id: str = "c1", upstream: dict[str, Any] | None = None) -> Clip:
    return Clip(clip_id, "s", "v", 0, 96, 0.0, 4.0, 24.0, 1280, 720, upstream=upstream or {})


def frames(count: int = 4, width: int = 64, height: int = 36) -> FrameBatch:
    images = np.full((count, height, width, 3), 90, np.uint8)
    return FrameBatch(images, np.arange(count, dtype=np.float64), np.arange(count) * 24)


@dataclass
class Scripted:
    """Answers each prompt by a function, the last of three first."""

    reply: Callable[[Prompt], str] = lambda prompt: GOOD
    name: str = "scripted/1"
    seen: list[Prompt] = field(default_factory=list)
    closed: bool = False

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        held: list[Prompt] = []
        for prompt in prompts:
            self.seen.append(prompt)
            held.append(prompt)
            if len(held) == 3:
                yield from self._said(held)
        yield from self._said(held)

    def _said(self, held: list[Prompt]) -> Iterator[Answer]:
        while held:
            prompt = held.pop()
            text = self.reply(prompt)
            finish = Finish.ERROR if text.startswith("!") else Finish.STOP
            yield Answer(prompt.key, prompt.frames_sha256, text, finish, 9, 4, text)

    def close(self) -> None:
        self.closed = True


def state(stage: VlmCaptioner, reply: Callable[[Prompt], str] = lambda prompt: GOOD) -> CaptionEngine:
    return CaptionEngine(Scripted(reply), stage.template(), stage.sampling())


def test_a_row_says_the_caption_and_how_it_came_about() -> None:
    row = SERVER.measure(state(SERVER), clip(), frames())
    pa.Table.from_pylist([dict(checked(SERVER.columns, row))], schema=SERVER.columns)
    assert row["vlm_caption"] == dumps(loads(row["vlm_caption"]))
    assert {name: row[name] for name in SERVER.columns.names if name != "vlm_caption"} == {
        "vlm_status": "ok",
        "vlm_engine": "scripted/1",
        "vlm_prompt": SERVER.template().label,
        "vlm_language": "en",
        "vlm_attempts": 1,
        "vlm_prompt_tokens": 9,
        "vlm_output_tokens": 4,
        "vlm_finish": "stop",
        "vlm_notes": [],
        "vlm_frames_sha256": frames_digest(frames()),
    }


def test_answers_of_a_stream_and_of_a_batch() -> None:
    clips = [clip(f"c{n}") for n in range(5)]
    shown = [frames(n + 1) for n in range(5)]
    streamed = list(SERVER.measure_stream(state(SERVER), zip(clips, shown, strict=True)))
    assert [clip_id for clip_id, _ in streamed] == ["c2", "c1", "c0", "c4", "c3"]
    batch = SERVER.measure_batch(state(SERVER), clips, shown)
    assert batch == [dict(streamed)[f"c{n}"] for n in range(5)]
    assert [row["vlm_frames_sha256"] for row in batch if not isinstance(row, ClipError)] == [
        frames_digest(one) for one in shown
    ]


def test_failures_are_errors_with_their_reason_and_harm_no_neighbour() -> None:
    def reply(prompt: Prompt) -> str:
        return {"c1/1": "! it answered 500", "c2/1": "prose", "c2/2": "prose"}.get(prompt.key, GOOD)

    clips = [clip(f"c{n}") for n in range(4)]
    answers = SERVER.measure_batch(state(SERVER, reply), clips, [frames()] * 4)
    assert [isinstance(answer, ClipError) for answer in answers] == [False, True, True, False]
    failed, invalid = answers[1], answers[2]
    assert isinstance(failed, ClipError)
    assert isinstance(invalid, ClipError)
    assert (failed.reason, invalid.reason) == (Reason.ENGINE_FAILED, Reason.CAPTION_INVALID)
    assert failed.message == "scripted/1: failed after 1 attempt: ! it answered 500"
    assert invalid.message == (
        "scripted/1: invalid after 2 attempts: not_json: there are 0 JSON objects in the answer, one is wanted."
    )
    with pytest.raises(ClipError, match="caption_invalid"):
        SERVER.measure(state(SERVER, lambda prompt: "prose"), clip(), frames())


@pytest.mark.parametrize(
    ("text", "status", "attempts", "finish"),
    [("prose", "invalid", 2, "stop"), ("!500", "failed", 1, "error")],
)
def test_how_a_failure_came_about_is_known_without_its_text(
    text: str, status: str, attempts: int, finish: str
) -> None:
    with pytest.raises(ClipError) as failed:
        SERVER.measure(state(SERVER, lambda prompt: text), clip(), frames())
    row = checked(SERVER.columns, failed.value.known)
    (stored,) = pa.Table.from_pylist([row], schema=SERVER.columns).to_pylist()
    assert stored == {
        "vlm_caption": None,
        "vlm_status": status,
        "vlm_engine": "scripted/1",
        "vlm_prompt": SERVER.template().label,
        "vlm_language": "en",
        "vlm_attempts": attempts,
        "vlm_prompt_tokens": 9 * attempts,
        "vlm_output_tokens": 4 * attempts,
        "vlm_finish": finish,
        "vlm_notes": [],
        "vlm_frames_sha256": frames_digest(frames()),
    }
    assert PolicyCaptioner().fallen("vlm", row) == {"caption_status": status}
    assert PolicyCaptioner().fallen("camera", {}) == {}


def test_a_dead_engine_is_no_clips_error() -> None:
    def reply(prompt: Prompt) -> str:
        raise GeneratorDied("gone")

    with pytest.raises(GeneratorDied):
        SERVER.measure_batch(state(SERVER, reply), [clip()], [frames()])


def test_the_tally_and_the_end() -> None:
    engine = state(SERVER, lambda prompt: GOOD if prompt.key.endswith("/2") else "prose")
    SERVER.measure(engine, clip(), frames())
    assert SERVER.tally(engine) == {"answers": 2, "errors": 0, "prompt_tokens": 18, "output_tokens": 8}
    engine.close()
    assert isinstance(engine.generator, Scripted)
    assert engine.generator.closed


def test_the_frames_lie_evenly_over_any_clip() -> None:
    spec = replace(SERVER, frames_max=8, every_s=0.5, short_side_px=240).frames
    assert (spec.every_s, spec.short_side_px, spec.most, spec.gray, spec.pair) == (0.5, 240, 8, False, False)
    assert SERVER.frames.most == 16


def test_experts_facts_are_stated_when_asked_for() -> None:
    upstream = {
        "camera": {"camera_motion": "The camera pans slowly to the right."},
        "shot": {"shot_type": "close_up", "shot_angle": "", "shot_position": None},
    }
    assert SERVER.requires == ()
    stage = replace(SERVER, facts=True)
    assert stage.requires == ("camera", "shot")
    engine = state(stage)
    stage.measure(engine, clip(upstream=upstream), frames())
    assert isinstance(engine.generator, Scripted)
    (prompt,) = engine.generator.seen
    assert '{"camera_motion": "The camera pans slowly to the right.", "shot_type": "close_up"}' in prompt.user
    plain = state(SERVER)
    SERVER.measure(plain, clip(upstream=upstream), frames())
    assert isinstance(plain.generator, Scripted)
    assert "pans slowly" not in plain.generator.seen[0].user
    assert told({"camera": {"camera_motion": ""}, "shot": upstream["shot"]}) == {"shot_type": "close_up"}


def test_no_path_and_no_name_of_a_file_is_in_a_prompt() -> None:
    engine = state(SERVER)
    SERVER.measure(engine, clip("c1"), frames())
    assert isinstance(engine.generator, Scripted)
    (prompt,) = engine.generator.seen
    assert not {"/v1", ".mp4", "c1"} & set(prompt.user.split() + prompt.system.split())


@pytest.mark.parametrize(
    ("failed", "attempt"), [(Reason.CAPTION_INVALID, 3), (Reason.ENGINE_FAILED, 1), (Reason.WORKER_DIED, 1)]
)
def test_a_retry_asks_otherwise_only_after_an_answer_at_fault(failed: Reason, attempt: int) -> None:
    """What an engine did not answer is asked as it was: the run then ends as if the engine had never failed."""
    again = replace(clip(), attempt=3, failed=str(failed))
    assert SERVER.request(again, frames()).attempt == attempt
    assert SERVER.request(clip(), frames()).attempt == 1


def print_of(stage: Stage) -> str:
    return stage.fingerprint({})


def test_where_and_how_fast_does_not_count_and_the_rest_does() -> None:
    same = {
        "url": "http://127.0.0.1:2/v1",
        "api_key_env": "KEY",
        "concurrency": 3,
        "timeout_s": 9.0,
        "retries": 1,
        "model": "/nowhere",
        "device": "cpu",
        "tensor_parallel": 4,
        "memory_ratio": 0.5,
        "max_tokens_total": 4096,
        "python": "/usr/bin/python3",
        "decoders": 4,
    }
    for name, value in same.items():
        assert print_of(replace(SERVER, **{name: value})) == print_of(SERVER), name
    other = {
        "served_model": "large",
        "frames_max": 8,
        "every_s": 0.5,
        "short_side_px": 240,
        "frame_px": 28 * 28 * 50,
        "temperature": 0.2,
        "repair_temperature": 0.9,
        "attempts": 1,
        "max_tokens": 512,
        "seed": 1,
        "guided": False,
        "guide": "guided_json",
        "frames_as": "images",
        "frame_times": True,
        "facts": True,
        "language": "zh",
        "prompt": "skycaptioner_v1",
    }
    prints = {print_of(replace(SERVER, **{name: value})) for name, value in other.items()}
    assert len(prints | {print_of(SERVER)}) == len(other) + 1
    assert {*same, *other, "engine", "model_sha256", "prompt_sha256"} == {one.name for one in fields(SERVER)}


def checkpoint(folder: Path, text: str = "{}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl", "vision_config": {}}')
    (folder / "model.safetensors").write_text(text)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_checkpoint_counts_by_its_bytes_and_is_pinned(tmp_path: Path) -> None:
    here = VlmCaptioner(model=str(checkpoint(tmp_path / "a")))
    there = replace(here, model=str(checkpoint(tmp_path / "b")))
    other = replace(here, model=str(checkpoint(tmp_path / "c", "other")))
    assert print_of(here) == print_of(there) != print_of(other)
    pinned = here.pinned()
    assert print_of(pinned) == print_of(here)
    assert len(pinned.model_sha256) == len(pinned.prompt_sha256) == 64
    assert print_of(replace(pinned, model="/gone")) == print_of(here)
    assert pickle.loads(pickle.dumps(pinned)) == pinned
    here.ready(True)


def test_what_is_missing_is_said_before_a_run_begins(chat_server: Any) -> None:
    with pytest.raises(MissingWeight, match=r'engine = "vllm" needs stage\.vlm\.model: download one'):
        VlmCaptioner().pinned()
    with pytest.raises(MissingWeight, match="there is no checkpoint at '/nowhere'"):
        replace(VlmCaptioner(), model="/nowhere").ready(True)
    with pytest.raises(WeightError, match="needs `url`"):
        VlmCaptioner(engine="server", served_model="m").pinned()
    with pytest.raises(WeightError, match="needs `served_model`"):
        VlmCaptioner(engine="server", url="http://host/v1").pinned()
    with pytest.raises(GeneratorDied, match="no connection"):
        SERVER.ready(True)
    SERVER.ready(False)
    found = replace(SERVER, url=chat_server.url)
    found.ready(True)
    with pytest.raises(MissingWeight, match="has no model 'huge': it has tiny"):
        replace(found, served_model="huge").ready(True)


def test_a_users_prompt_counts_by_its_bytes_and_lends_missing_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nversion = 1\nlanguage = "zh"\nuser = "$skeleton"\n')
    stage = replace(SERVER, prompt=str(path))
    assert stage.template().language == "zh"
    assert stage.template().fields == replace(SERVER, language="zh").template().fields
    before, pinned = print_of(stage), stage.pinned()
    path.write_text(path.read_text() + "# changed\n")
    assert print_of(stage) != before == print_of(pinned)
    with pytest.raises(PromptError, match="pinned is"):
        pinned.load()
    path.write_text(path.read_text().replace("$skeleton", "$path"))
    with pytest.raises(PromptError, match=r"unknown placeholder \$path"):
        stage.pinned()


def test_the_engine_decides_what_a_worker_holds() -> None:
    assert (SERVER.gpus, SERVER.window) == (0.0, 32)
    assert VlmCaptioner(tensor_parallel=4).gpus == 4.0
    assert VlmCaptioner(device="cpu", concurrency=5).gpus == 0.0
    assert VlmCaptioner(device="cpu", concurrency=5).window == 5


def test_a_real_server_behind_the_stage(chat_server: Any, chat_reply: Any) -> None:
    chat_server.reply = lambda asked: chat_reply(GOOD)
    stage = replace(SERVER, url=chat_server.url)
    engine = stage.load()
    row: Row = stage.measure(engine, clip(), frames())
    engine.close()
    assert row["vlm_engine"] == "server tiny"
    assert json.loads(row["vlm_caption"])["shot_type"] == "medium_shot"
    assert chat_server.asked[0].body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(("count", "width", "height"), [(1, 640, 360), (2, 2160, 3840), (4, 16, 16)])
def test_any_clips_frames_can_be_asked_about(
    chat_server: Any, chat_reply: Any, count: int, width: int, height: int
) -> None:
    chat_server.reply = lambda asked: chat_reply(GOOD)
    stage = replace(SERVER, url=chat_server.url, frame_px=28 * 28 * 20)
    engine = stage.load()
    row = stage.measure(engine, clip(), frames(count, width, height))
    engine.close()
    assert row["vlm_finish"] == "stop"
