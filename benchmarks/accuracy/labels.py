"""The part of docs/accuracy.md about experts that say labels: what is said of each, how often, and how right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.accuracy.scores import Share
from benchmarks.clock import table

HEAD = """## shot and expression

How right `shot` and `expression` are on labelled pictures, each a clip of one frame. People are synthetic and posed:
[openpeople](https://github.com/Prompt-Haus/OpenPeople) 0.1.2 (MIT), ten people drawn by an image model in a studio and
outdoors. House fronts are drawn, and seen through cameras of three fields of view. So these are upper bounds: real
faces are subtler, real streets have trees. Bounds were chosen on these pictures and on some thirty real videos.

**right** is the share of pictures with the label of which it is said, **silent** of which nothing is said, **wrong** of
which another is; **precision** the share of right ones wherever the label is said, each label as often as it is here.
95 % intervals are Wilson's. "far" shows the face a third as high (60 of 360 lines or so), "none of them" faces with one
of nine other names (confused, smug, flirty, thoughtful, pensive, exhausted, shocked, playful, determined), of which no
label is counted wrong: most smug and playful faces smile, all shocked ones look surprised.
"""
EMOTIONS = ("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear")
OTHER = "none of them"
TAIL = """- A head from behind is never found. A back view needs shoulders and hips; in a close-up it stays unsaid.
- No picture here shows a person from above or below, so that the precision of `eye_level` cannot be told from them; a
  face alone makes it with 0.6 of the confidence.
- `level` house fronts have no label of their own: without a person the height of the camera is not known.
- Scared faces are mostly not said, and one in twenty or so is called surprised."""


def experts(counts: Sequence[Mapping[str, Any]]) -> str:
    """The section, out of counts by `field`, `truth` and what was `said` (empty: nothing)."""
    rows = []
    for field in dict.fromkeys(one["field"] for one in counts):
        rows += _rows(field, _grouped(field, [one for one in counts if one["field"] == field]))
    headings = ("field", "label", "pictures", "right", "silent", "wrong", "precision")
    return f"{HEAD}\n{table(headings, rows)}\n\n{TAIL}"


def _grouped(field: str, counts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Truth, what was said, and count; expressions that are no emotion of the seven under one name."""
    known = EMOTIONS if field.startswith("emotion") else tuple(one["truth"] for one in counts)
    return [
        (one["truth"] if one["truth"] in known else OTHER, str(one["said"]), int(one["count"]))
        for one in counts
    ]


def _rows(field: str, counts: Sequence[tuple[str, str, int]]) -> list[tuple[str, ...]]:
    rows = []
    for label in dict.fromkeys(truth for truth, _, _ in counts):
        of = sum(count for truth, _, count in counts if truth == label)
        right = sum(count for truth, said, count in counts if truth == label == said)
        silent = sum(count for truth, said, count in counts if truth == label and not said)
        said_at_all = sum(count for truth, said, count in counts if said == label and truth != OTHER)
        other = label == OTHER or label == "level"
        precision = Share(right, said_at_all)
        rows.append(
            (
                field,
                label.replace("_", " "),
                str(of),
                "–" if other else _percent(Share(right, of)),
                _percent(Share(silent, of)),
                "–" if other else _percent(Share(of - right - silent, of)),
                f"{_percent(precision)} {_interval(precision)}" if said_at_all else "–",
            )
        )
    return rows


def _percent(share: Share) -> str:
    return f"{100 * share.value:.0f} %"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"({100 * low:.0f}-{100 * high:.0f})"
