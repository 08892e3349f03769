"""Captions that people stand for, as a file to measure captioners by: those they corrected or called good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.config import ConfigError
from jobs.outputs import put
from jobs.review import POOLED, Review, Reviews
from jobs.run import NotReady
from jobs.tables import measurements
from review import exchange


@dataclass(frozen=True)
class Truth:
    """The rows of a truth file, by clip id, and what could not be one."""

    rows: tuple[dict[str, Any], ...]
    """clip_id; caption, an object; how, "corrected" or "confirmed"; by, the names of the reviewers."""
    outdated: int
    """Clips that were called good with a caption that the run has since made anew: nobody has seen the new one."""

    @property
    def corrected(self) -> int:
        return sum(row["how"] == "corrected" for row in self.rows)


def truth(reviews: Reviews, review: Review) -> Truth:
    """What a review makes true. ConfigError: its gate shows no captions."""
    if review.plan.gate not in POOLED:
        raise ConfigError(f"the gate {review.plan.gate} shows no captions: nothing is known of them")
    states, _ = review.states()
    mine = {item.clip_id for item in review.plan.items if item.planted is None}
    corrected = {clip: one for clip, one in reviews.corrections().items() if clip in mine}
    good = {clip: by for clip, by in exchange.confirmed(review.plan, states).items() if clip not in corrected}
    rows = [_row(clip, one.caption, "corrected", [one.reviewer]) for clip, one in corrected.items()]
    current = reviews.same_captions(review)
    if current:
        rows += [_row(clip, text, "confirmed", good[clip]) for clip, text in _captions(reviews, good)]
    return Truth(tuple(sorted(rows, key=lambda row: row["clip_id"])), 0 if current else len(good))


def _row(clip: str, caption: str, how: str, by: Any) -> dict[str, Any]:
    return {"clip_id": clip, "caption": json.loads(caption), "how": how, "by": list(by)}


def _captions(reviews: Reviews, clips: Any) -> Iterator[tuple[str, str]]:
    """The run's own captions of these clips; a clip without one is passed over."""
    ids = pa.array(sorted(clips), pa.string())
    run = reviews.pools.run
    if not any("caption" in planned.stage.columns.names for planned in run.planned):
        return
    for batch in measurements(run, ["caption"]):
        found = batch.filter(pc.is_in(batch.column("clip_id"), value_set=ids))
        found = found.select(["clip_id", "caption"]).drop_null()
        yield from zip(found["clip_id"].to_pylist(), found["caption"].to_pylist(), strict=True)


def write_truth(reviews: Reviews, review: Review, file: Path) -> Truth:
    """Writes a truth file, as `rushes caption-eval --truth` reads it. ConfigError: another suffix, or it cannot be
    written; NotReady: the review makes nothing true.
    """
    if file.suffix != ".jsonl":
        raise ConfigError(f"{file}: captions to measure by go to .jsonl")
    found = truth(reviews, review)
    if not found.rows:
        why = " with the captions that the run has now" if found.outdated else ""
        raise NotReady(f"{review.folder.name}: nobody corrected a caption or called a clip good{why}")
    put(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows).encode())
    return found
