"""The shards of a run: clips of a pool to buckets, buckets to files, files to a set that its manifest proves whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.corrections import Corrections
from jobs.crops import crop_of, shapes
from jobs.pools import Mask, Pools
from jobs.review import GateFailed, Reviews, Standing
from jobs.run import Run
from jobs.subjects import concepts_of
from pipeline.buckets import Bucket, bucket_for
from pipeline.recipe import Recipe
from pipeline.sharding import Cut, Encoding, Unit, WriteShards, unit
from pipeline.shards import MANIFEST, TEXTS, Judged, Manifest, ShardFile, read_manifest
from pipeline.store import Entry, Failure, StorageError


@dataclass(frozen=True)
class Plan:
    """The files of one pool, and the clips that fit no bucket with the reason."""

    recipe: Recipe
    units: tuple[Unit, ...]
    misfits: Mapping[str, str]
    """Reason by clip id."""


@dataclass(frozen=True)
class Shards:
    """Plans and writes the shards of a run's pools."""

    pools: Pools

    @property
    def run(self) -> Run:
        return self.pools.run

    @cached_property
    def task(self) -> WriteShards:
        shard = self.run.config.shard
        return WriteShards(
            self.run.store, Encoding(shard.crf, shard.preset, shard.audio), self.run.config.limits()
        )

    @cached_property
    def _corrections(self) -> Corrections:
        return Corrections(self.pools)

    @cached_property
    def _plans(self) -> dict[str, Plan]:
        return {}

    def plan(self, recipe: Recipe) -> Plan:
        """Every clip of the pool in its bucket; a bucket's clips in files of some rows, videos kept together."""
        if recipe.name not in self._plans:
            self._plans[recipe.name] = self._plan(recipe)
        return self._plans[recipe.name]

    def _plan(self, recipe: Recipe) -> Plan:
        kept = self._kept(recipe)
        cuts: dict[Bucket, list[Cut]] = defaultdict(list)
        misfits: dict[str, str] = {}
        start = 0
        copies = self.pools.copies(recipe)
        for batch in self.pools.measured():
            if copies is not None:
                batch = batch.append_column("copies", pa.array(copies[start : start + batch.num_rows]))
            rows = batch.filter(pa.array(kept[start : start + batch.num_rows]))
            start += batch.num_rows
            for row, cut in zip(shapes(rows, recipe.crop), self._cuts(rows, recipe.crop), strict=True):
                found = bucket_for(**row, buckets=recipe.buckets)
                if isinstance(found, Bucket):
                    cuts[found].append(cut)
                else:
                    misfits[cut.clip_id] = str(found)
        provenance = {"recipe": f"{recipe.name}@{recipe.fingerprint}", "stages": self._fingerprints()}
        size = self.run.config.shard.rows
        units = []
        for bucket in sorted(cuts, key=lambda one: (one.name, one.fps)):
            ordered = sorted(cuts[bucket], key=lambda cut: (cut.video_id, cut.start_frame))
            for first in range(0, len(ordered), size):
                chosen = ordered[first : first + size]
                units.append(unit(recipe.name, bucket, chosen, self.run.used, provenance))
        return Plan(recipe, tuple(units), misfits)

    def write(self, plan: Plan, retry: bool = False, despite: bool = False) -> None:
        """Writes the files that are not there, then the manifest, then removes what it does not list.

        GateFailed: reviewers found too many bad clips in the pool, and `despite` is not said. The shards that are there
        then stay, and their manifest says that the gate failed.
        """
        name = plan.recipe.name
        gates = Reviews(self.pools).gates(name)
        failed = [gate for gate, found in gates.items() if found.state == "fail"]
        if failed and not despite:
            self._mark(plan.recipe, gates)
            raise GateFailed(
                f"the {failed[0]} gate of {name} failed (`rushes gate` says how), so it is not sharded;"
                " --despite-gate writes it all the same, and the manifest says so"
            )
        step, label = self.task.step(name), f"shard {name}"
        self.run.work(self.task, step, plan.units, "clips", lambda one: len(one.cuts), retry, label)
        outputs = [output for one in plan.units for output in self._written(name, one).outputs]
        folder = f"shards/{name}"
        files = tuple(
            ShardFile(o.path.removeprefix(f"{folder}/"), o.sha256, o.bytes, o.rows) for o in outputs
        )
        nulls = self._nulls(plan)
        states = {gate: found.state for gate, found in gates.items()}
        judged = _judged(gates, failed)
        manifest = Manifest(name, plan.recipe.fingerprint, self._fingerprints(), files, states, nulls, judged)
        self.run.store.put_text(f"{folder}/{MANIFEST}", manifest.to_json().decode())
        self._sweep(folder, {file.path for file in files})
        if lacking := self.lacking(manifest):
            some = {"prompts": "without some of their prompts"}
            listed = ", ".join(
                f"{count:,} {some.get(text, f'without a {text}')}" for text, count in lacking.items()
            )
            rows = manifest.totals["rows"]
            self.run.progress.warn(f"rushes: {folder}: of {rows:,} clips, {listed}")

    def _mark(self, recipe: Recipe, gates: Mapping[str, Standing]) -> None:
        """Makes the manifest of shards that were written before say what the gates say of them now. Shards of another
        recipe or of other measurements are not what was judged, and stay as they are."""
        manifest = self.manifest(recipe.name)
        if manifest is None or (manifest.recipe, manifest.fingerprints) != (
            recipe.fingerprint,
            self._fingerprints(),
        ):
            return
        known = manifest.judged.items()
        waived = [
            gate for gate, one in known if one.waived and gate in gates and one.plan == gates[gate].plan
        ]
        states = {gate: found.state for gate, found in gates.items()}
        marked = replace(manifest, gates=states, judged=_judged(gates, waived))
        if marked != manifest:
            self.run.store.put_text(f"shards/{recipe.name}/{MANIFEST}", marked.to_json().decode())

    def _nulls(self, plan: Plan) -> dict[str, int]:
        """By text that a trainer may want, the clips in the shards that have none; of `prompts`, that lack some."""
        failed = {failure.item for entry in self.entries(plan) for failure in entry.failures}
        cuts = [cut for one in plan.units for cut in one.cuts if cut.clip_id not in failed]
        nulls = {name: sum(getattr(cut, name) is None for cut in cuts) for name in TEXTS}
        return nulls | {"prompts": sum(cut.prompts_missing > 0 for cut in cuts)}

    def lacking(self, manifest: Manifest) -> dict[str, int]:
        """Of the texts that the run's stages make, the rows that have none: nothing was said of them, or it failed."""
        made = {name for planned in self.run.planned for name in planned.stage.columns.names}
        return {name: count for name, count in manifest.nulls.items() if count and name in made}

    def _written(self, pool: str, one: Unit) -> Entry:
        """The entry of a unit that was just done; StorageError when it or its files are gone again."""
        entry = self.run.found(self.task.step(pool), one.name)
        if entry is None:
            raise StorageError(
                f"{one.name} of shards/{pool} in run {self.run.store.root} was written and is gone:"
                " is another command at work on this run? Run the same command again when it has ended"
            )
        return entry

    def entries(self, plan: Plan) -> list[Entry]:
        """What is written of the plan so far."""
        found = (self.run.found(self.task.step(plan.recipe.name), one.name) for one in plan.units)
        return [entry for entry in found if entry is not None]

    def manifest(self, pool: str) -> Manifest | None:
        """The pool's manifest, if its shards were ever written."""
        path = f"shards/{pool}/{MANIFEST}"
        try:
            return read_manifest(self.run.store.read(path))
        except FileNotFoundError:
            return None

    def fate(self, recipe: Recipe, kept: Mask, ids: pa.ChunkedArray) -> Fate:
        """What balance, buckets and encoding made of the clips that the rules keep, in the order of the parts."""
        stays = self.pools.staying(recipe, kept)
        balanced_out = int(kept.sum() - stays.sum()) if stays is not None else 0
        none = np.zeros(len(kept), dtype=np.bool_)
        if stays is None or recipe.name not in self.run.config.shard.pools:
            waiting = int((kept if stays is None else stays).sum())
            return Fate(kept if stays is None else stays, none, balanced_out, {}, (), 0, waiting)
        plan = self.plan(recipe)
        entries = self.entries(plan)
        done = {entry.unit for entry in entries}
        failures = tuple(failure for entry in entries for failure in entry.failures)
        written = sum(output.rows for entry in entries for output in entry.outputs)

        def among(names: list[str]) -> Mask:
            found: Mask = pc.is_in(ids, value_set=pa.array(names, pa.string())).to_numpy()
            return found

        failed = among([failure.item for failure in failures])
        out = among(list(plan.misfits))
        return Fate(
            stays & ~failed & ~out,
            failed,
            balanced_out,
            dict(Counter(plan.misfits.values())),
            failures,
            written,
            sum(len(one.cuts) for one in plan.units if one.name not in done),
        )

    def _kept(self, recipe: Recipe) -> Mask:
        kept = self.pools.verdicts(recipe).column("kept").to_numpy(zero_copy_only=False)
        stays = self.pools.staying(recipe, kept)
        if stays is None:
            raise self.run.not_ready("balance")
        return stays

    def _fingerprints(self) -> dict[str, str]:
        return {planned.stage.name: planned.fingerprint for planned in self.run.planned}

    def _cuts(self, rows: pa.Table, crop: str) -> Iterator[Cut]:
        scored = [
            field.name
            for field in rows.schema
            if pa.types.is_floating(field.type)
            or pa.types.is_integer(field.type)
            or pa.types.is_boolean(field.type)
        ]
        scored = sorted(set(scored) - {"start_frame", "end_frame", "start_s", "end_s"})
        concepts, sources = concepts_of(self.pools.concepts, self._corrections.subjects(rows))
        concepts = pc.if_else(pc.is_null(sources), None, concepts).to_pylist()
        for number, row in enumerate(rows.to_pylist()):
            measured = Cut(
                clip_id=row["clip_id"],
                video_id=row["video_id"],
                start_frame=row["start_frame"],
                end_frame=row["end_frame"],
                start_s=row["start_s"],
                end_s=row["end_s"],
                crop=crop_of(row, crop),
                caption=row.get("caption"),
                caption_engine=row.get("caption_engine"),
                concept=concepts[number],
                scores=tuple((name, float(row[name])) for name in scored if row[name] is not None),
                prompt_t2v=row.get("prompt_t2v"),
                prompt_i2v=row.get("prompt_i2v"),
                prompts=None if row.get("prompts") is None else tuple(row["prompts"]),
                prompts_missing=len(row.get("prompts_missing") or ()),
            )
            yield self._corrections.applied(measured)

    def _sweep(self, folder: str, listed: set[str]) -> None:
        """Removes shards of earlier settings, what the new manifest does not list, and folders that this empties."""
        store = self.run.store
        for bucket in store.names(folder):
            for name in store.names(f"{folder}/{bucket}") if bucket != MANIFEST else ():
                if f"{bucket}/{name}" not in listed:
                    store.remove(f"{folder}/{bucket}/{name}")
            if bucket != MANIFEST and not store.names(f"{folder}/{bucket}"):
                store.prune(f"{folder}/{bucket}")


def _judged(gates: Mapping[str, Standing], waived: Sequence[str]) -> dict[str, Judged]:
    """Of the gates that a sample answers, which one it was."""
    return {
        gate: Judged(found.plan, found.attempt, gate in waived) for gate, found in gates.items() if found.plan
    }


@dataclass(frozen=True)
class Fate:
    """After the rules: which clips of a pool are kept in the end, and where the others went."""

    kept: Mask
    failed: Mask
    balanced_out: int
    misfits: Mapping[str, int]
    failures: tuple[Failure, ...]
    written: int
    """Clips that are in a shard."""
    pending: int
    """Clips whose shard is not written, or not planned while the balance is not made."""
