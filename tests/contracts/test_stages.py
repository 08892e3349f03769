"""What every stage keeps, whatever the pictures: one suite over the filters and the captioner."""

from __future__ import annotations

import dataclasses
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import captioner
import filters
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, FrameSpec, Stage, checked

FPS = 24
ALL = (*filters.STAGES, *captioner.STAGES)
WITH_MODEL = (*filters.STAGES, *captioner.MODEL_STAGES)
"""The stages of a run that a vision-language model captions."""
STAGES = {stage.name: stage for stage in ALL}
OTHER_ENGINE = {"text": "paddle", "fusion": "server"}
"""Another engine of a stage; the others that have several know `onnx`, or do not mind."""

# Case: width, height, frames of the clip, and what its pictures show.
CASES: dict[str, tuple[int, int, int, str]] = {
    "one_frame": (640, 360, 1, "noise"),
    "three_frames": (640, 360, 3, "noise"),
    "eight_seconds": (640, 360, 192, "noise"),
    "smallest": (16, 16, 48, "noise"),
    "gray": (640, 360, 48, "gray"),
    "black": (640, 360, 48, "black"),
    "white": (640, 360, 48, "white"),
    "ramp": (640, 360, 48, "ramp"),
    "portrait": (1080, 1920, 48, "noise"),
    "huge": (7680, 4320, 48, "noise"),
    "wide": (1920, 16, 48, "noise"),
    "tall": (16, 1920, 48, "noise"),
    "odd": (321, 179, 48, "noise"),
    "pan": (640, 360, 192, "pan"),
}


def picture(width: int, height: int, kind: str, seed: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width])
    if kind == "pan":  # one picture that moves by a 640th of its width a frame
        still = picture(width, height, "noise", 7)
        return np.ascontiguousarray(np.roll(still, round(seed * width / 640), axis=1))
    if kind == "gray":
        return np.repeat(rng.integers(0, 256, (height, width, 1), dtype=np.uint8), 3, axis=2)
    if kind == "ramp":
        row = np.linspace(0, 255, width).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))
    return np.full((height, width, 3), 0 if kind == "black" else 255, np.uint8)


def shown(spec: FrameSpec, case: tuple[int, int, int, str]) -> FrameBatch:
    """Frames of a clip as the spec would show them: its grid, its size, its pairs."""
    width, height, count, kind = case
    if spec.patch_px:
        width, height = min(width, spec.patch_px), min(height, spec.patch_px)
    elif spec.short_side_px and min(width, height) > spec.short_side_px:
        factor = spec.short_side_px / min(width, height)
        width, height = round(width * factor), round(height * factor)
    step = round(spec.every_s * FPS)
    grid = list(range(0, count, step)) if count > step else [count // 2]
    grid = [frame for frame in grid if not spec.pair or frame + 1 < count]

    def stack(numbers: list[int]) -> npt.NDArray[np.uint8]:
        images = [picture(width, height, kind, number) for number in numbers]
        whole = np.stack(images) if images else np.zeros((0, height, width, 3), np.uint8)
        return np.ascontiguousarray(whole[..., 1]) if spec.gray else whole

    frames = np.array(grid, np.int64)
    plain = FrameBatch(stack(grid), frames / FPS, frames)
    if not spec.pair:
        return plain
    following = stack([frame + 1 for frame in grid])
    return dataclasses.replace(plain, following=following, step_s=np.full(len(grid), 1 / FPS))


def clip_of(case: tuple[int, int, int, str]) -> Clip:
    width, height, count, _ = case
    return Clip("c" * 20, "s" * 20, "v" * 20, 0, count, 0.0, count / FPS, FPS, width, height)


@pytest.fixture(scope="module")
def states() -> Loaded:
    return Loaded()


class Loaded(dict[str, Any]):
    """The stages' states by name, and the rows that other stages asked for: each is measured once for them all."""

    def __init__(self) -> None:
        super().__init__((name, stage.load()) for name, stage in STAGES.items())
        self.required: dict[tuple[str, tuple[int, int, int, str]], dict[str, Any]] = {}


def required(name: str, case: tuple[int, int, int, str], states: Loaded) -> dict[str, Any]:
    if (name, case) not in states.required:
        states.required[name, case] = measure(name, case, states)
    return states.required[name, case]


def measure(name: str, case: tuple[int, int, int, str], states: Loaded) -> dict[str, Any]:
    stage = STAGES[name]
    clip = dataclasses.replace(
        clip_of(case), upstream={upstream: required(upstream, case, states) for upstream in stage.requires}
    )
    frames = shown(stage.frames, case) if stage.frames else None
    (answer,) = stage.measure_batch(states[name], [clip], [frames])
    assert not isinstance(answer, Exception), answer
    return dict(checked(stage.columns, answer))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", STAGES)
def test_every_picture_gives_a_row_of_the_schema_and_the_same_one_again(name, case, states):
    row = required(name, case, states)
    assert measure(name, case, states) == row
    columns = STAGES[name].columns
    table = pa.Table.from_pylist([row], schema=columns)
    assert table.schema == columns
    # A stage that requires this one sees the same numbers before and after they were stored.
    assert table.to_pylist()[0] == row
    assert all(math.isfinite(number) for number in numbers(list(row.values())))
    shares = [row[column] for column in row if column.endswith(("_ratio", "_share"))]
    assert all(0 <= share <= 1 for share in numbers(shares))
    if STAGES[name].frames == filters.Flow.frames and case[2] == 1:
        assert all(value in (None, []) for value in row.values())  # no pair to look at: no value, not a zero


def test_a_fresh_model_gives_the_same_rows_and_says_nothing_on_the_terminal(states, capfd):
    fresh = Loaded()
    for name in STAGES:
        assert measure(name, CASES["three_frames"], fresh) == required(name, CASES["three_frames"], states)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_on_ray_a_stage_gives_the_rows_of_this_process(states, ray_here):
    import ray

    def there() -> dict[str, dict[str, Any]]:
        fresh = Loaded()
        return {name: measure(name, CASES["eight_seconds"], fresh) for name in STAGES}

    here = {name: measure(name, CASES["eight_seconds"], states) for name in STAGES}
    assert ray.get(ray.remote(there).remote()) == here


@pytest.mark.parametrize("stages", [ALL, WITH_MODEL], ids=["embedded", "model"])
def test_column_names_are_unique_over_all_stages(stages):
    names = [column for stage in stages for column in stage.columns.names]
    assert len(names) == len(set(names))
    assert not {"clip_id", "error", "error_reason"} & set(names)


@pytest.mark.parametrize("stages", [ALL, WITH_MODEL], ids=["embedded", "model"])
def test_names_are_unique_and_requirements_come_before(stages):
    seen: set[str] = set()
    for stage in stages:
        assert stage.name not in seen
        assert set(stage.requires) <= seen
        seen.add(stage.name)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_its_settings(name, tmp_path):
    stage = STAGES[name]
    assert pickle.loads(pickle.dumps(stage)) == stage
    plain = stage.fingerprint({})
    assert stage.fingerprint({"weights": "other"}) != plain
    if hasattr(stage, "paddle_models"):
        stage = dataclasses.replace(stage, paddle_models=str(paddle(tmp_path, b"one")))
    if hasattr(stage, "model"):  # another engine than the embedded one needs some
        (tmp_path / "model").write_bytes(b"one")
        stage = dataclasses.replace(stage, model=str(tmp_path / "model"))
    for setting in stage.settings():
        assert another(stage, setting).fingerprint({}) != plain, setting
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage.unknown = 1


def another(stage: Stage, setting: str) -> Stage:
    """The stage with another value of one setting."""
    value = getattr(stage, setting)
    other: Any = OTHER_ENGINE.get(stage.name, "onnx") if setting == "engine" else None
    if isinstance(value, tuple):
        other = (*value, "zh")
    elif other is None:
        other = value * 2 + 1
    return dataclasses.replace(stage, **{setting: other})


def paddle(folder: Path, content: bytes) -> Path:
    """A folder of models for the paddle engine, whose bytes are this."""
    for part in ("det", "rec"):
        (folder / part).mkdir(parents=True)
        (folder / part / "inference.yml").write_bytes(content)
    return folder


def test_models_of_an_engine_count_by_their_bytes(tmp_path):
    one, two, three = (
        dataclasses.replace(
            STAGES["text"], engine="paddle", paddle_models=str(paddle(tmp_path / name, content))
        )
        for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one"))
    )
    assert one.fingerprint({}) == three.fingerprint({}) != two.fingerprint({})


def test_weights_are_in_the_catalogue():
    from pipeline.weights import load_catalogue

    named = {weight for stage in ALL for weight in stage.weights}
    assert all(load_catalogue()[weight].default for weight in named)


def test_importing_the_stages_loads_no_heavy_library():
    heavy = ("cv2", "torch", "av", "onnxruntime", "rapidocr", "paddleocr", "ray", "scenedetect")
    code = f"import sys, filters, captioner; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
