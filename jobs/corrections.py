"""Captions that reviewers corrected in the place of those that an engine wrote: caption, concept, prompts together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from captioner.fusion import Fusion
from captioner.schema import loads
from jobs.pools import Pools
from jobs.review import Correction, Reviews
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

    def applied(self, cut: Cut) -> Cut:
        """The cut with its corrected caption, and all that follows from it; as it is where nobody corrected it.

        `caption_engine` becomes "human:REVIEWER over ENGINE". Prompts are in the serializer's words: a model's, if it
        wrote them, were about the caption that was wrong.
        """
        found = self._by_clip.get(cut.clip_id)
        if found is None:
            return cut
        caption = loads(found.caption)
        main = next((subject.TYPES for subject in caption.subjects if subject.is_main_subject), None)
        cut = replace(
            cut,
            caption=found.caption,
            caption_engine=f"human:{found.reviewer} over {cut.caption_engine or 'nothing'}",
            concept=self.pools.concepts.concept_of(
                main.type if main else None, main.sub_type if main else None
            ),
        )
        if self._fusion is None:
            return cut
        row = self._fusion.plain(cut.clip_id, caption)
        return replace(
            cut, prompt_t2v=row["prompt_t2v"], prompt_i2v=row["prompt_i2v"], prompts=tuple(row["prompts"])
        )
