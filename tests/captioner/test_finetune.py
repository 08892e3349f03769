"""The training recipe: a tiny Qwen2.5-VL learns clips by heart, and a training that was stopped ends the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from captioner.distill import Ask, Example, Medium, Split, write
from captioner.engines.checkpoint import found
from captioner.finetune import Clock, Job, finetune, main
from captioner.schema import dumps, loads
from captioner.training.course import Course, TrainingError
from captioner.training.lessons import Look, read
from captioner.training.loop import Plan, Tell
from captioner.training.state import Step
from captioner.training.student import Student
from pipeline.weights import WeightError

COLOURS = ((255, 30, 30), (30, 255, 30), (30, 30, 255), (240, 240, 40), (240, 40, 240), (40, 240, 240))
SILENT = Tell(lambda step, total: None, lambda exam: None)


@pytest.fixture(scope="module")
def six(
    tiny_captioner: ModuleType, make_video: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A set of six clips, each of a colour of its own, on which a line moves; the first two are its validation too."""
    folder = tmp_path_factory.mktemp("six")

    def media(wanted: Iterable[str]) -> Iterator[tuple[str, Sequence[Medium]]]:
        for clip in wanted:

            def draw(number: int, colour: tuple[int, int, int] = COLOURS[int(clip)]) -> npt.NDArray[np.uint8]:
                picture = np.full((56, 84, 3), colour, np.uint8)
                picture[number * 8 : number * 8 + 8] = 255
                return picture

            path = make_video(folder / f"{clip}.mp4", frames=4, fps=4, size=(84, 56), draw=draw)
            yield clip, [Medium("video", ".mp4", path.read_bytes())]

    captions = [dumps(loads(text)) for text in tiny_captioner.captions()[:6]]
    examples = tuple(Example(str(n), f"v{n}", text, "e/1") for n, text in enumerate(captions))
    write(folder / "set", Split(examples, examples[:2]), Ask("Describe the clip."), media, {})
    return folder / "set"


@pytest.mark.slow
def test_a_lora_learns_six_clips_by_heart_and_its_merged_checkpoint_gives_them_back(
    checkpoint: Callable[[str, int], Path], six: Path, tmp_path: Path
) -> None:
    base = checkpoint("qwen2_5_vl", 0)  # random weights: what it knows afterwards it learnt here
    course = Course(rate=1e-2, whole=("lm_head",), batch=6, epochs=36, frames_max=2, exam_clips=0)
    progress = finetune(Job(base, six, tmp_path / "out", merge=True), course, SILENT)
    losses = [step.loss for step in progress.steps]
    assert len(losses) == 36
    assert losses[0] > 6  # ln 1,014 is 6.9: nothing is known
    assert losses[-1] < 0.1
    assert progress.exams[-1]["loss"] < 0.1
    assert progress.left_out == {}

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        *("adapter", "exams.jsonl", "finetune.json", "losses.jsonl", "merged")
    ]
    page = json.loads((out / "finetune.json").read_text())
    assert (page["steps"], page["course"]["rank"]) == (36, 16)
    assert page["base_sha256"] == found(str(base)).sha256
    assert sorted(path.name for path in (out / "adapter").iterdir()) == [
        *("adapter_config.json", "adapter_model.safetensors")
    ]
    merged = found(str(out / "merged"))  # whole by the rules of the engine that loads it
    assert merged.sha256 != page["base_sha256"]
    student, look = Student.load(merged, Course(rank=0), "cpu"), Look.by(course)
    try:
        lessons = read(six, "train")
        given = [student.answer(student.prepared(lesson, look(lesson)), 300) for lesson in lessons]
    finally:
        look.close()
    exact = sum(text == lesson.answer for text, lesson in zip(given, lessons, strict=True))
    assert exact >= 5  # only the pictures tell the clips apart
    with pytest.raises(TrainingError, match="is trained already"):
        finetune(Job(base, six, out), course, SILENT)


def safetensors(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_with_the_same_weights(
    checkpoint: Callable[[str, int], Path], six: Path, tmp_path: Path
) -> None:
    base = checkpoint("qwen2_5_vl", 0)
    course = Course(rank=4, dropout=0.2, batch=2, epochs=2, frames_max=2, save_every=2, exam_clips=0)
    heard: list[int] = []

    def stop(step: Step, total: int) -> None:
        heard.append(step.number)
        if len(heard) == 5:
            raise KeyboardInterrupt

    whole = finetune(Job(base, six, tmp_path / "whole"), course, SILENT)
    torn = Job(base, six, tmp_path / "torn")
    with pytest.raises(KeyboardInterrupt):
        finetune(torn, course, Tell(stop, lambda exam: None))
    assert heard == [1, 2, 3, 4, 5]
    with pytest.raises(TrainingError, match="another checkpoint, set or course"):
        finetune(torn, course.model_copy(update={"seed": 1}), SILENT)
    assert finetune(torn, course, Tell(lambda step, total: heard.append(step.number), print)) == whole
    assert heard[5:] == [5, 6]
    assert safetensors(tmp_path / "torn") == safetensors(tmp_path / "whole")
    assert not (tmp_path / "torn" / "states").exists()


@pytest.mark.slow
def test_all_weights_learn_eyes_too_and_answers_are_examined(
    checkpoint: Callable[[str, int], Path], six: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    base = checkpoint("qwen2_5_vl", 0)
    course = Course(rank=0, rate=1e-3, batch=6, epochs=1, frames_max=2, exam_clips=1, answer_tokens=8)
    plain = finetune(
        Job(base, six, tmp_path / "plain"), course.model_copy(update={"recompute": False}), SILENT
    )
    progress = finetune(Job(base, six, tmp_path / "out"), course, SILENT)
    assert progress.steps[0].gradient == pytest.approx(plain.steps[0].gradient, rel=1e-4)
    assert progress.exams[0]["answered"] == 1
    assert progress.exams[0]["valid_ratio"] == 0.0
    assert not (tmp_path / "out" / "adapter").exists()
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "out" / "merged" / "model.safetensors")
    assert before.keys() == after.keys()
    still = [name for name, weight in before.items() if bool((weight == after[name]).all())]
    assert still == []


def test_how_large_it_is_is_told_before_the_checkpoint_is_looked_at(six: Path, tmp_path: Path) -> None:
    plans: list[Plan] = []
    with pytest.raises(WeightError, match="there is no checkpoint"):
        finetune(Job(tmp_path / "none", six, tmp_path / "out"), Course(), Tell(print, print, plans.append))
    assert plans == [Plan(6, 1, 2)]
    said = CliRunner().invoke(main, [str(tmp_path / "none"), str(six), "--to", str(tmp_path / "out")])
    assert said.stdout == "6 clips, batch 1, 2 epochs: 12 steps\n"
    assert said.stderr.startswith("finetune: 12 steps are few to learn in")


def test_what_cannot_be_trained_is_one_sentence(six: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    said = runner.invoke(main, [str(tmp_path / "none"), str(six), "--to", str(tmp_path / "out")])
    assert said.exit_code == 2
    assert f"\nfinetune: there is no checkpoint at '{tmp_path / 'none'}'" in said.stderr
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "tokenizer.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"")
    said = runner.invoke(main, [str(base), str(tmp_path), "--to", str(tmp_path / "out")])
    assert said.exit_code == 2
    assert "is no set of `rushes caption-export`" in said.stderr
    with pytest.raises(TrainingError, match="is a llama: this trains qwen2_5_vl alone"):
        Student.load(found(str(base)), Course(), "cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_torn_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (base / "tokenizer.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightError, match="cannot be loaded"):
        Student.load(found(str(base)), Course(), "cpu")


def test_progress_says_speed_and_what_is_left() -> None:
    said: list[str] = []
    warned: list[str] = []
    clock = Clock(said.append, warned.append, iter([10.0, 12.0, 14.0]).__next__)
    clock.plan(Plan(100_000, 512, 2))
    clock.plan(Plan(1_000, 512, 2))
    for number in (4, 5, 6):
        clock.step(Step(number, 1, 1.5, 1e-4, 0.3, 8, 900), 10)
    clock.exam({"epoch": 1, "clips": 0})
    exam = {"epoch": 2, "clips": 9, "loss": 0.25, "answered": 4, "valid_ratio": 0.75, "exact_ratio": 0.5}
    clock.exam({**exam, "average": 0.614})
    assert warned == ["4 steps are few to learn in: more clips, a smaller `batch` or more `epochs` help"]
    assert said == [
        "100,000 clips, batch 512, 2 epochs: 392 steps",
        "1,000 clips, batch 512, 2 epochs: 4 steps",
        "step 4/10, epoch 1: loss 1.5000",
        "step 5/10, epoch 1: loss 1.5000, 4.00 clips/s, 10 s left",
        "step 6/10, epoch 1: loss 1.5000, 4.00 clips/s, 8 s left",
        "exam 1: the set has no clip for it",
        "exam 2: loss 0.2500 of 9 clips; of 4 answers 75% valid, 50% exact, fields 61.4% right",
    ]
