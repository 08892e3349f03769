"""The structured caption: SkyCaptioner's fields as typed models, their JSON Schema and their canonical text.

Names and order are those of SkyCaptioner-V1's output (arXiv 2504.13074), so that captions of any engine mix
in one training set. An empty string means *not said*. The three closed vocabularies may be empty in a
Caption: an engine that cannot know says nothing. `json_schema()`, which guides a model's decoding, allows the
real values alone.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

EXPRESSIVE_TYPES = frozenset({"human", "animal"})
"""Types, in lower case, whose subjects may have an expression."""
MAX_SUBJECTS = 16
"""More is a model repeating itself: the released captions name at most 4."""
MAX_CHARS = 4_096
"""A text's cap; the longest of the released captions has about 600 characters."""
MAX_CAPTION_CHARS = 1 << 20
"""`loads` parses nothing longer: above what MAX_SUBJECTS full texts take."""

_JOINERS = "\u200c\u200d"  # format characters, but Persian, Indic scripts and emoji are misspelt without them


def clean(text: str) -> str:
    """The text in NFC on one line, single-spaced, without control, bidi, format and private characters.

    Idempotent. Lone surrogates and noncharacters go as well: no UTF-8 file and no tokenizer takes the former.
    """
    spaced = " ".join(text.split())
    kept = "".join(char for char in spaced if char in _JOINERS or not _hidden(char))
    return " ".join(unicodedata.normalize("NFC", kept).split())


def _hidden(char: str) -> bool:
    noncharacter = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
    return noncharacter or unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"}


def _guarded(text: str) -> str:
    text = clean(text)
    if len(text) > MAX_CHARS:
        raise ValueError(f"{len(text)} characters, at most {MAX_CHARS} are allowed")
    return text


def _named(text: str) -> str:
    if not text:
        raise ValueError("a subject needs a type")
    return text


# The caps stay out of the JSON Schema: decoders guided by a length bound admit raw control characters.
Text = Annotated[str, AfterValidator(_guarded)]
Name = Annotated[str, AfterValidator(_guarded), AfterValidator(_named)]

ShotTypeValue = Literal["long_shot", "full_shot", "medium_shot", "close_up", "extreme_close_up", "other"]
ShotAngleValue = Literal["eye_level", "high_angle", "low_angle", "other"]
ShotPositionValue = Literal[
    "front_view",
    "back_view",
    "side_view",
    "over_the_shoulder",
    "overhead_view",
    "point_of_view",
    "aerial_view",
    "overlooking_view",
    "other",
]


def _only(values: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(get_args(values))})


ShotType = Annotated[ShotTypeValue | Literal[""], _only(ShotTypeValue)]
ShotAngle = Annotated[ShotAngleValue | Literal[""], _only(ShotAngleValue)]
ShotPosition = Annotated[ShotPositionValue | Literal[""], _only(ShotPositionValue)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Types(_Model):
    """What a subject is: Human > Woman, Animal > Dog."""

    type: Name
    sub_type: Text


class Subject(_Model):
    """One subject of the clip. Only people and animals have an expression."""

    TYPES: Types
    appearance: Text
    action: Text
    expression: Text
    position: Text
    is_main_subject: bool

    @model_validator(mode="after")
    def _expression_has_a_face(self) -> Self:
        if self.expression and self.TYPES.type.lower() not in EXPRESSIVE_TYPES:
            raise ValueError(f"a subject of type {self.TYPES.type} has no expression")
        return self


class Caption(_Model):
    """What one clip shows. Exactly one subject is the main one, when there is any."""

    subjects: Annotated[tuple[Subject, ...], Field(max_length=MAX_SUBJECTS)]
    shot_type: ShotType
    shot_angle: ShotAngle
    shot_position: ShotPosition
    camera_motion: Text
    environment: Text
    lighting: Text

    @model_validator(mode="after")
    def _one_main_subject(self) -> Self:
        main = sum(subject.is_main_subject for subject in self.subjects)
        if self.subjects and main != 1:
            raise ValueError(f"{main} main subjects among {len(self.subjects)}, one is needed")
        return self

    def said(self) -> tuple[str, ...]:
        """Names of the fields that say something, in the schema's order."""
        return tuple(name for name in type(self).model_fields if getattr(self, name))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a full caption, for guided decoding: every field, only real vocabulary.

    The rules across fields (main subject, expression) and the caps on text are beyond it: `loads` has them.
    """
    return Caption.model_json_schema()


def dumps(caption: Caption) -> str:
    """The canonical JSON text: keys in the schema's order, no spaces, nothing escaped that need not be."""
    return json.dumps(caption.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Caption:
    """The caption of a JSON text, cleaned and checked. Raises ValueError (a ValidationError is one)."""
    if len(text) > MAX_CAPTION_CHARS:
        raise ValueError(f"a caption of {len(text)} characters, at most {MAX_CAPTION_CHARS} are allowed")
    return Caption.model_validate_json(text)
