"""From shot signals to shots and clips: cheap, repeatable, and apart from the decode that made the signals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.clip import BOUNDARIES, CLIPS, SHOTS
from pipeline.frames import VideoIndex
from pipeline.runner import Done
from pipeline.scan import SIGNALS, Group, joined
from pipeline.segment import DROPPED, Segment, tables
from pipeline.stage import fingerprint
from pipeline.store import Entry, Failure, Store

CLIPS_A_PART = 128
"""Rows of a clips part: the unit of annotation, small enough that a retry costs little."""


@dataclass(frozen=True)
class FindShots:
    """Finds the shots and clips of groups of videos: `boundaries@`, `shots@`, `clips@` and `dropped@` files."""

    store: Store
    settings: Segment
    signals_step: str

    label = "shots"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.settings.fingerprint(), self.signals_step)

    @property
    def step(self) -> str:
        return f"segment@{self.fingerprint}"

    def open(self) -> None:
        return None

    def name(self, unit: Group) -> str:
        return unit.name

    def run(self, state: None, unit: Group, poison: Mapping[str, int]) -> Iterator[str | Done]:
        entries = [self._signals(part.name) for part in unit.units]
        signals = self.store.tables([output for entry in entries for output in entry.outputs], SIGNALS)
        failures = {failure.item: failure for entry in entries for failure in entry.failures}
        last = self.store.last(self.step, unit.name, unit.retry)
        made: dict[str, list[pa.Table]] = {"boundaries": [], "shots": [], "clips": [], "dropped": []}
        for video in unit.videos:
            if not last.wants(video["video_id"]):
                continue
            yield video["video_id"]
            found = joined(signals, video["video_id"])
            if found is not None:
                for name, table in zip(
                    made, tables(video, VideoIndex.from_row(video).times_s, found, self.settings), strict=True
                ):
                    made[name].append(table)
        schemas = {"boundaries": BOUNDARIES, "shots": SHOTS, "clips": CLIPS, "dropped": DROPPED}
        whole = {name: pa.concat_tables([schemas[name].empty_table(), *made[name]]) for name in made}
        stem = f"{unit.name}{last.suffix}"
        outputs = list(last.outputs)
        outputs += [
            self.store.put_table(f"{name}@{self.fingerprint}/{stem}.parquet", whole[name])
            for name in ("boundaries", "shots", "dropped")
        ]
        clips = whole["clips"]
        for start in range(0, clips.num_rows, CLIPS_A_PART):
            part = clips.slice(start, CLIPS_A_PART)
            path = f"clips@{self.fingerprint}/{part_name(unit.name, part)}.parquet"
            outputs.append(self.store.put_table(path, part))
        counts = {"videos": len(unit.videos), "failed": len(failures)}
        counts |= {
            name: sum(output.rows for output in outputs if output.path.startswith(f"{name}@"))
            for name in ("shots", "clips", "dropped")
        }
        kept: tuple[Failure, ...] = tuple(failures[item] for item in sorted(failures))
        self.store.record(Entry(self.step, unit.name, tuple(outputs), counts, kept))
        yield Done(counts)

    def _signals(self, name: str) -> Entry:
        entry = self.store.entry(self.signals_step, name)
        if entry is None:
            raise FileNotFoundError(f"{self.signals_step}/{name} has no signals")
        return entry


def part_name(group: str, clips: pa.Table) -> str:
    """The name of a part of the clips table: its group's, and a digest of its clips' ids.

    Annotations bear the name of their part, so a name must stand for the same rows whatever was tried, lost and made
    again before.
    """
    ids = ",".join(clips.column("clip_id").to_pylist())
    return f"{group}-{hashlib.sha256(ids.encode()).hexdigest()[:8]}"
