"""The funnel: what became of every video, clip and second of a run, as far as its steps have come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs import balancing
from jobs.pools import Mask, Pools
from jobs.review import Reviews, Standing
from jobs.run import NotReady, Run
from jobs.shards import Fate, Shards
from pipeline.ledger import Counts
from pipeline.reasons import Reason
from pipeline.recipe import Recipe
from pipeline.segment import DROPPED
from pipeline.shards import Manifest
from pipeline.store import Entry, Failure, Output


@dataclass(frozen=True)
class PoolAccount:
    """One pool: what its rules make of every clip, and what balance, buckets and encoding make of those they keep."""

    recipe: Recipe
    clips: Counts
    seconds: Counts
    sharded: Counts | None
    """Of the clips that the rules keep: in a shard, balanced out or without a bucket, not encoded. None: no shards."""
    fate: Fate | None
    manifest: Manifest | None
    gates: Mapping[str, Standing] = field(default_factory=dict)
    """What people's review says of it, by gate; empty while the run has not come so far."""


@dataclass(frozen=True)
class Account:
    """Reads the ledger of a run and adds it up. A step that is not done leaves its items pending."""

    shards: Shards

    @property
    def pools(self) -> Pools:
        return self.shards.pools

    @property
    def run(self) -> Run:
        return self.pools.run

    # --- videos

    @cached_property
    def failed_videos(self) -> dict[str, Failure]:
        """By video id: used videos whose decode pass failed."""
        failures = (failure for entry in self._segment_entries for failure in entry.failures)
        return {failure.item: failure for failure in failures}

    @cached_property
    def _segment_entries(self) -> list[Entry]:
        entries = (self.run.found(self.run.shots_step, group.name) for group in self.run.groups)
        return [entry for entry in entries if entry is not None]

    @cached_property
    def _seen(self) -> set[str]:
        """Ids of the videos whose group is segmented."""
        done = {entry.unit for entry in self._segment_entries}
        return {
            video["video_id"] for group in self.run.groups if group.name in done for video in group.videos
        }

    def videos(self) -> Counts:
        """A refused file is failed, a repeated one rejected, a segmented one kept."""
        table = self.run.videos
        refused = table.filter(pc.field("status") == "refused")
        twice = pc.sum(pc.equal(refused.column("reason"), str(Reason.DUPLICATE))).as_py() or 0
        failed = refused.num_rows - twice + len(self.failed_videos)
        kept = len(self._seen) - len(self.failed_videos)
        done = {entry.unit for entry in self._segment_entries}
        pending = sum(len(group.videos) for group in self.run.groups if group.name not in done)
        return Counts(table.num_rows, kept, twice, failed, pending)

    # --- clips

    def dropped(self) -> pa.Table:
        """Spans of shots and transitions that became no clip, with the reason."""
        return self.run.store.tables(self._segmented("dropped"), DROPPED)

    def _segmented(self, name: str) -> list[Output]:
        """The files of one of the tables that the groups' shots are written to, in order of group."""
        return [
            output
            for entry in self._segment_entries
            for output in entry.outputs
            if output.path.startswith(f"{name}@")
        ]

    @cached_property
    def _clip_seconds(self) -> npt.NDArray[np.float64]:
        spans = ["start_s", "end_s"]
        tables = [
            self.run.store.table(output.path, spans, output.sha256) for output in self._segmented("clips")
        ]
        found = [pc.subtract(t.column("end_s"), t.column("start_s")).to_numpy() for t in tables]
        return np.concatenate(found) if found else np.zeros(0)

    def clips(self) -> tuple[Counts, Counts]:
        """Clips and seconds of the whole run. Kept: by at least one pool. The seconds are those of all videos whose
        length is known: what became no clip is rejected, a video that could not be decoded is failed."""
        dropped = self.dropped()
        too_short = pc.sum(pc.equal(dropped.column("kind"), "shot")).as_py() or 0
        lengths = self._clip_seconds
        kept = np.zeros(len(lengths), dtype=np.bool_)
        failed = np.ones(len(lengths), dtype=np.bool_)
        judged = 0
        for recipe in self.pools.recipes:
            masks = self._masks(recipe)
            if masks is not None:
                judged += 1
                kept |= masks.kept
                failed &= masks.failed
        if not judged:
            failed[:] = False
        failed &= ~kept
        pending = np.full(len(lengths), not judged)
        rejected = ~kept & ~failed & ~pending
        clips = Counts(
            len(lengths) + too_short, kept.sum(), rejected.sum() + too_short, failed.sum(), pending.sum()
        )
        return clips, self._seconds(lengths, kept, rejected, failed, pending)

    def _seconds(
        self, lengths: npt.NDArray[np.float64], kept: Mask, rejected: Mask, failed: Mask, pending: Mask
    ) -> Counts:
        dropped = self.dropped()
        lost_s = sum(pc.subtract(dropped.column("end_s"), dropped.column("start_s")).to_pylist())
        entered = twice = bad = waiting = 0.0
        for row in self.run.videos.select(["video_id", "duration_s", "status", "reason"]).to_pylist():
            length = row["duration_s"] or 0.0
            entered += length
            if row["reason"] == str(Reason.DUPLICATE):
                twice += length
            elif row["status"] == "refused" or row["video_id"] in self.failed_videos:
                bad += length
            elif row["video_id"] not in self._seen:
                waiting += length
        return Counts(
            entered,
            lengths[kept].sum(),
            lengths[rejected].sum() + lost_s + twice,
            lengths[failed].sum() + bad,
            lengths[pending].sum() + waiting,
        )

    # --- pools

    def _masks(self, recipe: Recipe) -> _Masks | None:
        """Per clip, in the order of the parts; None while the pool's verdicts are not made."""
        table = self.pools.known_verdicts(recipe)
        if table is None:
            return None
        kept = table.column("kept").to_numpy(zero_copy_only=False)
        errors = pc.greater(pc.list_value_length(table.column("failed_stages")), 0).to_numpy(
            zero_copy_only=False
        )
        return _Masks(kept, ~kept & errors, table.column("clip_id"))

    @cached_property
    def accounts(self) -> list[PoolAccount]:
        """Every pool of the run, as far as the run has come."""
        return [self._pool(recipe) for recipe in self.pools.recipes]

    def _pool(self, recipe: Recipe) -> PoolAccount:
        lengths = self._clip_seconds
        masks = self._masks(recipe)
        if masks is None:
            waiting = Counts(len(lengths), pending=len(lengths))
            return PoolAccount(
                recipe, waiting, Counts(lengths.sum(), pending=lengths.sum()), None, None, None
            )
        rejected = ~masks.kept & ~masks.failed

        def count(weights: npt.NDArray[np.float64]) -> Counts:
            parts = (float(weights[mask].sum()) for mask in (masks.kept, rejected, masks.failed))
            return Counts(float(weights.sum()), *parts)

        fate = self.shards.fate(recipe, masks.kept, masks.ids)
        manifest = self.shards.manifest(recipe.name) if recipe.name in self.run.config.shard.pools else None
        sharded = None
        if manifest is not None:
            out = fate.balanced_out + sum(fate.misfits.values())
            entered, failed = int(masks.kept.sum()), int(fate.failed.sum())
            sharded = Counts(entered, fate.written, out, failed, fate.pending)
        clips, seconds = count(np.ones(len(lengths))), count(lengths)
        return PoolAccount(recipe, clips, seconds, sharded, fate, manifest, self._gates(recipe))

    def _gates(self, recipe: Recipe) -> dict[str, Standing]:
        try:
            return Reviews(self.pools).gates(recipe.name)
        except NotReady:  # what they judged is to be made anew
            return {}

    # --- failures

    @cached_property
    def failures(self) -> list[Failure]:
        """Every failure of the run, by item and stage, and what items lack that did not fail; a shard's stage is named
        with its pool."""
        lacks = (lack for entry in self.run.annotation_entries() for lack in entry.partial)
        return _in_order((*self._of_videos(), *self._of_clips(), *lacks))

    @cached_property
    def video_causes(self) -> list[Failure]:
        """Why files were refused or could not be decoded, by file."""
        return _in_order(self._of_videos())

    @cached_property
    def clip_causes(self) -> list[Failure]:
        """Why clips failed, by clip: what only follows from a stage that failed before is not among it."""
        requires = {planned.stage.name: planned.stage.requires for planned in self.run.planned}
        return causes(_in_order(self._of_clips()), requires)

    def _of_videos(self) -> Iterator[Failure]:
        yield from self.run.ingest_failures()
        for failure in self.failed_videos.values():
            path = self.run.used[failure.item]["path"]
            yield Failure(path, failure.stage, failure.reason, failure.message, failure.attempts)

    def _of_clips(self) -> Iterator[Failure]:
        for entry in self.run.annotation_entries():
            yield from entry.failures
        for pool in self.accounts:
            for failure in pool.fate.failures if pool.fate else ():
                yield replace(failure, stage=f"{failure.stage} {pool.recipe.name}")


@dataclass(frozen=True)
class _Masks:
    kept: Mask
    failed: Mask
    ids: pa.ChunkedArray


def _in_order(failures: Iterable[Failure]) -> list[Failure]:
    """By item and stage, of each pair the last."""
    found = {(failure.item, failure.stage): failure for failure in failures}
    return [found[key] for key in sorted(found)]


def causes(failures: Sequence[Failure], requires: Mapping[str, Collection[str]]) -> list[Failure]:
    """The failures of which no stage that theirs `requires` failed for the same item: those that tell why."""
    failed = {(failure.item, failure.stage) for failure in failures}
    return [
        failure
        for failure in failures
        if not any((failure.item, before) in failed for before in requires.get(failure.stage, ()))
    ]


def funnel(account: Account) -> dict[str, Any]:
    """The run as `rushes report --json` prints it."""
    clips, seconds = account.clips()
    pools = account.accounts
    return {
        "videos": account.videos().to_json(),
        "clips": clips.to_json(),
        "seconds": seconds.to_json(),
        "pools": {pool.recipe.name: _pool(pool) | _balance(account, pool) for pool in pools},
        "shards": {
            pool.recipe.name: {**pool.manifest.totals, "nulls": dict(pool.manifest.nulls)}
            for pool in pools
            if pool.manifest
        },
        "failures": [vars(failure) for failure in account.failures],
    }


def _balance(account: Account, pool: PoolAccount) -> dict[str, Any]:
    found = balancing.outcome(account.pools, pool.recipe) if pool.fate is not None else None
    return {} if found is None else {"balance": balancing.as_json(found)}


def _pool(pool: PoolAccount) -> dict[str, Any]:
    about: dict[str, Any] = {**pool.clips.to_json(), "seconds": pool.seconds.to_json()}
    about["gates"] = {gate: found.state for gate, found in pool.gates.items()}
    if pool.sharded is not None and pool.fate is not None:
        out = {"balanced_out": pool.fate.balanced_out, **pool.fate.misfits}
        about["sharded"] = {**pool.sharded.to_json(), "rejected_by": out}
    return about
