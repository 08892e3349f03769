"""What the report shows, gathered from a run: nothing is decoded, the pictures come from the proxy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import category_of
from jobs import config as settings
from jobs.account import Account, PoolAccount
from jobs.balance_view import BalanceView, labels_of, view
from jobs.balancing import Outcome, outcome, weighed
from jobs.crops import BORDER, CLEAN, crop_of
from jobs.pools import Pools
from jobs.report import (
    Card,
    CropView,
    Distribution,
    FailureView,
    GateView,
    Histogram,
    PoolView,
    ReportData,
    RuleView,
    ShardView,
    Timing,
)
from jobs.review import ABSENT, Standing
from jobs.run import NotReady, Run
from jobs.subjects import COLUMNS, concepts_of
from jobs.tables import origins
from pipeline import recipe as recipes
from pipeline import whatif
from pipeline.buckets import WHOLE
from pipeline.hashes import keyed_hash
from pipeline.recipe import Recipe, Rule
from pipeline.scan import PROXIES
from pipeline.store import StorageError

CARDS = 12
"""Clips on each contact sheet, drawn by a keyed hash."""
PICTURES = 4
CROPS = 6
"""Clips shown before and after their crop."""
CROP_CANDIDATES = 4096
"""Kept clips looked through for them: of a pool of millions, a sample."""
DURATION_EDGES_S = (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 30.0)


@dataclass(frozen=True)
class Gather:
    """Reads one run."""

    account: Account

    @property
    def run(self) -> Run:
        return self.account.run

    @property
    def pools(self) -> Pools:
        return self.account.pools

    @cached_property
    def _table(self) -> pa.Table | None:
        """All that is known of every clip, in the order of the parts; None while stages are missing."""
        try:
            self.run.snapshot([])
            batches = list(self.pools.measured())
        except NotReady:
            return None
        return pa.concat_tables(batches) if batches else None

    @cached_property
    def _shown_pool(self) -> Recipe | None:
        """The pool whose clips the sheets and the distributions show: the narrowest that is sharded."""
        named = [recipe for recipe in self.pools.recipes if recipe.name in self.run.config.shard.pools]
        shown = named or list(self.pools.recipes)
        return shown[-1] if shown else None

    def data(self) -> ReportData:
        clips, seconds = self.account.clips()
        kept, rejected = self._cards()
        return ReportData(
            run=self.run.store.root,
            sources=len(self.run.config.sources),
            videos=self.account.videos(),
            clips=clips,
            seconds=seconds,
            pools=tuple(self._pool_view(pool) for pool in self.account.accounts),
            histograms=tuple(self._histograms()),
            distributions=tuple(self._distributions()),
            cards_kept=kept,
            cards_rejected=rejected,
            failures=tuple(FailureView(**vars(failure)) for failure in self.account.failures),
            timings=tuple(timings(self.run)),
            engines=tuple(self._engines()),
            licences=tuple(self._licences()),
            settings_toml=settings.dump(self.run.config),
            cards_pool=self._shown_pool.name if self._shown_pool else "",
            crops=tuple(self._crops()),
            balances=tuple(self._balances()),
        )

    # --- pools

    def _pool_view(self, pool: PoolAccount) -> PoolView:
        shards = None
        if pool.manifest is not None and pool.sharded is not None:
            length = self._bucket_seconds(pool)
            rows: Counter[str] = Counter()
            for file in pool.manifest.files:
                rows[file.bucket] += file.rows
            buckets = tuple((name, rows[name], length.get(name, 0.0)) for name in sorted(rows))
            totals = pool.manifest.totals
            shards = ShardView(
                totals["files"],
                totals["rows"],
                totals["bytes"],
                buckets,
                self.account.shards.lacking(pool.manifest),
            )
        return PoolView(
            name=pool.recipe.name,
            clips=pool.clips,
            seconds=pool.seconds,
            rules=tuple(self._rules(pool.recipe)) if self._table is not None else (),
            balanced_out=pool.fate.balanced_out if pool.fate else 0,
            shards=shards,
            gates=tuple(_gate(gate, found) for gate, found in pool.gates.items() if found.state != ABSENT),
        )

    def _bucket_seconds(self, pool: PoolAccount) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for unit in self.account.shards.plan(pool.recipe).units:
            length = sum(cut.end_s - cut.start_s for cut in unit.cuts)
            seconds[unit.bucket.name] = seconds.get(unit.bucket.name, 0.0) + length
        return seconds

    def _rules(self, recipe: Recipe) -> Iterator[RuleView]:
        tallies = whatif.funnel(recipe, [self._table]).rules
        for rule, tally in zip(recipe.rules, tallies, strict=True):
            yield RuleView(
                name=rule.name,
                column=rule.column,
                text=rule.threshold,
                low=rule.least,
                high=rule.most,
                dropped=tally.first.clips,
                alone=tally.only.clips,
            )

    # --- scores

    def _histograms(self) -> Iterator[Histogram]:
        if self._table is None:
            return
        known = origins(self.run.planned)
        for column, rules in self._ruled_columns().items():
            values = self._table.column(column)
            if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
                continue
            origin = known.get(column)
            found = values.drop_null().cast(pa.float64()).to_numpy()
            yield Histogram(
                column=column,
                unit=unit_of(column),
                stage=f"{origin.stage}@{origin.fingerprint}" if origin else "clip",
                engine=origin.engine if origin else "",
                values=found,
                nulls=len(values) - len(found),
                thresholds=tuple((rule.pool, rule.least, rule.most) for rule in rules),
            )

    def _ruled_columns(self) -> dict[str, list[Rule]]:
        """Every column that a rule of the run's recipes has bounds on, with those rules."""
        columns: dict[str, list[Rule]] = {}
        for rule in dict.fromkeys(rule for recipe in self.pools.recipes for rule in recipe.rules):
            if rule.least is not None or rule.most is not None:
                columns.setdefault(rule.column, []).append(rule)
        return columns

    # --- distributions

    def _distributions(self) -> Iterator[Distribution]:
        pool = self._shown_pool
        if self._table is None or pool is None:
            return
        account = next(one for one in self.account.accounts if one.recipe.name == pool.name)
        if account.fate is None:
            return
        kept = account.fate.kept
        for title, labels in self._labels(self._table).items():
            yield Distribution(title, counted(labels), counted(labels[kept]), pool.name)

    def _labels(self, table: pa.Table) -> dict[str, np.ndarray]:
        labels: dict[str, np.ndarray] = {}  # of strings, where there are no rows too
        if set(COLUMNS) & set(table.column_names):
            concepts, _ = concepts_of(self.pools.concepts, table)
            labels["Concept"] = np.array([category_of(concept) for concept in concepts.to_pylist()], str)
        labels["Duration"] = duration_labels(table.column("duration_s").to_numpy())
        labels["Aspect"] = np.array(
            [
                "wide" if ratio > 1.05 else "tall" if ratio < 0.95 else "square"
                for ratio in table.column("aspect_ratio").to_pylist()
            ],
            str,
        )
        if "camera_motion" in table.column_names:
            said = table.column("camera_motion").to_pylist()
            labels["Camera"] = np.array([motion_label(text) for text in said], str)
        names = {video: row["path"].rsplit("/", 1)[-1] for video, row in self.run.used.items()}
        labels["Source"] = np.array([names[video] for video in table.column("video_id").to_pylist()], str)
        return labels

    def _balances(self) -> Iterator[BalanceView]:
        """What the balances of the pools did, with clips of both sides."""
        for recipe in self.pools.recipes:
            found = outcome(self.pools, recipe)
            if found is None or self._table is None:
                continue
            table = self.pools.balanced(recipe)
            assert table is not None
            kept = self.pools.verdicts(recipe).column("kept").to_numpy(zero_copy_only=False)
            rows = np.flatnonzero(kept)
            beside = self._beside(self._table.take(pa.array(rows[weighed(table)])))
            yield view(found, table, beside, partial(self._weighed, recipe, table, found, rows))

    def _weighed(
        self, recipe: Recipe, table: pa.Table, found: Outcome, rows: np.ndarray, chosen: np.ndarray
    ) -> tuple[Card, ...]:
        """Cards of some of the clips that a balance weighed, by row of its table; `rows` are theirs in the run."""
        pictures = self._pictures(rows[chosen])
        cards = []
        for place in chosen.tolist():
            (row,) = table.slice(place, 1).to_pylist()
            card = self._card(recipe, int(rows[place]), pictures)
            times = f", {row['copies']} times" if row["copies"] > 1 else ""
            verdict = f"Kept{times}" if row["balanced"] else "Balanced out"
            why = (labels_of(row["labels"], found),)
            cards.append(replace(card, kept=row["balanced"], verdict=verdict, why=why))
        return tuple(cards)

    def _beside(self, table: pa.Table) -> tuple[str, pa.Array]:
        """Labels to set beside those of a balance by one axis: who moves the camera, or else lengths."""
        labels = self._labels(table)
        name = "Camera" if "Camera" in labels else "Duration"
        return name.lower(), pa.array(labels[name], pa.string())

    # --- contact sheets

    def _cards(self) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
        pool = self._shown_pool
        if self._table is None or pool is None:
            return (), ()
        verdicts = recipes.judge(pool, self._table)
        order = np.argsort(keyed_hash(self._table.column("clip_id"), self.run.config.seed))
        kept = verdicts.column("kept").to_numpy(zero_copy_only=False)[order]
        sheets = (order[kept][:CARDS], order[~kept][:CARDS])
        pictures = self._pictures(np.concatenate(sheets))
        kept_cards, rejected_cards = (
            tuple(self._card(pool, int(row), pictures) for row in sorted(rows.tolist())) for rows in sheets
        )
        return kept_cards, rejected_cards

    def _card(self, pool: Recipe, number: int, pictures: Mapping[str, Sequence[bytes]]) -> Card:
        assert self._table is not None
        clip = self._table.slice(number, 1)
        row = clip.to_pylist()[0]
        answers = recipes.explain(pool, clip, origins(self.run.planned))
        why = tuple(
            f"{a.rule} is {value_text(a.value)}, wanted {a.threshold}" for a in answers if not a.passed
        )
        caption = json.loads(row["caption"]) if row.get("caption") else {}
        return Card(
            clip_id=row["clip_id"],
            source=self.run.used[row["video_id"]]["path"].rsplit("/", 1)[-1],
            start_s=row["start_s"],
            end_s=row["end_s"],
            images=tuple(pictures.get(row["clip_id"], ())),
            kept=not why,
            why=why,
            caption=(*caption_lines(caption), *prompt_lines(row)),
            caption_engine=row.get("caption_engine") or "",
        )

    def _crops(self) -> Iterator[CropView]:
        """Kept clips of the shown pool that its shards cut, drawn by the keyed hash of the sheets."""
        pool = self._shown_pool
        if self._table is None or pool is None:
            return
        named = [name for name in (*CLEAN, *BORDER, "crop_away") if name in self._table.column_names]
        columns = ["clip_id", "video_id", "width", "height", *named]
        kept = recipes.judge(pool, self._table).column("kept").to_numpy(zero_copy_only=False)
        order = np.argsort(keyed_hash(self._table.column("clip_id"), self.run.config.seed))
        order = order[kept[order]][:CROP_CANDIDATES]
        slim = self._table.select(columns).take(pa.array(order))
        crops = [crop_of(row, pool.crop) for batch in slim.to_batches() for row in batch.to_pylist()]
        chosen = [number for number, crop in enumerate(crops) if crop != WHOLE][:CROPS]
        pictures = self._pictures(order[chosen])
        for number in chosen:
            (row,) = slim.slice(number, 1).to_pylist()
            shown = pictures.get(row["clip_id"])
            if shown:
                yield CropView(
                    clip_id=row["clip_id"],
                    source=self.run.used[row["video_id"]]["path"].rsplit("/", 1)[-1],
                    image=shown[len(shown) // 2],
                    width=row["width"],
                    height=row["height"],
                    crop=crops[number],
                    away=tuple(row.get("crop_away") or ()) if pool.crop == "clean" else ("border",),
                )

    def _pictures(self, rows: np.ndarray) -> dict[str, list[bytes]]:
        """Up to PICTURES JPEGs of each of these clips, evenly spread, from the proxy's first layer."""
        assert self._table is not None
        clips = self._table.take(pa.array(np.sort(rows))).select(
            ["clip_id", "video_id", "start_frame", "end_frame"]
        )
        wanted = clips.to_pylist()
        found: dict[str, list[bytes]] = {}
        for group in self.run.groups:
            ids = {video["video_id"] for video in group.videos}
            mine = [clip for clip in wanted if clip["video_id"] in ids]
            spans = {clip["video_id"] for clip in mine}
            views = self._views([path for path, span in self.run.proxies(group) if span.video_id in spans])
            for clip in mine:
                inside = views.filter(
                    (pc.field("video_id") == clip["video_id"])
                    & (pc.field("frame") >= clip["start_frame"])
                    & (pc.field("frame") < clip["end_frame"])
                )
                data = inside.column("data").to_pylist()
                found[clip["clip_id"]] = [data[i] for i in spread(len(data), PICTURES)]
        return found

    def _views(self, paths: Sequence[str]) -> pa.Table:
        tables = [PROXIES.empty_table()]
        for path in paths:
            try:
                tables.append(self.run.store.table(path).filter(pc.field("layer") == 0))
            except StorageError:
                continue  # the proxy is a cache: without it the report has no pictures
        return pa.concat_tables(tables)

    # --- the small print

    def _engines(self) -> Iterator[tuple[str, str]]:
        yield "shots", "TransNetV2 and PySceneDetect"
        for planned in self.run.planned:
            engine = getattr(planned.stage, "engine", "")
            yield planned.stage.name, f"{engine + ', ' if engine else ''}fingerprint {planned.fingerprint}"

    def _licences(self) -> Iterator[tuple[str, str]]:
        for row in self.run.used.values():
            extra = json.loads(row["extra"] or "{}")
            if "licence" in extra or "license" in extra:
                yield row["path"].rsplit("/", 1)[-1], str(extra.get("licence", extra.get("license")))


def timings(run: Run) -> Iterator[Timing]:
    """Every sitting of every step, in order of time."""
    for name in run.store.names("timings"):
        yield Timing(**json.loads(run.store.read(f"timings/{name}")))


def _gate(gate: str, found: Standing) -> GateView:
    return GateView(gate, found.sentence or "stale: the run has changed since its sample was drawn")


def spread(count: int, most: int) -> list[int]:
    """Up to `most` of `count` positions, evenly spread, the ends among them."""
    places = np.linspace(0, count - 1, most).round().astype(int) if count else np.zeros(0, dtype=int)
    return sorted(set(places.tolist()))


def counted(labels: np.ndarray) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(labels.tolist()).items(), key=lambda item: (-item[1], item[0])))


def duration_labels(seconds: np.ndarray) -> np.ndarray:
    """`2-3 s` and so on, by DURATION_EDGES_S."""
    edges = DURATION_EDGES_S
    names = [f"under {edges[0]:g} s"]
    names += [f"{low:g}-{high:g} s" for low, high in pairwise(edges)]
    names += [f"{edges[-1]:g} s and more"]
    return np.array(names)[np.searchsorted(edges, seconds, side="right")]


def motion_label(sentence: str | None) -> str:
    """The kind of a camera sentence: static, moving, or not said."""
    if not sentence:
        return "not said"
    return "static" if "static" in sentence or "still" in sentence else "moving"


def unit_of(column: str) -> str:
    """The unit that a column's name ends in."""
    suffix = column.rsplit("_", 1)[-1]
    return {"s": "s", "px": "px", "fps": "fps", "ratio": "ratio", "deg": "degrees"}.get(suffix, "")


def value_text(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def prompt_lines(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The prompts that training reads, where there are any."""
    for kind in ("t2v", "i2v"):
        if row.get(f"prompt_{kind}"):
            yield f"{kind} prompt", row[f"prompt_{kind}"]


def caption_lines(caption: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields of a caption that say something."""
    for subject in caption.get("subjects", []):
        types = " > ".join(filter(None, (subject["TYPES"]["type"], subject["TYPES"]["sub_type"])))
        told = (types, subject["action"], subject["appearance"], subject["expression"], subject["position"])
        yield ("main subject" if subject["is_main_subject"] else "subject"), ", ".join(filter(None, told))
    for name, text in caption.items():
        if name != "subjects" and text:
            yield name.replace("_", " "), str(text)
