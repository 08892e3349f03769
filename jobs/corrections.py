"""Captions that reviewers corrected in the place of those that an engine wrote: caption, concept, prompts together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from captioner.fusion import Fusion
from captioner.schema import Types, loads
from jobs.pools import Pools
from jobs.review import Correction, Reviews
from jobs.subjects import CAPTIONED
from pipeline.sharding import Cut


@dataclass(frozen=True)
class Corrections:
    """What the reviews of a run have corrected, for its shards."""

    pools: Pools

    @cached_property
    def _by_clip(self) -> Mapping[str, Correction]:
        return Reviews(self.pools).corrections()

    @cached_property
    def _fusion(self) -> Fusion | None:
        """The run's own way to write prompts, None where it writes none."""
        stages = (planned.stage for planned in self.pools.run.planned)
        return next((stage for stage in stages if isinstance(stage, Fusion)), None)

    def subjects(self, rows: pa.Table) -> pa.Table:
        """The rows with the corrected main subjects, for jobs.subjects.concepts_of to read: see `with_subjects`."""
        return with_subjects(rows, {clip: found.caption for clip, found in self._by_clip.items()})

    def applied(self, cut: Cut) -> Cut:
        """The cut with its corrected caption and its prompts; as it is where nobody corrected it. Its concept is of
        `subjects` already.

        `caption_engine` becomes "human:REVIEWER over ENGINE". Prompts are in the serializer's words: a model's, if it
        wrote them, were about the caption that was wrong.
        """
        found = self._by_clip.get(cut.clip_id)
        if found is None:
            return cut
        caption = loads(found.caption)
        cut = replace(
            cut,
            caption=found.caption,
            caption_engine=f"human:{found.reviewer} over {cut.caption_engine or 'nothing'}",
        )
        if self._fusion is None:
            return cut
        row = self._fusion.plain(cut.clip_id, caption)
        return replace(
            cut,
            prompt_t2v=row["prompt_t2v"],
            prompt_i2v=row["prompt_i2v"],
            prompts=tuple(row["prompts"]),
            prompts_missing=0,
        )


def with_subjects(rows: pa.Table, corrected: Mapping[str, str]) -> pa.Table:
    """The rows with CAPTIONED as the corrected captions, by clip, name the main subject.

    A row whose main subject was left as it is stays as it is: what is known of it may come from elsewhere.
    """
    ids = rows.column("clip_id").to_pylist()
    captions = rows.column("caption").to_pylist() if "caption" in rows.column_names else [None] * len(ids)
    changed: dict[int, Types | None] = {}
    for number, (clip, caption) in enumerate(zip(ids, captions, strict=True)):
        if clip in corrected and _main(corrected[clip]) != _main(caption):
            changed[number] = _main(corrected[clip])
    for name, field in zip(CAPTIONED, ("type", "sub_type"), strict=True) if changed else ():
        known = name in rows.column_names
        values = rows.column(name).to_pylist() if known else [None] * len(ids)
        for number, types in changed.items():
            values[number] = None if types is None else getattr(types, field)
        rows = rows.drop_columns([name] if known else []).append_column(name, pa.array(values, pa.string()))
    return rows


def _main(caption: str | None) -> Types | None:
    """What a caption calls its main subject; None: it names none, or there is no caption."""
    subjects = loads(caption).subjects if caption else ()
    return next((subject.TYPES for subject in subjects if subject.is_main_subject), None)
