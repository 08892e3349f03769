"""A lesson in tokens: the chat up to the answer, the patches in it, and the answer, which alone is taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from captioner.training.course import TrainingError
from captioner.training.eyes import Eyes, View
from captioner.training.lessons import Lesson

if TYPE_CHECKING:
    import torch

KINDS = {"image": 1, "video": 2}
"""How transformers numbers the kinds of tokens; text is 0."""


@dataclass(frozen=True)
class Marks:
    """Token ids of a checkpoint."""

    image: int
    """Stands for one token of a picture."""
    video: int
    end: int
    """Ends an answer."""


@dataclass(frozen=True)
class Prepared:
    """A lesson as the model takes it."""

    clip_id: str
    ids: npt.NDArray[np.int64]
    """(n,) the whole chat with the answer and its end."""
    taught: int
    """So many of the last ids are the answer and its end."""
    seen: Mapping[str, npt.NDArray[Any]]
    """Patches and their grids, by the names that the model knows."""
    kinds: npt.NDArray[np.int64]
    """(n,) 0 text, 1 image, 2 video."""


class TooLong(Exception):
    """The lesson has more tokens than the course takes."""


def prepared(
    lesson: Lesson, views: Sequence[View], tokenizer: Any, eyes: Eyes, marks: Marks, most_tokens: int
) -> Prepared:
    """The lesson in tokens. TooLong; TrainingError: marks and media do not fit, or a text says a special token."""
    grids: dict[str, list[tuple[int, int, int]]] = {"image": [], "video": []}
    values: dict[str, list[npt.NDArray[np.float32]]] = {"image": [], "video": []}
    for (shown, _), view in zip(lesson.media, views, strict=True):
        patches, grid = eyes.patches(view.images)
        values[shown].append(patches)
        grids[shown].append(grid)
    _plain(lesson, tokenizer)
    text = tokenizer.apply_chat_template(list(lesson.asked), tokenize=False, add_generation_prompt=True)
    left = {kind: list(found) for kind, found in grids.items()}
    prompt: list[int] = []
    for token in tokenizer(text)["input_ids"]:
        kind = {marks.image: "image", marks.video: "video"}.get(token)
        if kind is None:
            prompt.append(token)
        elif left[kind]:
            prompt += [token] * (int(np.prod(left[kind].pop(0))) // eyes.merge**2)
        else:
            raise TrainingError(f"clip {lesson.clip_id}: its chat has more marks than media")
    if any(left.values()):
        raise TrainingError(f"clip {lesson.clip_id}: the checkpoint's chat template leaves media out")
    answer = [*tokenizer(lesson.answer)["input_ids"], marks.end]
    ids = np.array([*prompt, *answer], np.int64)
    if len(ids) > most_tokens:
        raise TooLong(f"{len(ids)} tokens, at most {most_tokens} are taken")
    kinds = np.where(ids == marks.image, KINDS["image"], np.where(ids == marks.video, KINDS["video"], 0))
    return Prepared(lesson.clip_id, ids, len(answer), _seen(values, grids, views, eyes), kinds)


def _plain(lesson: Lesson, tokenizer: Any) -> None:
    """A text that says a special token would open or end a turn, or stand for a picture."""
    texts = [p["text"] for m in lesson.asked for p in m["content"] if p["type"] == "text"]
    for token in tokenizer.get_added_vocab():
        if any(token in text for text in (*texts, lesson.answer)):
            raise TrainingError(f"clip {lesson.clip_id}: a text holds the special token {token}")


def _seen(
    values: Mapping[str, Sequence[npt.NDArray[np.float32]]],
    grids: Mapping[str, Sequence[tuple[int, int, int]]],
    views: Sequence[View],
    eyes: Eyes,
) -> dict[str, npt.NDArray[Any]]:
    seen: dict[str, npt.NDArray[Any]] = {}
    if grids["image"]:
        seen["pixel_values"] = np.concatenate(values["image"])
        seen["image_grid_thw"] = np.array(grids["image"], np.int64)
    if grids["video"]:
        seen["pixel_values_videos"] = np.concatenate(values["video"])
        seen["video_grid_thw"] = np.array(grids["video"], np.int64)
        spans_s = [eyes.pair * view.frame_s for view in views if view.frame_s]
        seen["second_per_grid_ts"] = np.array(spans_s, np.float32)
    return seen


def taught_loss(logits: torch.Tensor, ids: torch.Tensor, taught: int) -> torch.Tensor:
    """The summed cross entropy (nats) of the last `taught` of the ids (n,); logits (m, words) are of the last m places.

    Nothing before the answer counts: neither prompt nor pictures.
    """
    import torch

    said = logits[-taught - 1 : -1].float()
    return torch.nn.functional.cross_entropy(said, ids[-taught:], reduction="sum")
