"""The shard step: clips of one bucket are cut, encoded and written together."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.buckets import Bucket
from pipeline.encode import EncodedClip, EncodeJob
from pipeline.frames import Decoder, Limits, VideoIndex
from pipeline.ingest import Hands
from pipeline.reasons import MediaError, Reason
from pipeline.runner import Done
from pipeline.shards import ShardRow, write_shard
from pipeline.sources import Fetcher
from pipeline.stage import fingerprint
from pipeline.store import Entry, Failure, Store

VERSION = 1
"""Bumped when the same clips would give another shard."""


@dataclass(frozen=True)
class Cut:
    """One clip on its way into a shard: where it is, and all that its row says beside the media."""

    clip_id: str
    video_id: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    crop: tuple[float, float, float, float]
    caption: str | None
    caption_engine: str | None
    concept: str | None
    scores: tuple[tuple[str, float], ...]
    prompt_t2v: str | None = None
    prompt_i2v: str | None = None
    prompts: tuple[Mapping[str, Any], ...] | None = None
    prompts_missing: int = 0
    """Prompts that were asked for and not written."""


@dataclass(frozen=True)
class Unit:
    """The clips of one shard file."""

    name: str
    pool: str
    bucket: Bucket
    cuts: tuple[Cut, ...]
    videos: tuple[Mapping[str, Any], ...]
    """VIDEOS rows of the clips' videos."""
    provenance: Mapping[str, Any]
    retry: bool = False
    """Encode only the clips that failed the last time."""


@dataclass(frozen=True)
class Encoding:
    """How clips are encoded."""

    crf: int = 18
    preset: str = "veryfast"
    audio: bool = True

    @property
    def fingerprint(self) -> str:
        return fingerprint("shard", VERSION, asdict(self))


def unit(
    pool: str,
    bucket: Bucket,
    cuts: Sequence[Cut],
    videos: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> Unit:
    """The unit of these clips; its name is a hash of everything that goes into the file."""
    ordered = tuple(sorted(cuts, key=lambda cut: (cut.video_id, cut.start_frame)))
    rows = tuple(videos[name] for name in sorted({cut.video_id for cut in ordered}))
    listed = [{"path": row["path"], "extra": row["extra"]} for row in rows]
    text = json.dumps(
        [pool, asdict(bucket), [asdict(cut) for cut in ordered], listed, provenance], sort_keys=True
    )
    return Unit(
        f"part-{hashlib.sha256(text.encode()).hexdigest()[:16]}", pool, bucket, ordered, rows, provenance
    )


@dataclass(frozen=True)
class WriteShards:
    """Writes units to `shards/POOL/BUCKET/part-*.parquet`; the manifest that makes them a set comes last."""

    store: Store
    encoding: Encoding
    limits: Limits = field(default_factory=Limits)

    label = "shard"

    def step(self, pool: str) -> str:
        return f"shards/{pool}@{self.encoding.fingerprint}"

    def open(self) -> Hands:
        return Hands(Decoder(self.limits), Fetcher())

    def name(self, unit: Unit) -> str:
        return unit.name

    def run(self, state: Hands, unit: Unit, poison: Mapping[str, int]) -> Iterator[str | Done]:
        videos = {row["video_id"]: row for row in unit.videos}
        by_video: dict[str, list[Cut]] = defaultdict(list)
        last = self.store.last(self.step(unit.pool), unit.name, unit.retry)
        for cut in unit.cuts:
            if last.wants(cut.clip_id):
                by_video[cut.video_id].append(cut)
        rows: list[ShardRow] = []
        failures: list[Failure] = []
        began = time.perf_counter()
        for video_id, cuts in by_video.items():
            for chosen in [[cut] for cut in cuts] if video_id in poison else [cuts]:
                item = video_id if len(chosen) > 1 else chosen[0].clip_id
                yield item
                for cut, answer in self._encoded(
                    state, unit.bucket, videos[video_id], chosen, poison.get(item, 0)
                ):
                    if isinstance(answer, MediaError):
                        failures.append(
                            Failure(cut.clip_id, self.label, str(answer.reason), answer.message, last.attempt)
                        )
                    else:
                        rows.append(shard_row(unit, cut, videos[video_id], answer))
        outputs = last.outputs
        if rows:
            path = f"shards/{unit.pool}/{unit.bucket.name}/{unit.name}{last.suffix}.parquet"
            outputs += (self.store.put(path, write_shard(rows), len(rows)),)
        written = sum(output.rows for output in outputs)
        counts = {"clips": len(unit.cuts), "rows": written, "failed": len(failures)}
        self.store.record(Entry(self.step(unit.pool), unit.name, outputs, counts, tuple(failures)))
        seconds = sum(cut.end_s - cut.start_s for cut in unit.cuts)
        yield Done({**counts, "rows": len(rows), "video_s": seconds}, {"encode": time.perf_counter() - began})

    def _encoded(
        self, state: Hands, bucket: Bucket, video: Mapping[str, Any], cuts: Sequence[Cut], deaths: int
    ) -> Iterator[tuple[Cut, EncodedClip | MediaError]]:
        """Each clip of one video encoded, all in one forward pass; one by one when the pass as a whole fails."""
        if deaths:
            yield from ((cut, MediaError(Reason.WORKER_DIED, f"{deaths} workers died on it")) for cut in cuts)
            return
        index = VideoIndex.from_row(video)
        jobs = [self.job(bucket, cut) for cut in cuts]
        try:
            path = state.fetcher.source(video)
            yield from zip(cuts, state.decoder.encode(path, index, jobs), strict=True)
        except MediaError as error:
            if len(cuts) == 1:
                yield cuts[0], error
            else:
                for cut in cuts:
                    yield from self._encoded(state, bucket, video, [cut], 0)

    def job(self, bucket: Bucket, cut: Cut) -> EncodeJob:
        return EncodeJob(
            start_frame=cut.start_frame,
            end_frame=cut.end_frame,
            width=bucket.width,
            height=bucket.height,
            fps=bucket.fps,
            frames=bucket.frames,
            crop=cut.crop,
            crf=self.encoding.crf,
            preset=self.encoding.preset,
            audio=self.encoding.audio,
        )


def shard_row(unit: Unit, cut: Cut, video: Mapping[str, Any], clip: EncodedClip) -> ShardRow:
    """The row of one encoded clip; its span is what the bucket's frames show of the source."""
    times = VideoIndex.from_row(video).times_s
    return ShardRow(
        clip_id=cut.clip_id,
        video_id=cut.video_id,
        source_path=video["path"],
        start_s=float(times[clip.first_frame]),
        end_s=float(times[clip.last_frame + 1]),
        clip=clip,
        bucket=unit.bucket.name,
        pool=unit.pool,
        crop=cut.crop,
        caption=cut.caption,
        caption_engine=cut.caption_engine,
        concept=cut.concept,
        scores=dict(cut.scores),
        provenance=unit.provenance,
        extra=video["extra"],
        prompt_t2v=cut.prompt_t2v,
        prompt_i2v=cut.prompt_i2v,
        prompts=cut.prompts,
    )
