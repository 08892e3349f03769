"""What each item of a plan shows, from the run's tables: its clip and what is around it, its captions, a twin."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.pools import Pools
from jobs.review_twins import Near, twin_of
from jobs.run import Run
from jobs.tables import measurements
from pipeline.clip import SHOTS
from review.desk import Said, Shown, Twin
from review.footage import Footage, Order
from review.plan import Item, Plan
from review.reasons import Gate

CAPTION_GATES: tuple[Gate, ...] = ("pretrain", "posttrain")
"""Gates whose reviewers judge the caption too."""
CAPTIONS = (("caption", "caption_engine"), ("vlm_caption", "vlm_engine"))
"""Columns of a clip's captions and of who wrote them: the one that is judged, and a model's own before the experts."""


@dataclass(frozen=True)
class Items:
    """What the items of a plan show, read from the run once."""

    run: Run
    plan: Plan

    def shown(self) -> dict[str, Shown]:
        """By item id. KeyError: the plan names a clip that the run does not have."""
        near = self._near()
        clips = self._clips(near)
        footage = {row["clip_id"]: self._footage(row, shots) for row, shots in self._with_shots(clips)}
        return {item.item_id: self._item(item, clips, footage, near) for item in self.plan.items}

    def _near(self) -> dict[str, str]:
        """By clip id, why the plan's pool just rejects it: clips to compare with. None where nothing was sampled: what
        a plan of picked clips calls its pool is no pool of the run."""
        if not self.plan.pool or not self.plan.strata:
            return {}
        pools = Pools(self.run)
        return Near(pools, pools.recipe(self.plan.pool)).clips({item.clip_id for item in self.plan.items})

    def _item(
        self,
        item: Item,
        clips: Mapping[str, Mapping[str, Any]],
        footage: Mapping[str, Footage],
        near: Mapping[str, str],
    ) -> Shown:
        row = clips[item.clip_id]
        donor = item.planted.donor if item.planted is not None else None
        order = Order(footage[item.clip_id], item.planted, None if donor is None else footage[donor])
        captions = captions_of(item, row, None if donor is None else clips[donor])
        source = str(self.run.used[row["video_id"]]["path"]).rsplit("/", 1)[-1]
        other = twin_of(item.item_id, near)
        twin = None if other is None else Twin(Order(footage[other]), near[other])
        return Shown(item.item_id, order, source, row["start_s"], row["end_s"], captions, twin)

    def _clips(self, near: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The rows of the plan's clips, their donors and those near, with captions where this gate judges them."""
        donors = (item.planted.donor for item in self.plan.items if item.planted is not None)
        wanted = {item.clip_id for item in self.plan.items} | {donor for donor in donors if donor is not None}
        wanted.update(near)
        known = {name for planned in self.run.planned for name in planned.stage.columns.names}
        judged = self.plan.gate in CAPTION_GATES
        columns = [name for pair in CAPTIONS for name in pair if judged and name in known]
        ids = pa.array(sorted(wanted), pa.string())
        rows: dict[str, dict[str, Any]] = {}
        for batch in measurements(self.run, columns):
            for row in batch.filter(pc.is_in(batch.column("clip_id"), value_set=ids)).to_pylist():
                rows[row["clip_id"]] = row
        return rows

    def _with_shots(
        self, clips: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any], list[dict[str, Any]]]]:
        """Each clip with the shots of its video, in order."""
        for group in self.run.groups:
            mine = {video["video_id"] for video in group.videos} & {row["video_id"] for row in clips.values()}
            entry = self.run.found(self.run.shots_step, group.name) if mine else None
            if entry is None:
                continue
            outputs = [output for output in entry.outputs if output.path.startswith("shots@")]
            shots: dict[str, list[dict[str, Any]]] = {video: [] for video in mine}
            ours = pc.field("video_id").isin(list(mine))
            for shot in self.run.store.tables(outputs, SHOTS).filter(ours).sort_by("start_frame").to_pylist():
                shots[shot["video_id"]].append(shot)
            yield from ((row, shots[row["video_id"]]) for row in clips.values() if row["video_id"] in mine)

    def _footage(self, row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]]) -> Footage:
        starts = [shot["start_frame"] for shot in shots]
        place = bisect.bisect_right(starts, row["start_frame"]) - 1

        def middle(number: int) -> int | None:
            if not 0 <= number < len(shots):
                return None
            return (int(shots[number]["start_frame"]) + int(shots[number]["end_frame"]) - 1) // 2

        return Footage(
            video=self.run.used[row["video_id"]],
            start_frame=row["start_frame"],
            end_frame=row["end_frame"],
            before=middle(place - 1),
            after=middle(place + 1),
        )


def captions_of(item: Item, row: Mapping[str, Any], donor: Mapping[str, Any] | None) -> tuple[Said, ...]:
    """What is said of an item: its clip's captions, or the donor's where a wrong one is planted; no caption twice.

    The engines are the clip's own all the same, or they would tell of captions that are not.
    """
    wrong = item.planted is not None and item.planted.kind == "wrong_caption"
    source = donor if wrong and donor is not None else row
    texts = {source[column]: engine for column, engine in reversed(CAPTIONS) if source.get(column)}
    said = {text: row.get(engine) or source.get(engine) or "" for text, engine in texts.items()}
    return tuple(Said(engine, json.loads(text)) for text, engine in reversed(said.items()))
