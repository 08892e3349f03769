"""The reviews of a run: each gate's frozen plan, its verdicts, its answer, and what they change downstream."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from captioner import schema
from jobs.config import ConfigError, sentence
from jobs.labels import rows_of
from jobs.pools import Pools
from jobs.population import Population
from jobs.run import NotReady
from pipeline.stage import fingerprint
from review import plan as plans
from review.gate import Answer, answer, deciding
from review.hold import held
from review.plan import Item, Plan, PlanError, Settings, item_id
from review.reasons import GATES, Gate
from review.sample import draw, unit
from review.store import ItemState, ReviewStore

FOLDER = "review"
PLAN, VERDICTS, ANSWER = "plan.json", "verdicts.sqlite", "gate.json"
POOLED: tuple[Gate, ...] = ("pretrain", "posttrain")
"""Gates of one pool; the others are about every clip of the run."""
ABSENT, STALE = "absent", "stale"
ASIDE = "~"
"""In the name of a review that was set aside, before its number."""


class GateFailed(Exception):
    """A gate of this pool failed, and nothing was said to go on in spite of it."""


@dataclass(frozen=True)
class Standing:
    """What the samples of one gate say together about the run as it is now."""

    state: str
    """pass, fail, not_enough, stale (of another state of the run) or absent."""
    sentence: str = ""
    """Of the sample that decides; empty where there is none."""
    plan: str = ""
    """Digest of its plan."""
    attempt: int = 0
    """Which sample of the same clips it is, from 1."""


@dataclass(frozen=True)
class Correction:
    """A clip's caption as a reviewer left it."""

    caption: str
    """Canonical JSON text."""
    reviewer: str


@dataclass(frozen=True)
class Review:
    """One plan and where it lies."""

    folder: Path
    plan: Plan

    @property
    def verdicts(self) -> Path:
        return self.folder / VERDICTS

    def open(self) -> ReviewStore:
        """Its verdicts; the caller closes them. While they are open nobody sets the review aside. PlanError: somebody
        has done so since it was found."""
        try:
            with held(self.folder):
                if hashlib.sha256((self.folder / PLAN).read_bytes()).hexdigest() == self.plan.digest:
                    return ReviewStore(self.verdicts, self.plan)
        except FileNotFoundError:
            pass
        raise PlanError(f"{self.folder} was set aside just now")

    def answer(self) -> Answer:
        """The gate's answer to what is judged so far."""
        return answer(self.plan, *self.states())

    def states(self) -> tuple[tuple[ItemState, ...], int]:
        """All that stands, in the plan's order, and the seq of the last event."""
        with self.open() as store:
            events = store.events()
            return store.states(), events[-1].seq if events else 0


@dataclass(frozen=True)
class Reviews:
    """Every review of one run."""

    pools: Pools

    @cached_property
    def root(self) -> Path:
        """Their folder. ConfigError: the run is on an object store, which no database can lie on."""
        root = self.pools.run.store.root
        if "://" in root:
            raise ConfigError(f"{root}: reviews are kept in the run, which must be on a local disk for that")
        return Path(root) / FOLDER

    def folder(self, gate: Gate, pool: str) -> Path:
        """Where this gate's plan and verdicts lie."""
        return self.root / (f"{gate}-{pool}" if gate in POOLED else gate)

    def named(self, gate: Gate, pool: str | None) -> str:
        """The pool that a gate is about; "" for gates of every clip. ConfigError: none was named where one must be."""
        if gate not in POOLED:
            return ""
        if not pool:
            raise ConfigError(f"the gate {gate} is of one pool: say which with --pool")
        return self.pools.recipe(pool).name

    # --- plans

    def find(self, gate: Gate, pool: str) -> Review | None:
        """The review of this gate, if its plan was frozen."""
        return self._read(self.folder(gate, pool))

    def _read(self, folder: Path) -> Review | None:
        try:
            data = (folder / PLAN).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return Review(folder, plans.read(data))
        except PlanError as error:
            raise PlanError(f"{folder / PLAN}: {error}") from None

    def all(self) -> Iterator[Review]:
        """Every review of the run that is not set aside, by name of its folder."""
        return (review for review in self.ever() if ASIDE not in review.folder.name)

    def ever(self) -> Iterator[Review]:
        """Every review that the run ever had, those set aside too, by name of its folder."""
        if "://" in self.pools.run.store.root or not self.root.is_dir():
            return
        for folder in sorted(self.root.iterdir()):
            review = self._read(folder) if folder.is_dir() else None
            if review is not None:
                yield review

    def plan(self, settings: Settings, given: Mapping[str, Any], anew: bool) -> Review:
        """The frozen plan of a gate: the one that is there, else one drawn now. PlanError: `given` differs from it."""
        folder = self.folder(settings.gate, settings.pool)
        found = self._read(folder)
        snapshot = self.snapshot(settings.gate, settings.pool)
        if found is not None and not anew:
            plans.unchanged(found.plan, given)
            if dict(found.plan.snapshot) != snapshot:
                raise PlanError(
                    f"{folder} was drawn from an earlier state of the run, which has changed since: its gate still"
                    " answers about that one; --anew draws from the run as it is"
                )
            return found
        before = [one.plan for one in self._set_aside(folder)]
        if found is not None:
            before.append(found.plan)
        if "seed" not in given:
            settings = replace(settings, seed=settings.seed + len(before))
        attempt = 1 + sum(dict(plan.snapshot) == snapshot for plan in before)
        drawn = draw(self.population(settings.gate, settings.pool), settings, snapshot, attempt)
        if found is not None:
            self._put_aside(folder)
        return self._freeze(folder, drawn)

    def _put_aside(self, folder: Path) -> None:
        """Gives a review's folder the next free name behind it. PlanError: its verdicts are open somewhere."""
        names = (
            f"{folder.name}{ASIDE}{number}" for number in count(1 + sum(1 for _ in self._set_aside(folder)))
        )
        free = next(name for name in names if not folder.with_name(name).exists())
        try:
            with held(folder, alone=True):
                os.rename(folder, folder.with_name(free))
        except BlockingIOError:
            raise PlanError(
                f"{folder} is open: end `rushes review` (Ctrl-C), then --anew can set it aside"
            ) from None

    def _set_aside(self, folder: Path) -> Iterator[Review]:
        for old in sorted(self.root.glob(f"{folder.name}{ASIDE}*")):
            review = self._read(old)
            if review is not None:
                yield review

    def picked(self, file: Path, gate: Gate, readers: int) -> Review:
        """A review of exactly the clips that a file lists: no sample, so no gate comes of it."""
        ids = list(dict.fromkeys(_clip_ids(file)))
        known = pa.concat_arrays(
            [pa.array([], pa.string())]
            + [chunk for batch in self._clips() for chunk in batch.column("clip_id").chunks]
        )
        missing = [
            clip
            for clip, there in zip(ids, pc.is_in(pa.array(ids, pa.string()), known).to_pylist(), strict=True)
            if not there
        ]
        if missing:
            raise ConfigError(
                f"{file}: {len(missing)} of its clips are not in this run, {missing[0]} among them"
            )
        name = f"picked-{file.stem}"
        seed = self.pools.run.config.seed
        items = [
            Item(
                item_id(gate, name, seed, clip, "kept"),
                clip,
                "",
                1.0,
                double=unit("double", seed, clip) < 0.2,
            )
            for clip in ids
        ]
        snapshot = {"clips": self._all_clips}
        if gate in POOLED:
            snapshot["captions"] = self._captions
        plan = Plan(gate, name, 0.5, 0.95, 0.9, 0.0, readers, seed, snapshot, (), tuple(items))
        found = self._read(self.root / name)
        if found is not None and found.plan != plan:
            raise PlanError(f"{self.root / name} has other clips or settings: give the file another name")
        return found or self._freeze(self.root / name, plan)

    def _clips(self) -> Iterator[pa.Table]:
        run = self.pools.run
        return (run.store.table(part.output.path, ["clip_id"], part.output.sha256) for part in run.parts)

    def _freeze(self, folder: Path, plan: Plan) -> Review:
        """Writes the plan where no other is: from here on it does not change."""
        self.pools.run.store.put_text(f"{FOLDER}/{folder.name}/{PLAN}", plan.to_json().decode())
        return Review(folder, plan)

    def population(self, gate: Gate, pool: str) -> pa.Table:
        """What the gate's sample is drawn from. NotReady: the run has not come so far."""
        if gate not in POOLED:
            return Population(self.pools).all()
        recipe = self.pools.recipe(pool)
        kept = self.pools.verdicts(recipe).column("kept").to_numpy(zero_copy_only=False)
        stays = self.pools.staying(recipe, kept)
        if stays is None:
            raise self.pools.run.not_ready("balance")
        return Population(self.pools).of_pool(recipe, kept, stays)

    def snapshot(self, gate: Gate, pool: str) -> dict[str, str]:
        """Fingerprints of what a gate judges, as the run has it now. NotReady: the run has not come so far."""
        if gate not in POOLED:
            return {"clips": self._all_clips}
        recipe = self.pools.recipe(pool)
        return {
            "clips": self._all_clips,
            "pool": fingerprint(list(self.pools.steps(recipe))),
            "captions": self._captions,
        }

    @property
    def _captions(self) -> str:
        return self.pools.run.snapshot(["caption"])

    def same_captions(self, review: Review) -> bool:
        """Whether the captions of the run are those that this review was drawn with."""
        return review.plan.snapshot.get("captions") == self._captions

    @property
    def _all_clips(self) -> str:
        return fingerprint([part.output.sha256 for part in self.pools.run.parts])

    def one(self, gate: Gate | None, pool: str | None) -> Review:
        """The review that is meant, where a run may have several. ConfigError: it is not clear which."""
        if gate is not None:
            found = self.find(gate, self.named(gate, pool))
            if found is None:
                raise NotReady(
                    f"there is no review of this gate: {self.folder(gate, pool or '')} has no plan"
                )
            return found
        known = [one for one in self.all() if pool in (None, one.plan.pool)]
        if len(known) != 1:
            names = ", ".join(one.folder.name for one in known) or "none"
            raise ConfigError(f"say which review with --gate and --pool; there are: {names}")
        return known[0]

    # --- answers

    def answer(self, gate: Gate, pool: str) -> Answer:
        """The gate's answer to what is judged so far, kept beside the plan. NotReady: nothing was planned."""
        review = self.find(gate, pool)
        if review is None:
            about = f" --pool {pool}" if pool else ""
            root = self.pools.run.store.root
            raise NotReady(f"no plan of this gate yet: run `rushes review {root} --gate {gate}{about}` first")
        found = review.answer()
        name = f"{FOLDER}/{review.folder.name}/{ANSWER}"
        self.pools.run.store.put_text(name, found.to_json().decode())
        return found

    def gates(self, pool: str) -> dict[str, Standing]:
        """By gate, what its samples say about this pool as it is now. NotReady: the run has not come so far."""
        return {gate: self.standing(gate, pool if gate in POOLED else "") for gate in GATES}

    def standing(self, gate: Gate, pool: str) -> Standing:
        """What the samples of these clips come to, those that were set aside too: one that failed stays failed until a
        later one passes. NotReady: the run has not come so far."""
        if "://" in self.pools.run.store.root:
            return Standing(ABSENT)
        folder = self.folder(gate, pool)
        current = self._read(folder)
        every = [*self._set_aside(folder), *([current] if current is not None else [])]
        if not every:
            return Standing(ABSENT)
        snapshot = self.snapshot(gate, pool)
        same = [review for review in every if dict(review.plan.snapshot) == snapshot]
        if not same:
            return Standing(STALE)
        same.sort(key=lambda review: review.plan.attempt)
        found = deciding([review.answer() for review in same])
        return Standing(found.state, found.sentence, found.plan, found.attempt)

    # --- what flows back

    def looked_at(self) -> frozenset[str]:
        """The clips whose caption somebody has judged or corrected: at a gate of captions, or from a list, be it that
        the review was set aside since."""
        found: set[str] = set()
        for review in self.ever():
            states = review.states()[0] if review.plan.gate in POOLED and review.verdicts.exists() else ()
            for item, state in zip(review.plan.items, states, strict=False):
                said = any(reading.verdict != "skip" for reading in state.readings) or state.edit is not None
                if said and item.planted is None:
                    found.add(item.clip_id)
        return frozenset(found)

    def corrections(self) -> dict[str, Correction]:
        """By clip, its caption as last corrected, in whichever review, set aside or not. Planted items have none: what
        they show is not the clip's own."""
        found: dict[str, tuple[float, Correction]] = {}
        for review in self.ever():
            states = review.states()[0] if review.verdicts.exists() else ()
            for item, state in zip(review.plan.items, states, strict=False):
                if item.planted is not None or state.editor is None or state.edited_at is None:
                    continue
                clip, text = item.clip_id, caption_text(state.edit, review.folder, item.clip_id)
                if clip not in found or found[clip][0] <= state.edited_at:
                    found[clip] = state.edited_at, Correction(text, schema.clean(state.editor))
        return {clip: correction for clip, (_, correction) in sorted(found.items())}


def caption_text(edit: Mapping[str, Any] | None, folder: Path, clip: str) -> str:
    """The canonical text of a corrected caption. PlanError: the schema does not know it."""
    try:
        return schema.dumps(schema.loads(json.dumps(edit)))
    except ValidationError as error:
        raise PlanError(f"{folder}: the corrected caption of clip {clip}: {sentence(error)}") from error


def _clip_ids(file: Path) -> Iterator[str]:
    """The clips that a file lists: rows with a clip_id."""
    for where, row in rows_of(file):
        clip = row.get("clip_id")
        if not isinstance(clip, str) or not clip.strip():
            raise ConfigError(f"{where}: there is no clip_id")
        yield clip.strip()
