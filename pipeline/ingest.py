"""Sources to videos: probe, hash, refuse with a reason; identical content is ingested once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.clip import VIDEOS, video_id
from pipeline.frames import Decoder, Limits
from pipeline.reasons import MediaError, Reason
from pipeline.runner import Done
from pipeline.sources import Fetcher, Item, digest_of, partition, stamp_of
from pipeline.stage import fingerprint
from pipeline.store import Entry, Failure, Output, Store

VERSION = 1
"""Bumped when the same file would be probed to other values."""
ITEMS_A_UNIT = 32
ROWS_A_PART = 4096


@dataclass(frozen=True)
class Unit:
    """Some items, probed and committed together."""

    name: str
    items: tuple[Item, ...]
    retry: bool = False
    """Probe again only the items that were refused."""


@dataclass
class Hands:
    """What an ingest worker holds: a decoder and a place for remote files."""

    decoder: Decoder
    fetcher: Fetcher

    def close(self) -> None:
        self.decoder.close()
        self.fetcher.close()


@dataclass(frozen=True)
class Ingest:
    """Probes units of items into `probed@.../part-*.parquet`, VIDEOS rows in order of path."""

    store: Store
    limits: Limits = field(default_factory=Limits)

    label = "ingest"

    @property
    def step(self) -> str:
        import dataclasses

        return f"probed@{fingerprint('ingest', VERSION, dataclasses.asdict(self.limits))}"

    def units(self, items: Sequence[Item]) -> list[Unit]:
        units = []
        for part in partition([item.path for item in items], ITEMS_A_UNIT):
            chosen = tuple(items[part])
            seen = [[i.path, i.bytes, i.changed, dict(i.extra), i.refused] for i in chosen]
            digest = hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()
            units.append(Unit(f"part-{digest[:16]}", chosen))
        return units

    def open(self) -> Hands:
        return Hands(Decoder(self.limits), Fetcher(max_bytes=self.limits.max_bytes))

    def name(self, unit: Unit) -> str:
        return unit.name

    def run(self, state: Hands, unit: Unit, poison: Mapping[str, int]) -> Iterator[str | Done]:
        last = self.store.last(self.step, unit.name, unit.retry)
        known = {row["path"]: row for row in self.store.tables(last.outputs, VIDEOS).to_pylist()}
        rows = []
        for item in unit.items:
            if not last.wants(item.path):
                rows.append(known[item.path])
                continue
            yield item.path
            rows.append(self.row(state, item, poison.get(item.path, 0)))
        table = pa.Table.from_pylist(rows, schema=VIDEOS)
        failures = tuple(
            Failure(row["path"], self.label, row["reason"], row["message"], last.attempt)
            for row in rows
            if row["status"] == "refused"
        )
        output = self.store.put_table(f"{self.step}/{unit.name}{last.suffix}.parquet", table)
        counts = {"items": len(rows), "refused": len(failures)}
        self.store.record(Entry(self.step, unit.name, (output,), counts, failures))
        yield Done(counts=counts)

    def row(self, state: Hands, item: Item, deaths: int) -> dict[str, Any]:
        """The VIDEOS row of one item, used or refused."""
        row: dict[str, Any] = dict.fromkeys(VIDEOS.names)
        row |= {"path": item.path, "bytes": item.bytes, "extra": as_json(item.extra), "status": "used"}
        try:
            if item.refused is not None:
                raise MediaError(*item.refused)
            if deaths:
                raise MediaError(Reason.WORKER_DIED, f"{deaths} workers died while probing it")
            if item.bytes > self.limits.max_bytes:
                raise MediaError(Reason.TOO_LARGE, f"it has {item.bytes} bytes")
            local = state.fetcher.local(item.path)
            # What is no media is not read to its end: it may have none that anybody would live to see.
            seen = stamp_of(local)
            facts = state.decoder.probe(local)
            sha256, row["bytes"] = digest_of(local)
            if stamp_of(local) != seen:
                raise MediaError(Reason.CHANGED, "it changed while it was looked at")
            row |= facts | {"sha256": sha256, "video_id": video_id(sha256)}
        except MediaError as error:
            row |= {"status": "refused", "reason": str(error.reason), "message": error.message}
        return row


def as_json(values: Mapping[str, Any]) -> str:
    """The values as JSON that every reader takes: no NaN or infinity (null), no lone surrogates (shown escaped)."""
    return json.dumps(
        _plain(values), sort_keys=True, ensure_ascii=False, allow_nan=False, default=lambda v: _plain(str(v))
    )


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def merge(store: Store, step: str, entries: Sequence[Entry]) -> list[Output]:
    """The run's videos: the probed parts in order of path, every repetition of a content refused as a duplicate.

    Committed as one unit whose name is a hash of what it was made from.
    """
    source = [output for entry in entries for output in entry.outputs]
    unit = f"all-{fingerprint([output.sha256 for output in source])}"
    done = store.entry(f"videos@{step.split('@')[1]}", unit)
    if done is not None:
        return list(done.outputs)
    table = store.tables(source, VIDEOS).sort_by("path")
    rows = mark_duplicates(table)
    folder = f"videos@{step.split('@')[1]}"
    outputs = [
        store.put_table(
            f"{folder}/{unit}-{number:05d}.parquet", rows.slice(number * ROWS_A_PART, ROWS_A_PART)
        )
        for number in range(max(1, -(-rows.num_rows // ROWS_A_PART)))
    ]
    store.record(Entry(folder, unit, tuple(outputs), {"in": rows.num_rows}))
    return outputs


def mark_duplicates(table: pa.Table) -> pa.Table:
    """The table in which only the first row of each content is used."""
    first: dict[str, str] = {}
    status, reason, message = (table.column(name).to_pylist() for name in ("status", "reason", "message"))
    for i, (video, path) in enumerate(
        zip(table.column("video_id").to_pylist(), table.column("path").to_pylist(), strict=True)
    ):
        if status[i] != "used":
            continue
        if video in first:
            status[i], reason[i] = "refused", str(Reason.DUPLICATE)
            message[i] = f"the same bytes as {first[video]}"
        else:
            first[video] = path
    for name, values in (("status", status), ("reason", reason), ("message", message)):
        table = table.set_column(
            table.schema.get_field_index(name), VIDEOS.field(name), pa.array(values, pa.string())
        )
    return table
