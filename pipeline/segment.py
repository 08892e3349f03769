"""Shots and clips: two detectors look at every frame's thumbnail, a stated policy merges what they see.

Looking (`signals`) is dear, happens once in the decode pass, and has no settings. Deciding (`tables`) is cheap: other
settings need no decode. `docs/log.md` holds the figures behind the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import transnet
from pipeline.clip import BOUNDARIES, CLIPS, SHOTS, span_id
from pipeline.stage import fingerprint
from pipeline.transnet import TransNet

CONTEXT = transnet.CONTEXT
"""Frames that `signals` wants on each side of a span, where the video has them."""
STRIDE = transnet.STRIDE
"""The borders between spans of one video are multiples of this."""
WIDTH = 2
"""Neighbours on each side that the adaptive ratio compares a frame with: PySceneDetect's default window."""

Times = npt.NDArray[np.float64]
"""(frame_count + 1,) seconds from the video's first frame to each, and to the end of the last."""

DROPPED = pa.schema(
    [
        pa.field("video_id", pa.string()),
        pa.field("start_frame", pa.int64()),
        pa.field("end_frame", pa.int64()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("kind", pa.string()),  # shot: might have been a clip; transition: never
        pa.field("reason", pa.string()),  # too_short (a shot or a part of one); transition, trimmed
    ]
)
"""What of a video became no clip: with CLIPS, every frame is accounted for once."""


@dataclass(frozen=True, eq=False)
class Signals:
    """What the detectors saw in each of n frames: (n,) float32 each."""

    transnet: npt.NDArray[np.float32]
    """TransNetV2's probability that a transition is centred after this frame."""
    transnet_many: npt.NDArray[np.float32]
    """TransNetV2's probability that this frame is part of a transition."""
    content: npt.NDArray[np.float32]
    """PySceneDetect's content value: mean absolute HSV difference to the frame before, 0 to 255."""
    adaptive: npt.NDArray[np.float32]
    """PySceneDetect's adaptive ratio: the content value by the mean of its neighbours', 0 to 255."""
    luma_mean: npt.NDArray[np.float32]
    """Mean luma, 0 to 255."""


@dataclass(frozen=True)
class Segment:
    """The settings of the merge policy and of the cut into clips."""

    name: ClassVar[str] = "segment"
    version: ClassVar[int] = 2
    """Bumped when the same signals would give other tables."""

    transnet_min: float = 0.5
    """TransNetV2 alone decides from here on: the published threshold (arXiv 2008.04838, section 4)."""
    agree_min: float = 0.2
    """From here on TransNetV2 needs a second witness: a gradual change, or PySceneDetect (docs/log.md)."""
    gradual_min: float = 0.5
    """A frame belongs to a transition from this many-hot probability on. As with a cut, and as the published code
    counts, the first of them ends the shot before: the transition begins after it, and `trim_frames` take it off."""
    gradual_frames: int = 4
    """A transition of at least this many frames is gradual; a shorter one is a cut."""
    adaptive_min: float = 3.0
    """PySceneDetect's default adaptive_threshold."""
    content_min: float = 15.0
    """PySceneDetect's default min_content_val: with `adaptive_min`, what makes a candidate."""
    witness_content_min: float = 27.0
    """PySceneDetect's default threshold of the content detector: what a second witness must have seen."""
    black_luma: float = 12.0
    """A darker frame is black: PySceneDetect's default threshold of the fade detector."""
    trim_frames: int = 2
    """Taken off a clip beside every boundary: blended frames, and the detectors' tolerance in scoring."""
    min_clip_s: float = 2.0
    """Shorter is dropped. Published pipelines take 2 s (Open-Sora 1.2) to 3 s (Koala-36M)."""
    max_clip_s: float = 10.0
    """Longer is split into equal parts."""

    def __post_init__(self) -> None:
        if not 0 < 2 * self.min_clip_s <= self.max_clip_s:
            raise ValueError(
                f"max_clip_s {self.max_clip_s} is not at least twice min_clip_s {self.min_clip_s} > 0"
            )
        if not 0 < self.agree_min <= self.transnet_min <= 1:
            raise ValueError(f"not 0 < agree_min {self.agree_min} <= transnet_min {self.transnet_min} <= 1")
        if self.trim_frames < 0 or self.gradual_frames < 2:
            raise ValueError(
                f"trim_frames {self.trim_frames} < 0 or gradual_frames {self.gradual_frames} < 2"
            )

    def fingerprint(self) -> str:
        """8 hex digits over name, version and settings."""
        return fingerprint(self.name, self.version, asdict(self))


class Boundary(NamedTuple):
    """A place where a shot may end; frames [frame, end_frame) are the transition, none for a cut."""

    frame: int
    end_frame: int
    kind: str
    """cut, gradual"""
    transnet: float
    adaptive: float
    kept: bool


class Shot(NamedTuple):
    """Frames [start_frame, end_frame) of one camera take."""

    start_frame: int
    end_frame: int


class Cutting(NamedTuple):
    """A span of a shot that is a clip (`reason` is None), or why it is none."""

    shot: Shot
    start_frame: int
    end_frame: int
    reason: str | None


def signals(
    net: TransNet,
    thumbs: npt.NDArray[np.uint8],
    first_frame: int,
    start: int,
    end: int,
    frame_count: int,
) -> Signals:
    """The signals of frames [start, end), the same for any cut of a video into spans at multiples of `STRIDE`.

    `thumbs` is uint8 (n, 27, 48, 3) RGB, frames [first_frame, first_frame + n) of a video of `frame_count`, with
    `CONTEXT` frames around the span where the video has them. Raises ValueError for other spans or shapes.
    """
    one, many = net.predict(thumbs, first_frame, start, end, frame_count)
    around = np.clip(np.arange(start - WIDTH - 1, end + WIDTH), 0, frame_count - 1) - first_frame
    content, adaptive = _content(thumbs, around)
    return Signals(one, many, content, adaptive, _luma(thumbs[start - first_frame : end - first_frame]))


def _content(
    thumbs: npt.NDArray[np.uint8], frames: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """PySceneDetect's content values and adaptive ratios, without those of the first 3 and last 2 of `frames`."""
    import cv2
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector
    from scenedetect.stats_manager import StatsManager

    cv2.setNumThreads(1)
    detector = AdaptiveDetector(window_width=WIDTH)
    detector.stats_manager = StatsManager()
    for place, frame in enumerate(frames):
        bgr = np.ascontiguousarray(thumbs[frame, :, :, ::-1])
        detector.process_frame(
            FrameTimecode(place, 1.0), bgr
        )  # the detector counts frames, whatever their rate
    ratio_key = detector.get_metrics()[-1]
    keys = [detector.FRAME_SCORE_KEY, ratio_key]
    rows = [detector.stats_manager.get_metrics(n, keys) for n in range(WIDTH + 1, len(frames) - WIDTH)]
    values = np.array(rows, np.float32).reshape(-1, 2)
    return values[:, 0].copy(), values[:, 1].copy()


def _luma(thumbs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean luma of each frame (ITU-R BT.601 weights), summed exactly."""
    red, green, blue = thumbs.sum(axis=(1, 2), dtype=np.int64).T
    mean = (299 * red + 587 * green + 114 * blue) / (1000 * thumbs.shape[1] * thumbs.shape[2])
    return np.asarray(mean, np.float32)


def boundaries(found: Signals, times: Times, settings: Segment) -> list[Boundary]:
    """Every candidate of either detector, in order; `kept` says what the policy makes of it.

    A run of frames where either detector sees something is one candidate. It is kept when TransNetV2 is sure
    (`transnet_min`), or half sure (`agree_min`) and either the change is gradual or PySceneDetect saw a jump
    (`adaptive_min` and `witness_content_min`). A stretch of black between two boundaries that is too short for a clip
    belongs to the transition: a fade to black and back is one boundary.
    """
    jumps = (found.adaptive >= settings.adaptive_min) & (found.content >= settings.content_min)
    jump_after = np.append(jumps[1:], False)  # as TransNetV2 counts: a cut at frame i lies after frame i - 1
    many = found.transnet_many >= settings.gradual_min
    either = (found.transnet >= settings.agree_min) | many | jump_after
    either[-1] = False  # after the last frame there is nothing
    candidates = [_candidate(found, first, last, settings) for first, last in _runs(either)]
    return _bridged(candidates, found.luma_mean < settings.black_luma, times, settings)


def _runs(mask: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last place of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for first, end in edges.reshape(-1, 2).tolist():
        yield first, end - 1


def _candidate(found: Signals, first: int, last: int, settings: Segment) -> Boundary:
    """The boundary that frames first..last announce: frame i announces that frame i + 1 is another shot's."""
    near = slice(first + 1, last + 2)
    probability = float(found.transnet[first : last + 1].max())
    many = found.transnet_many[first : last + 1] >= settings.gradual_min
    gradual = int(many.sum()) >= settings.gradual_frames
    witness = (found.adaptive[near] >= settings.adaptive_min) & (
        found.content[near] >= settings.witness_content_min
    )
    sure = probability >= settings.transnet_min
    agreed = probability >= settings.agree_min and (gradual or bool(witness.any()))
    ratio = float(found.adaptive[near].max())
    if gradual:
        return Boundary(first + 1, last + 1, "gradual", probability, ratio, sure or agreed)
    frame = first + 1 + int(np.argmax(found.content[near]))
    return Boundary(frame, frame, "cut", probability, ratio, sure or agreed)


def _bridged(
    found: Sequence[Boundary], black: npt.NDArray[np.bool_], times: Times, settings: Segment
) -> list[Boundary]:
    """The boundaries, those kept widened over short black stretches beside them, and joined where they then meet."""
    count = len(black)

    def short_black(start: int, end: int) -> bool:
        return (
            start < end and bool(black[start:end].all()) and times[end] - times[start] < settings.min_clip_s
        )

    kept: list[Boundary] = []
    for boundary in (b for b in found if b.kept):
        if not kept and short_black(0, boundary.frame):
            kept.append(boundary._replace(frame=0, kind="gradual"))
        elif kept and short_black(kept[-1].end_frame, boundary.frame):
            kept[-1] = Boundary(
                kept[-1].frame,
                boundary.end_frame,
                "gradual",
                max(kept[-1].transnet, boundary.transnet),
                max(kept[-1].adaptive, boundary.adaptive),
                True,
            )
        else:
            kept.append(boundary)
    if kept and short_black(kept[-1].end_frame, count):
        kept[-1] = kept[-1]._replace(end_frame=count, kind="gradual")
    return sorted([*kept, *(b for b in found if not b.kept)])


def shots(found: Sequence[Boundary], frame_count: int) -> list[Shot]:
    """The shots between the kept boundaries; frames of gradual transitions belong to none."""
    made, start = [], 0
    for boundary in (b for b in found if b.kept):
        if boundary.frame > start:
            made.append(Shot(start, boundary.frame))
        start = boundary.end_frame
    if start < frame_count:
        made.append(Shot(start, frame_count))
    return made


def clips(found: Sequence[Shot], times: Times, settings: Segment) -> list[Cutting]:
    """The shots cut into clips, in order, and what of them is no clip, with the reason.

    `trim_frames` go where a shot meets a boundary. What is longer than `max_clip_s` is split into the fewest equal
    parts that are not; what is shorter than `min_clip_s` is too short. A video of one frame is one clip.
    """
    count = len(times) - 1
    made: list[Cutting] = []
    for shot in found:
        start = shot.start_frame + (settings.trim_frames if shot.start_frame > 0 else 0)
        end = shot.end_frame - (settings.trim_frames if shot.end_frame < count else 0)
        if count > 1 and (end <= start or times[end] - times[start] < settings.min_clip_s):
            made.append(Cutting(shot, *shot, "too_short"))
            continue
        marks = _split(start, end, times, settings.max_clip_s)
        spans = [(shot.start_frame, start), *pairwise(marks), (end, shot.end_frame)]
        for place, (first, last) in enumerate(spans):
            if first == last:
                continue
            short = count > 1 and times[last] - times[first] < settings.min_clip_s
            trimmed = place in (0, len(spans) - 1)
            made.append(Cutting(shot, first, last, "trimmed" if trimmed else "too_short" if short else None))
    return made


def _split(start: int, end: int, times: Times, max_s: float) -> list[int]:
    """Frames that cut [start, end) into the fewest parts of equal time that last at most `max_s`, ends included.

    Where frames are long or irregular, equal parts are not to be had: then each part is as near as it can be to an
    equal share of what is left. A frame that itself lasts longer than `max_s` stays whole.
    """
    length_s = times[end] - times[start]
    fewest = max(1, int(np.ceil(length_s / max_s)))
    for parts in (fewest, fewest + 1):  # one more: the rate need not divide `max_s`
        targets = times[start] + length_s * np.arange(1, parts) / parts
        inner = start + np.searchsorted(times[start:end], targets)
        marks = np.unique([start, *inner, end])
        if ((np.diff(times[marks]) <= max_s) | (np.diff(marks) == 1)).all():
            return [int(mark) for mark in marks]
    return _walked(start, end, times, max_s)


def _walked(start: int, end: int, times: Times, max_s: float) -> list[int]:
    """Such frames found one after the other: each at its share of the rest, or at the last that still fits."""
    walked = [start]
    while (here := walked[-1]) < end:
        rest_s = times[end] - times[here]
        share_s = rest_s / max(1, np.ceil(rest_s / max_s))
        after = times[here + 1 : end + 1]
        fair = int(np.searchsorted(after, times[here] + share_s)) + 1
        fits = int(np.searchsorted(after, times[here] + max_s, side="right"))
        fits -= int(times[here + fits] - times[here] > max_s)  # the sum was rounded up
        walked.append(min(here + max(1, min(fair, fits)), end))
    return walked


def tables(
    video: Mapping[str, Any], times: Times, found: Signals, settings: Segment
) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """BOUNDARIES, SHOTS, CLIPS and DROPPED of one video, from its VIDEOS row, its times and its signals.

    Raises ValueError when there are not as many signals as frames.
    """
    count = len(times) - 1
    if len(found.transnet) != count:
        raise ValueError(f"signals of {len(found.transnet)} frames for a video of {count}")
    edges = boundaries(found, times, settings)
    takes = shots(edges, count)
    cuttings = clips(takes, times, settings)
    identity = str(video["video_id"])
    fps = video["fps_num"] / video["fps_den"]

    def span(start: int, end: int) -> dict[str, Any]:
        return {
            "video_id": identity,
            "start_frame": start,
            "end_frame": end,
            "start_s": float(times[start]),
            "end_s": float(times[end]),
        }

    lost = [
        (c.start_frame, c.end_frame, "shot" if c.reason == "too_short" else "transition", c.reason)
        for c in cuttings
        if c.reason is not None
    ]
    lost += [
        (b.frame, b.end_frame, "transition", "transition") for b in edges if b.kept and b.kind == "gradual"
    ]
    picture = {"fps": fps, "width": video["width"], "height": video["height"]}
    return (
        pa.Table.from_pylist([{"video_id": identity, **b._asdict()} for b in edges], BOUNDARIES),
        pa.Table.from_pylist([{"shot_id": span_id(identity, *take), **span(*take)} for take in takes], SHOTS),
        pa.Table.from_pylist(
            [
                {
                    "clip_id": span_id(identity, c.start_frame, c.end_frame),
                    "shot_id": span_id(identity, *c.shot),
                    **span(c.start_frame, c.end_frame),
                    **picture,
                }
                for c in cuttings
                if c.reason is None
            ],
            CLIPS,
        ),
        pa.Table.from_pylist(
            [
                {**span(start, end), "kind": kind, "reason": reason}
                for start, end, kind, reason in sorted(lost)
            ],
            DROPPED,
        ),
    )
