"""States of a training on disk, each whole or absent, from which it goes on as if it had never stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.training.course import TrainingError

if TYPE_CHECKING:
    import torch

TENSORS, PROGRESS = "tensors.safetensors", "progress.json"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a weight."""


@dataclass(frozen=True)
class Step:
    """One step of the training."""

    number: int
    """From 1."""
    epoch: int
    loss: float
    """Mean of the answers' tokens, in nats, before the step."""
    rate: float
    """Its size."""
    gradient: float
    """Length of the mean gradient, before it was clipped."""
    clips: int
    tokens: int
    """Of the answers."""


@dataclass
class Progress:
    """How far a training has come."""

    steps: list[Step] = field(default_factory=list)
    exams: list[dict[str, Any]] = field(default_factory=list)
    """One an epoch."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By clip id, why it could not be learnt from."""


def save(
    folder: Path,
    identity: str,
    progress: Progress,
    weights: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Writes the state after the last step, and takes away the one before it."""
    from safetensors.torch import save_file

    tensors = {f"weight.{name}": weight.detach() for name, weight in weights.items()}
    for name, weight in weights.items():
        tensors |= {f"{kind}.{name}": optimizer.state[weight][kind] for kind in MOMENTS}
    final = folder / f"step-{len(progress.steps):08d}-{len(progress.exams):04d}"
    scratch = folder / f".{final.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, scratch / TENSORS)
    page = {"identity": identity, **asdict(progress)}
    (scratch / PROGRESS).write_text(json.dumps(page) + "\n", encoding="utf-8")
    scratch.rename(final)
    for other in folder.glob("step-*"):
        if other != final:
            shutil.rmtree(other)


def last(folder: Path, identity: str) -> Path | None:
    """The newest state of this training; None: there is none. TrainingError: it is of another training."""
    found = sorted(folder.glob("step-*"))
    if not found:
        return None
    if _page(found[-1])["identity"] != identity:
        raise TrainingError(
            f"{folder} holds the state of a training of another checkpoint, set or course: name another folder"
        )
    return found[-1]


def restore(state: Path, weights: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> Progress:
    """Puts a state's tensors in place, and gives how far it had come."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(state / TENSORS)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight.{name}"])
            moments = {kind: tensors[f"{kind}.{name}"] for kind in MOMENTS}
            optimizer.state[weight] = {
                kind: value if kind == "step" else value.to(weight.device) for kind, value in moments.items()
            }
    page = _page(state)
    steps = [Step(**step) for step in page["steps"]]
    return Progress(steps, page["exams"], page["left_out"])


def _page(state: Path) -> dict[str, Any]:
    try:
        page: dict[str, Any] = json.loads((state / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"the state {state} cannot be read: {error}") from None
    return page
