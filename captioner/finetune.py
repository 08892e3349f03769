"""A captioner trained on a set of `rushes caption-export`: a LoRA or all weights, by transformers and peft.

    rushes caption-export my-run --to captioner-set
    python -m captioner.finetune SkyCaptioner-V1 captioner-set --to my-captioner --merge

FOLDER gets `adapter/` (the LoRA), `merged/` (with --merge, or when all weights were trained: a checkpoint that vLLM and
the `vlm` stage load), `losses.jsonl` (a row a step), `exams.jsonl` (a row an epoch) and, last, `finetune.json`. Stopped
anywhere and called again, it goes on from its newest state and ends with the same weights.

The defaults are SkyCaptioner-V1's batch and epochs (arXiv 2504.13074, 3.2: AdamW at 1e-5, 512 clips a step, two epochs,
all weights, 2 M clips), but of a smaller set no more clips a step than leave 50 steps an epoch, with a LoRA of rank 16
at 1e-4; `rank = 0` in --course FILE.toml trains all weights. One accelerator, or a CPU for trials:
examples/finetune_tiny.toml has one of a minute. For many accelerators the same set goes to LLaMA-Factory, ms-swift or
TRL.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from captioner.engines.checkpoint import Checkpoint, found
from captioner.training.course import FEW_STEPS, Course, TrainingError, load
from captioner.training.lessons import Look, read
from captioner.training.loop import Plan, Tell, Training, taught
from captioner.training.state import Progress, Step
from captioner.training.student import Student
from pipeline.weights import WeightError

DONE = "finetune.json"
STATES = "states"
LIBRARIES = ("torch", "transformers", "peft")
SET_FILES = ("train.trl.jsonl", "val.trl.jsonl", "manifest.json")
"""What tells one set from another: the manifest has the digest of every medium."""


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and where it goes."""

    base: Path
    """Folder of the checkpoint."""
    lessons: Path
    """Folder of the set."""
    to: Path
    merge: bool = False
    """Write the merged checkpoint of a LoRA too."""
    device: str = "cpu"


def finetune(job: Job, course: Course, tell: Tell) -> Progress:
    """Trains and writes everything; gives how it went.

    TrainingError: the folder is done already, the set cannot be learnt from, or a state is of another training.
    WeightError: the checkpoint is not whole, or holds code.
    """
    if (job.to / DONE).exists():
        raise TrainingError(f"{job.to} is trained already: name another folder")
    train, val = read(job.lessons, "train"), read(job.lessons, "val")
    plan = Plan.of(course, len(train))
    tell.plan(plan)
    base = found(str(job.base))
    course = course.model_copy(update={"batch": plan.batch})  # whatever the default is when it goes on
    identity = identified(base, job.lessons, course)
    look = Look.by(course)
    try:
        student = Student.load(base, course, job.device)
        progress = taught(Training(student, course, train, val, look), job.to / STATES, identity, tell)
    finally:
        look.close()
    _write(job, course, student, base, progress, identity)
    return progress


def identified(base: Checkpoint, lessons: Path, course: Course) -> str:
    """Hex sha256 of what decides a training: checkpoint, set and course, but for how often a state is saved.

    TrainingError: a file of the set is not there.
    """
    told = [base.sha256, json.dumps(course.model_dump(exclude={"save_every"}), sort_keys=True)]
    try:
        told += [hashlib.sha256((lessons / name).read_bytes()).hexdigest() for name in SET_FILES]
    except OSError as error:
        raise TrainingError(f"{lessons} is no set of `rushes caption-export`: {error.strerror}") from None
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _write(
    job: Job, course: Course, student: Student, base: Checkpoint, progress: Progress, identity: str
) -> None:
    scratch = job.to / ".partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    student.keep(base, scratch, job.merge)
    (scratch / "losses.jsonl").write_text(_lines(map(asdict, progress.steps)), encoding="utf-8")
    (scratch / "exams.jsonl").write_text(_lines(progress.exams), encoding="utf-8")
    for path in sorted(scratch.iterdir()):
        shutil.rmtree(job.to / path.name, ignore_errors=True)
        path.rename(job.to / path.name)
    page = {
        "base": base.label,
        "base_sha256": base.sha256,
        "training_sha256": identity,
        "course": course.model_dump(),
        "steps": len(progress.steps),
        "left_out": progress.left_out,
        "versions": {name: version(name) for name in LIBRARIES if course.rank or name != "peft"},
    }
    (scratch / DONE).write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
    (scratch / DONE).rename(job.to / DONE)
    shutil.rmtree(scratch)
    shutil.rmtree(job.to / STATES, ignore_errors=True)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# --- on the command line


@dataclass
class Clock:
    """Says each step with its speed and what is left."""

    say: Callable[[str], object]
    warn: Callable[[str], object]
    now: Callable[[], float] = time.monotonic
    began_s: float | None = None
    """When the first step that was seen had ended: loading and what a state held count for nothing."""
    first: int = 0
    clips: int = 0

    def plan(self, plan: Plan) -> None:
        """One line, and one more where the steps are few."""
        self.say(f"{plan.clips:,} clips, batch {plan.batch}, {plan.epochs} epochs: {plan.total:,} steps")
        if 0 < plan.total < FEW_STEPS:
            self.warn(
                f"{plan.total} steps are few to learn in: more clips, a smaller `batch` or more `epochs` help"
            )

    def step(self, step: Step, total: int) -> None:
        """One line."""
        line = f"step {step.number}/{total}, epoch {step.epoch}: loss {step.loss:.4f}"
        if self.began_s is None:
            self.began_s, self.first = self.now(), step.number
        else:
            self.clips += step.clips
            took_s = max(self.now() - self.began_s, 1e-9)
            left_s = took_s / (step.number - self.first) * (total - step.number)
            line += f", {self.clips / took_s:.2f} clips/s, {left_s:,.0f} s left"
        self.say(line)

    def exam(self, exam: Mapping[str, Any]) -> None:
        """One line."""
        if not exam["clips"]:
            self.say(f"exam {exam['epoch']}: the set has no clip for it")
            return
        line = f"exam {exam['epoch']}: loss {exam['loss']:.4f} of {exam['clips']} clips"
        if exam["answered"]:
            line += f"; of {exam['answered']} answers {exam['valid_ratio']:.0%} valid, {exam['exact_ratio']:.0%} exact"
        if exam["average"] is not None:
            line += f", fields {exam['average']:.1%} right"
        self.say(line)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("lessons", metavar="SET", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for all that comes of it.")
@click.option(
    "--course", type=click.Path(path_type=Path), help="TOML file of settings. [default: the paper's]"
)
@click.option("--merge", is_flag=True, help="Write the merged checkpoint too, for vLLM.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
def main(
    checkpoint: Path, lessons: Path, to: Path, course: Path | None, merge: bool, device: str | None
) -> None:
    """Train the captioner in CHECKPOINT on the SET of `rushes caption-export`."""
    clock = Clock(click.echo, lambda line: click.echo(f"finetune: {line}", err=True))
    try:
        settings = load(course)
        job = Job(checkpoint, lessons, to, merge, _device(device))
        progress = finetune(job, settings, Tell(clock.step, clock.exam, clock.plan))
    except (TrainingError, WeightError) as error:
        click.echo(f"finetune: {error}", err=True)
        sys.exit(2)
    for clip, why in progress.left_out.items():
        click.echo(f"left out: clip {clip}: {why}", err=True)
    click.echo(
        f"{to}: {len(progress.steps)} steps, loss {progress.steps[0].loss:.4f} -> {progress.steps[-1].loss:.4f}"
    )


def _device(asked: str | None) -> str:
    import torch

    if torch.cuda.is_available() and asked != "cpu":
        return "cuda"
    if asked == "cuda":
        raise TrainingError("there is no CUDA device here")
    return "cpu"


if __name__ == "__main__":
    main()
