"""The one decode pass: every frame's shot signals, and the small frames that later stages look at (the proxy).

A film is scanned in chunks, on as many workers as there are, with exactly the values of one pass; small videos are
scanned in groups. The proxy is a cache: it may be deleted at any time and is made again when a stage needs it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.frames import PROXY, Decoder, Limits, Sample, VideoIndex
from pipeline.ingest import Hands
from pipeline.reasons import MediaError, Reason
from pipeline.runner import Done
from pipeline.segment import CONTEXT, STRIDE, Signals, signals
from pipeline.sources import Fetcher, partition
from pipeline.stage import fingerprint
from pipeline.store import Entry, Failure, StorageError, Store
from pipeline.transnet import Precision, TransNet

VERSION = 1
"""Bumped when the same video would give other signals or other proxy frames."""
VIDEOS_A_GROUP = 16
CHUNK_FRAMES = 12 * STRIDE
"""A span of a longer video that one worker scans: some minutes, so that a film keeps many workers busy."""
GROUP_FRAMES = 6 * STRIDE
"""Of the videos of one group together, unless one alone has more: a minute or two, so that few videos, too, keep
several workers busy."""

SIGNALS = pa.schema(
    [
        pa.field("video_id", pa.string()),
        pa.field("start_frame", pa.int64()),
        pa.field("transnet", pa.list_(pa.float32())),
        pa.field("transnet_many", pa.list_(pa.float32())),
        pa.field("content", pa.list_(pa.float32())),
        pa.field("adaptive", pa.list_(pa.float32())),
        pa.field("luma", pa.list_(pa.float32())),
        pa.field("error_reason", pa.string()),
        pa.field("error", pa.string()),
    ]
)

PROXIES = pa.schema(
    [
        pa.field("video_id", pa.string()),
        pa.field("layer", pa.int8()),  # index in frames.PROXY
        pa.field("frame", pa.int64()),
        pa.field("time_s", pa.float64()),
        pa.field("step_s", pa.float64()),
        pa.field("data", pa.binary()),  # JPEG
        pa.field("following", pa.binary()),  # JPEG of the next frame, for pair layers
    ]
)


@dataclass(frozen=True)
class Span:
    """A stretch of one video: its VIDEOS row and the frames [start, end)."""

    video: Mapping[str, Any]
    start: int
    end: int

    @property
    def video_id(self) -> str:
        return str(self.video["video_id"])


@dataclass(frozen=True)
class Unit:
    """Spans that one worker scans and commits together."""

    name: str
    spans: tuple[Span, ...]
    retry: bool = False
    """Scan again only the videos that failed."""

    @property
    def frames(self) -> int:
        return sum(span.end - span.start for span in self.spans)


@dataclass(frozen=True)
class Group:
    """Videos whose shots are found together, from the signals of one or (for a film) several scan units."""

    name: str
    videos: tuple[Mapping[str, Any], ...]
    units: tuple[Unit, ...]
    retry: bool = False
    """Find only the shots of videos that failed the last time."""


def groups(videos: Sequence[Mapping[str, Any]], chunk_frames: int = CHUNK_FRAMES) -> list[Group]:
    """The used videos, by id, in groups that depend on ids and lengths alone: a film by itself in chunks, others
    together. `chunk_frames` is a multiple of STRIDE."""
    made: list[Group] = []
    small: list[Mapping[str, Any]] = []
    for video in videos:
        if video["frame_count"] > chunk_frames:
            made.append(_film(video, chunk_frames))
        else:
            small.append(video)
    lengths = [video["frame_count"] for video in small]
    for part in partition([v["video_id"] for v in small], VIDEOS_A_GROUP, lengths, GROUP_FRAMES):
        spans = tuple(Span(v, 0, v["frame_count"]) for v in small[part])
        unit = Unit(_name(spans), spans)
        made.append(Group(unit.name, tuple(small[part]), (unit,)))
    return sorted(made, key=lambda group: group.name)


def _film(video: Mapping[str, Any], chunk_frames: int) -> Group:
    """A film in chunks: each a unit of its own, or all in one unit where only reading from the start is safe."""
    count = video["frame_count"]
    spans = tuple(Span(video, at, min(at + chunk_frames, count)) for at in range(0, count, chunk_frames))
    together = [(span,) for span in spans] if video["seekable"] else [spans]
    units = tuple(Unit(_name(chunks), chunks) for chunks in together)
    return Group(_name((Span(video, 0, count),)), (video,), units)


def _name(spans: Sequence[Span]) -> str:
    text = ",".join(f"{s.video_id}:{s.start}:{s.end}" for s in spans)
    return f"part-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass
class Eyes(Hands):
    """What a scan worker holds: a decoder, a place for remote files, and TransNetV2."""

    net: TransNet


@dataclass(frozen=True)
class Scan:
    """Scans units into `signals@.../` and `proxies@.../`."""

    store: Store
    limits: Limits = field(default_factory=Limits)
    precision: Precision = "auto"
    """Of TransNetV2; a run states one, so that machines of another kind give the same values."""
    backend: str = "pyav"
    """Which decoder reads the frames: one of frames.BACKENDS."""

    label = "scan"

    @property
    def fingerprint(self) -> str:
        # `most` is left out: a layer holds every frame of its grid.
        layers = [{k: v for k, v in asdict(spec).items() if k != "most"} for spec in PROXY]
        return fingerprint("scan", VERSION, TransNet.fingerprint(), self.precision, self.backend, layers)

    @property
    def step(self) -> str:
        return f"signals@{self.fingerprint}"

    def proxy_path(self, span: Span) -> str:
        return f"proxies@{self.fingerprint}/{_name((span,))}.parquet"

    def open(self) -> Eyes:
        return Eyes(Decoder(self.limits, self.backend), Fetcher(), TransNet.load(precision=self.precision))

    def name(self, unit: Unit) -> str:
        return unit.name

    def run(self, state: Eyes, unit: Unit, poison: Mapping[str, int]) -> Iterator[str | Done]:
        last = self.store.last(self.step, unit.name, unit.retry)
        rows: list[dict[str, Any]] = []
        failures: dict[str, Failure] = {}
        clock = {"decode": 0.0, "shots": 0.0}
        for span in unit.spans:
            if not last.wants(span.video_id):
                continue
            yield span.video_id
            deaths = poison.get(span.video_id, 0)
            try:
                if deaths:
                    raise MediaError(Reason.WORKER_DIED, f"{deaths} workers died while scanning it")
                found = scan(state, span)
                rows.append(_signal_row(span, found.signals))
                put_proxy(self.store, self.proxy_path(span), span, found.samples)
                clock["decode"] += found.decode_s
                clock["shots"] += found.shots_s
            except MediaError as error:
                rows.append(_error_row(span, error))
                failures[span.video_id] = Failure(
                    span.video_id, "segment", str(error.reason), error.message, last.attempt
                )
        table = pa.Table.from_pylist(rows, schema=SIGNALS)
        if last.outputs:
            kept = self.store.tables(last.outputs, SIGNALS)
            sound = kept.filter(~pc.field("video_id").isin(sorted(last.failed or ())))
            table = pa.concat_tables([sound, table])
        output = self.store.put_table(f"{self.step}/{unit.name}{last.suffix}.parquet", table)
        counts = {"videos": len({span.video_id for span in unit.spans}), "frames": unit.frames}
        self.store.record(Entry(self.step, unit.name, (output,), counts, tuple(failures.values())))
        seconds = sum((s.end - s.start) * s.video["duration_s"] / s.video["frame_count"] for s in unit.spans)
        yield Done(counts={**counts, "video_s": seconds}, seconds=clock)


@dataclass(frozen=True)
class Scanned:
    """What one span gave."""

    signals: Signals
    samples: Sequence[Sample]
    decode_s: float
    """Wall seconds in the decoding process, which works while this one waits."""
    shots_s: float
    """CPU seconds of TransNetV2 and PySceneDetect."""


def scan(state: Eyes, span: Span) -> Scanned:
    """Decodes the span once and computes its shot signals."""
    index = VideoIndex.from_row(span.video)
    path = state.fetcher.source(span.video)
    began = time.perf_counter()
    seen = state.decoder.scan(path, index, span.start, span.end, CONTEXT)
    decode_s = time.perf_counter() - began
    busy = time.thread_time()
    found = signals(state.net, seen.thumbs, seen.first_frame, span.start, span.end, span.video["frame_count"])
    return Scanned(found, seen.samples, decode_s, time.thread_time() - busy)


def put_proxy(store: Store, path: str, span: Span, samples: Sequence[Sample]) -> None:
    """Writes the proxy of a span, in order of layer and frame."""
    ordered = sorted(samples, key=lambda sample: (sample.layer, sample.frame))
    rows = [{"video_id": span.video_id, **vars(sample)} for sample in ordered]
    store.put_table(path, pa.Table.from_pylist(rows, schema=PROXIES), payload=("data", "following"))


def read_proxy(store: Store, path: str, span: Span, decoder: Decoder, fetcher: Fetcher) -> pa.Table:
    """The proxy of a span; made anew from the source when it was deleted or damaged. Raises MediaError."""
    if store.size(path) is not None:
        try:
            return store.table(path)
        except StorageError:
            store.remove(path)
    index = VideoIndex.from_row(span.video)
    seen = decoder.scan(fetcher.source(span.video), index, span.start, span.end, 0)
    put_proxy(store, path, span, seen.samples)
    return store.table(path)


def _signal_row(span: Span, found: Signals) -> dict[str, Any]:
    return {
        "video_id": span.video_id,
        "start_frame": span.start,
        "transnet": found.transnet,
        "transnet_many": found.transnet_many,
        "content": found.content,
        "adaptive": found.adaptive,
        "luma": found.luma_mean,
        "error_reason": None,
        "error": None,
    }


def _error_row(span: Span, error: MediaError) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SIGNALS.names)
    return row | {
        "video_id": span.video_id,
        "start_frame": span.start,
        "error_reason": str(error.reason),
        "error": error.message,
    }


def joined(table: pa.Table, video: str) -> Signals | None:
    """One video's signals from the rows of its chunks, in order; None when any chunk failed."""
    rows = table.filter(pc.field("video_id") == video).sort_by("start_frame")
    if rows.num_rows == 0 or rows.column("error_reason").null_count < rows.num_rows:
        return None

    def flat(name: str) -> Any:
        return np.asarray(pc.list_flatten(rows.column(name)).to_numpy(), dtype=np.float32)

    return Signals(flat("transnet"), flat("transnet_many"), flat("content"), flat("adaptive"), flat("luma"))
