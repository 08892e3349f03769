"""The final caption: the model's fields, but an expert's where it is sure; each field says whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from captioner.embedded import COLUMNS, caption_row
from captioner.english import is_several
from captioner.experts.expression import of_subject
from captioner.schema import Caption, loads
from captioner.spelling import is_human
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

SOURCE = pa.struct(
    [
        pa.field("field", pa.string()),
        pa.field("source", pa.string()),  # vlm, camera, shot, expression
        pa.field("confidence", pa.float32()),  # the expert's; null where the model's field stands
    ]
)
MODEL = "vlm"
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class PolicyCaptioner(Stage):
    """A field is the expert's where the expert says something with this confidence or more, else the model's.

    The expert on shots measures the main person, so it counts where the model's main subject is one. The expert on
    expressions counts where there is no doubt whose face it is: one followed face, one human subject.
    What the experts say in English sentences stands in English captions alone. Both answers stay in their own columns.
    """

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("vlm", "camera", "shot", "expression")
    columns: ClassVar[pa.Schema] = pa.schema([*COLUMNS, pa.field("caption_sources", pa.list_(SOURCE))])

    camera_min: Share = 0.6
    """Share of the textured picture that the camera's motion explains. The confidences are not probabilities: ours."""
    shot_min: Share = 0.6
    """Share of frames that agree on type, angle or position, times the detections' score."""
    expression_min: Share = 0.6
    """Mean probability of the emotion, times the share of moments that show it."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        said = clip.upstream["vlm"]
        caption = loads(said["vlm_caption"])
        person_first = any(one.is_main_subject and is_human(one.TYPES.type) for one in caption.subjects)
        sure = self._sure(clip.upstream, said["vlm_language"] == "en", person_first)
        expression = sure.pop("expression", None)
        changes: dict[str, Any] = {name: text for name, (_, text, _) in sure.items()}
        if expression is not None and (person := _only_person(caption)) is not None:
            told = caption.subjects[person].model_copy(update={"expression": of_subject(expression[1])})
            changes["subjects"] = (*caption.subjects[:person], told, *caption.subjects[person + 1 :])
            sure[f"subjects.{person}.expression"] = expression
        final = caption.model_copy(update=changes)
        named = [*Caption.model_fields, *(name for name in sure if name not in Caption.model_fields)]
        sources = [
            {"field": name, "source": expert, "confidence": confidence}
            for name in named
            for expert, _, confidence in [sure.get(name, (MODEL, "", None))]
        ]
        return {**caption_row(final, said["vlm_engine"]), "caption_sources": sources}

    def fallen(self, name: str, known: Row) -> Row:
        """How the model's caption failed."""
        return {"caption_status": known["vlm_status"]} if known.get("vlm_status") else {}

    def _sure(
        self, upstream: Mapping[str, Row], english: bool, person_first: bool
    ) -> dict[str, tuple[str, str, float | None]]:
        """By field, the expert, what it says and how surely, as far as it is sure enough."""
        camera, shot, face = upstream["camera"], upstream["shot"], upstream["expression"]
        offers = [
            (name, "shot", shot[name], shot[f"{name}_confidence"], self.shot_min)
            for name in ("shot_type", "shot_angle", "shot_position")
            if person_first
        ]
        if english:
            motion = camera["camera_motion"], camera["camera_confidence"]
            offers.append(("camera_motion", "camera", *motion, self.camera_min))
        if english and len(face["expression_tracks"] or ()) == 1:
            shown = face["expression"], face["expression_confidence"]
            offers.append(("expression", "expression", *shown, self.expression_min))
        return {
            name: (expert, text, confidence)
            for name, expert, text, confidence, least in offers
            if text and confidence is not None and confidence >= least
        }


def _only_person(caption: Caption) -> int | None:
    """The number of the one human subject; None where there is none, or several, or it is several itself."""
    people = [(number, one.TYPES) for number, one in enumerate(caption.subjects) if is_human(one.TYPES.type)]
    if len(people) != 1 or any(is_several(name) for name in (people[0][1].type, people[0][1].sub_type)):
        return None
    return people[0][0]
