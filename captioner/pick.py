"""Which clips people should caption next: those on which the experts and the model disagree, spread over the run.

Active learning by disagreement (query by committee, Seung et al. 1992), weighted by how sure the experts are. The
camera expert of SkyReels-V2 was trained in five such rounds (arXiv 2504.13074, 3.2).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from captioner.lexicon import emotions, motions
from captioner.schema import Caption
from captioner.spelling import is_human

VIDEO_SHARE = 0.05
"""Of the clips picked, at most this share is of one video (but never less than one clip), as long as there are others.
Ours."""
CONCEPT_TIMES = 2
"""A concept has at most so many times an even share, as long as there are others. Ours."""
SHOT = ("shot_type", "shot_angle", "shot_position")
_NEAR = {"truck": "pan", "pedestal": "tilt", "dolly": "zoom", "follow": "pan"}
"""Kinds of motion that a flow cannot always tell from one another, nor a caption's words."""


@dataclass(frozen=True)
class Candidate:
    """One clip as the experts and the model see it."""

    clip_id: str
    video_id: str
    concept: str
    experts: Mapping[str, tuple[str, float]]
    """By field, what the expert says and how surely, 0 to 1; a field on which it is silent is not there."""
    said: Caption
    """The model's own caption."""


@dataclass(frozen=True)
class Clash:
    """One field on which they disagree."""

    field: str
    expert: str
    model: str
    weight: float
    """The expert's confidence times how far apart they are, 0 to 1."""

    def __str__(self) -> str:
        return f"{self.field}: expert {self.expert!r}, model {self.model!r} ({self.weight:.2f})"


@dataclass(frozen=True)
class Picked:
    """A clip to be looked at, and why."""

    clip_id: str
    video_id: str
    concept: str
    score: float
    clashes: tuple[Clash, ...]

    def row(self) -> dict[str, str | float]:
        """A row of a file that `rushes review --clips` reads."""
        return {
            "clip_id": self.clip_id,
            "score": round(self.score, 4),
            "reason": "; ".join(map(str, self.clashes)),
            "fields": " ".join(clash.field for clash in self.clashes),
            "video_id": self.video_id,
            "concept": self.concept,
        }


def clashes(found: Candidate) -> tuple[Clash, ...]:
    """The fields on which expert and model both say something and not the same, the heaviest first."""
    listed = []
    for name, (expert, confidence) in found.experts.items():
        model = said(found.said, name)
        apart = distance(name, expert, model) if model else 0.0
        if apart * confidence > 0:
            listed.append(Clash(name, expert, model, apart * confidence))
    return tuple(sorted(listed, key=lambda clash: (-clash.weight, clash.field)))


def said(caption: Caption, name: str) -> str:
    """What a caption says of a field; of an expression only where it is clear whose it is."""
    if name == "expression":
        people = [one for one in caption.subjects if is_human(one.TYPES.type)]
        return people[0].expression if len(people) == 1 else ""
    return str(getattr(caption, name))


def distance(name: str, expert: str, model: str) -> float:
    """How far two answers are apart, 0 to 1; texts by what they claim, and 0 where one of them claims nothing."""
    if name in SHOT:
        return float(expert != model)
    read = motions if name == "camera_motion" else emotions
    one, other = _coarse(read(expert)), _coarse(read(model))
    sideless = {kind for kind, way in one | other if not way}
    one, other = _sided(one, sideless), _sided(other, sideless)
    return 1 - len(one & other) / len(one | other) if one and other else 0.0


Claim = tuple[str, str]
"""A kind, and its side or nothing."""


def _coarse(claims: Iterable[str]) -> frozenset[Claim]:
    parts = (claim.partition(" ") for claim in claims)
    return frozenset((_NEAR.get(kind, kind), way) for kind, _, way in parts)


def _sided(claims: frozenset[Claim], sideless: Container[str]) -> frozenset[Claim]:
    """Without the sides of kinds that one of the two says without: no more can be told apart."""
    return frozenset((kind, "" if kind in sideless else way) for kind, way in claims)


def pick(candidates: Iterable[Candidate], most: int, seed: int = 0) -> list[Picked]:
    """The clips to look at, `most` where so many disagree, those that disagree most first.

    No concept has more than CONCEPT_TIMES an even share, nor a video more than VIDEO_SHARE of them, unless there is
    nothing else: then first concepts have more, and at last videos. Equals go by a hash of seed and clip id. Held are
    at most four times `most` clips a concept, whatever the number of candidates.
    """

    def place(one: Picked) -> tuple[float, bytes]:
        return -one.score, hashlib.sha256(f"{seed}\n{one.clip_id}".encode()).digest()

    of_video = a_video(most)
    held: dict[str, list[Picked]] = {}
    for one in candidates:
        if found := clashes(one):
            score = sum(clash.weight for clash in found)
            listed = held.setdefault(one.concept, [])
            listed.append(Picked(one.clip_id, one.video_id, one.concept, score, found))
            if len(listed) > 4 * most:
                held[one.concept] = _likely(sorted(listed, key=place), of_video, most)
    ranked = sorted((one for listed in held.values() for one in listed), key=place)
    of_concept = max(1, math.ceil(CONCEPT_TIMES * most / max(1, len(held))))
    taken: list[Picked] = []
    for caps in ((of_video, of_concept), (of_video, most), (most, of_concept), (most, most)):
        taken += _more(ranked, taken, most, *caps)
    return sorted(taken, key=place)


def a_video(most: int) -> int:
    """So many clips of one video, as long as there are others."""
    return max(1, math.floor(VIDEO_SHARE * most))


def _likely(ranked: Sequence[Picked], of_video: int, most: int) -> list[Picked]:
    """Those of one concept that may be taken yet: the best `most`, and twice as many, of a video `of_video`.

    Twice as many as are wanted are enough: videos that are full hold back no more clips than they have on the list.
    """
    videos: Counter[str] = Counter()
    found: list[Picked] = []
    spread = 0
    for place, one in enumerate(ranked):
        capped = videos[one.video_id] < of_video and spread < 2 * most
        if capped:
            videos[one.video_id] += 1
            spread += 1
        if capped or place < most:
            found.append(one)
    return found


def _more(
    ranked: Iterable[Picked], taken: Iterable[Picked], most: int, of_video: int, of_concept: int
) -> list[Picked]:
    """The first clips beside those taken that make them `most` and that no cap holds back."""
    known = {one.clip_id for one in taken}
    videos = Counter(one.video_id for one in taken)
    concepts = Counter(one.concept for one in taken)
    found: list[Picked] = []
    for one in ranked:
        if len(known) == most:
            break
        free = videos[one.video_id] < of_video and concepts[one.concept] < of_concept
        if free and one.clip_id not in known:
            known.add(one.clip_id)
            videos[one.video_id] += 1
            concepts[one.concept] += 1
            found.append(one)
    return found
