"""What the people of a clip show on their faces: emotion, how strong, how it changes, and one sentence a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from captioner.experts.boxes import Box, stored
from captioner.experts.facetracks import EMOTIONS, Moment, face_tracks, moments_of
from captioner.experts.heads import yaw_ratio
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

HARD = frozenset({"angry", "disgust", "fear", "surprise"})
"""Emotions that the packaged network names on faces that show another: 0.6 to 0.75 of fear on a woman who talks, of
surprise on a scared face."""
WORDS = {
    "angry": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "happy": "happy",
    "sad": "sad",
    "surprise": "surprised",
    "neutral": "neutral",
}
MOMENT = pa.struct(
    [
        pa.field("time_s", pa.float32()),  # from the clip's start
        pa.field("frame", pa.int64()),
        *(pa.field(name, pa.float32()) for name in ("x0", "y0", "x1", "y1")),
        pa.field("emotion", pa.string()),  # empty: unsure
        pa.field("score", pa.float32()),  # probability of the likeliest emotion
    ]
)
TRACK = pa.struct(
    [
        pa.field("start_s", pa.float32()),
        pa.field("end_s", pa.float32()),
        pa.field("height_ratio", pa.float32()),  # median height of the face, share of the frame's
        pa.field("emotion", pa.string()),  # of most of the track; empty: not sure, or none lasts
        pa.field(
            "intensity", pa.float32()
        ),  # 0 to 1: that emotion against neutral; null without one, or neutral
        pa.field("confidence", pa.float32()),
        pa.field("change", pa.string()),  # "neutral, then happy"; empty: no change is sure
        pa.field("sentence", pa.string()),  # of it all; empty: nothing is sure
        pa.field("moments", pa.list_(MOMENT)),
    ]
)


@dataclass(frozen=True)
class ExpressionExpert(Stage):
    """The expression of each person whose face can be followed, largest face first, and the main person's alone.

    A moment has an emotion where its probability is high enough and the head is not turned away. The emotion of most of
    a track's moments is the track's; phases of two moments, or of one that is very sure, make the change. Confidence is
    the mean probability of the moments that show what is said, times their share of all. Bounds are ours, from faces of
    the packaged network: another one wants its own.
    """

    name: ClassVar[str] = "expression"
    requires: ClassVar[tuple[str, ...]] = ("emotions",)
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field(
                "expression", pa.string()
            ),  # sentence of the largest face's track; empty: nothing is sure
            pa.field("expression_emotion", pa.string()),
            pa.field("expression_intensity", pa.float32()),
            pa.field("expression_confidence", pa.float32()),
            pa.field("expression_change", pa.string()),
            pa.field("expression_tracks", pa.list_(TRACK)),
        ]
    )

    sure_min: float = 0.6
    """Probability from which a moment is happy, sad or neutral ..."""
    hard_min: float = 0.8
    """... and from which it is angry, disgusted, afraid or surprised."""
    alone_min: float = 0.85
    """Probability from which a single moment is a phase of a change."""
    agree_min: float = 0.6
    """Share of a track's moments that must show its emotion."""
    moments_min: int = 2
    """Moments that a track needs for anything to be said of it; one is enough where one frame was looked at."""
    yaw_max: float = 0.8
    """|yaw_ratio| of a head from which the face is a profile: nothing is read from it."""
    gap_s: float = 2.5
    """A face that is not found for longer begins another track."""
    slight_max: float = 0.75
    """Intensity up to which the sentence says that an emotion is slight."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        moments = moments_of(clip.upstream["emotions"])
        people = face_tracks(moments, clip.width / clip.height, self.gap_s)
        people.sort(key=lambda one: -float(np.median([moment.box.area for moment in one])) * len(one))
        needed = min(self.moments_min, len(clip.upstream["emotions"]["emotion_frames"]))
        tracks = [self.track(one, clip, needed) for one in people]
        main = tracks[0] if tracks else None
        row = {
            "expression": main["sentence"] if main else "",
            "expression_emotion": main["emotion"] if main else "",
            "expression_intensity": main["intensity"] if main else None,
            "expression_confidence": main["confidence"] if main else None,
            "expression_change": main["change"] if main else "",
            "expression_tracks": tracks,
        }
        return stored(self.columns, row)

    def track(self, person: Sequence[Moment], clip: Clip, needed: int) -> dict[str, Any]:
        """The fields of TRACK for one person's moments; of fewer than are needed nothing is said."""
        shown = [self.emotion(moment, clip) if len(person) >= needed else "" for moment in person]
        best = [max(moment.probabilities) for moment in person]
        emotion = lasting(shown, self.agree_min)
        phases = changes(shown, best, self.alone_min)
        change = ", then ".join(phases) if 2 <= len(phases) <= 3 else ""
        told = set(phases) if change else {emotion} - {""}
        scores = [score for name, score in zip(shown, best, strict=True) if name in told]
        strength = intensity(person, shown, emotion) if emotion else None
        return {
            "start_s": person[0].time_s,
            "end_s": person[-1].time_s,
            "height_ratio": float(np.median([moment.box.height for moment in person])),
            "emotion": emotion,
            "intensity": strength,
            "confidence": sum(scores) / len(person) if scores else None,
            "change": change,
            "sentence": self.sentence(emotion, strength, phases if change else []),
            "moments": [
                {
                    "time_s": moment.time_s,
                    "frame": moment.box.frame,
                    **{name: getattr(moment.box, name) for name in ("x0", "y0", "x1", "y1")},
                    "emotion": name,
                    "score": score,
                }
                for moment, name, score in zip(person, shown, best, strict=True)
            ],
        }

    def emotion(self, moment: Moment, clip: Clip) -> str:
        """The moment's emotion, or empty where it is unsure."""
        likeliest = int(np.argmax(moment.probabilities))
        name = EMOTIONS[likeliest]
        least = self.hard_min if name in HARD else self.sure_min
        sure = moment.probabilities[likeliest] >= least and abs(yaw_ratio(moment.box, clip)) < self.yaw_max
        return name if sure else ""

    def sentence(self, emotion: str, strength: float | None, phases: Sequence[str]) -> str:
        """ "The person looks neutral, then happy." Empty without an emotion and a change."""
        if phases:
            return f"The person looks {', then '.join(WORDS[name] for name in phases)}."
        if not emotion:
            return ""
        if strength is None:
            return f"The person looks {WORDS[emotion]}."
        how = "slightly " if strength <= self.slight_max else ""
        return f"The person looks {how}{WORDS[emotion]}."


def lasting(shown: Sequence[str], agree_min: float) -> str:
    """The emotion that enough of all moments show, unsure ones counted among all; else empty."""
    sure = Counter(name for name in shown if name)
    name, count = sure.most_common(1)[0] if sure else ("", 0)
    return name if count >= agree_min * len(shown) else ""


def changes(shown: Sequence[str], scores: Sequence[float], alone_min: float) -> list[str]:
    """The emotions in sequence: each of two moments on end, or of one with a score of `alone_min`; unsure ones are
    passed over."""
    sure = [(name, score) for name, score in zip(shown, scores, strict=True) if name]
    runs = [(name, [score for _, score in run]) for name, run in groupby(sure, key=lambda one: one[0])]
    kept = [name for name, run in runs if len(run) > 1 or run[0] >= alone_min]
    return [name for name, _ in groupby(kept)]


def intensity(person: Sequence[Moment], shown: Sequence[str], emotion: str) -> float | None:
    """Mean of the emotion's probability over its and neutral's sum, on the moments that show it; None for neutral."""
    if emotion == "neutral":
        return None
    of, still = EMOTIONS.index(emotion), EMOTIONS.index("neutral")
    pairs = [
        (moment.probabilities[of], moment.probabilities[still])
        for moment, name in zip(person, shown, strict=True)
        if name == emotion
    ]
    return float(np.mean([on / max(on + off, 1e-9) for on, off in pairs]))


def of_subject(sentence: str) -> str:
    """A sentence of this expert as the field of a subject, whose name is said elsewhere: "Looks neutral, then happy."

    "The person" beside a woman would be somebody else.
    """
    told = sentence.removeprefix("The person ")
    return told[:1].upper() + told[1:]


def expression_of(boxes: Sequence[Box], expression: Row, confidence_min: float) -> str:
    """What the face shows that belongs to a subject, by its boxes; empty where there is none, or it is less sure.

    `expression` is the row of the stage of that name.
    """
    track = track_of(boxes, expression["expression_tracks"])
    sure = track is not None and (track["confidence"] or 0.0) >= confidence_min
    return of_subject(str(track["sentence"])) if track is not None and sure else ""


def track_of(boxes: Sequence[Box], tracks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The expression track that belongs to a subject, by its boxes on a few frames; None where none does surely.

    It is the one whose face lies in the upper half of the subject's box on most of the frames that both have, on half
    of these at least; of two as good ones neither.
    """
    by_frame = {box.frame: box for box in boxes}
    votes = []
    for i, track in enumerate(tracks):
        both = [one for one in track["moments"] if one["frame"] in by_frame]
        inside = sum(_belongs(by_frame[one["frame"]], one) for one in both)
        if both and 2 * inside >= len(both):
            votes.append((inside, i))
    votes.sort(key=lambda vote: (-vote[0], vote[1]))
    if not votes or (len(votes) > 1 and votes[0][0] == votes[1][0]):
        return None
    return tracks[votes[0][1]]


def _belongs(subject: Box, face: Mapping[str, Any]) -> bool:
    x, y = (face["x0"] + face["x1"]) / 2, (face["y0"] + face["y1"]) / 2
    high = face["y1"] - face["y0"] < 0.5 * subject.height  # else a close-up: the face fills its person's box
    return subject.holds((x, y)) and (not high or y < subject.centre[1])
