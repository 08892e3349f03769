"""Which clips are reviewed: drawn by a hash of clip and seed, from strata, with known chances.

Nobody chooses: the clips of a stratum with the smallest hash of (seed, clip id) are the sample, so that it is the same
on every machine, and those with a hash below a rate are what a stream would give. Strata are source x bucket x score
band, in proportion to their clips and each with a floor; the smallest are put together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.hashes import keyed_hash
from pipeline.tuning import CONFIDENCE
from review.plan import Item, Plan, Plant, PlantKind, Settings, Side, Stratum, item_id, size
from review.reasons import Gate

POPULATION = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("kept", pa.bool_()),
        pa.field("source", pa.string()),
        pa.field("bucket", pa.string()),  # its class of size, shape and length
        pa.field("score", pa.float64()),  # what bands are cut from; null: not scored
        pa.field("miss", pa.float64()),  # of a rejected one: 0 the nearest to its threshold, 1 far off
        pa.field("concept", pa.string()),  # of the caption; null: not captioned
        pa.field("still", pa.bool_()),  # an image
    ]
)
NEAR = 0.25
"""A rejected clip is near its threshold when its `miss` is at most this. Ours."""
NEAR_SHARE = 2 / 3
"""Of the rejected side, the part that is drawn near the threshold: thresholds are decided there. Ours."""
MOST_DONORS = 1_000
"""Clips that are asked for a caption or frames. Ours."""
OTHERS = "others"
BANDS = ("low", "middle", "high")
PLANTS: Mapping[Gate, tuple[PlantKind, ...]] = {
    "source": ("black_run", "logo"),
    "segmentation": ("cut_inside",),
    "pretrain": ("black_run", "logo", "wrong_caption", "cut_inside"),
    "posttrain": ("black_run", "logo", "wrong_caption", "cut_inside"),
}
"""By gate, the faults that its reviewers must notice."""
MOVING: tuple[PlantKind, ...] = ("black_run", "cut_inside")
"""Faults that an image cannot have."""
Indexes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def unit(*parts: object) -> float:
    """A number in [0, 1) that is a hash of its arguments: equal arguments, equal number."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def draw(population: pa.Table, settings: Settings, snapshot: Mapping[str, str], attempt: int = 1) -> Plan:
    """The plan of one gate over this POPULATION. PlanError: no clip is kept."""
    ids = population.column("clip_id")
    hashes = hashed(ids, settings.seed)
    kept = np.flatnonzero(population.column("kept").to_numpy())
    sizing = size(settings, len(kept))
    most = 1 if sizing.one_stratum else settings.most_strata
    if settings.n is not None:
        most = min(most, max(1, sizing.n // (2 * settings.floor)))
    names, codes = strata_of(population.select(["source", "bucket", "score"]).take(kept), most)
    clips = dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))
    floor = settings.floor if len(clips) > 1 else 0
    drawn = allocate(clips, sizing.n, floor) if settings.n is None else _within(clips, sizing.n, floor)
    n = sum(drawn.values())
    notes = sizing.notes
    if settings.n is None and n > sizing.n:
        notes += (f"{len(clips)} strata, {settings.floor} clips of each at least, make it {n:,}",)
    items: list[Item] = []
    chosen = np.zeros(population.num_rows, np.bool_)
    for code, name in enumerate(names):
        rows = smallest_hashes(kept[codes == code], hashes, drawn[name])
        chosen[rows] = True
        rate = drawn[name] / clips[name]
        items += [_item(settings, ids[row].as_py(), "kept", name, rate) for row in rows.tolist()]
    items += _rejected(population, hashes, settings, math.ceil(settings.rejected_ratio * n))
    items += planted(population, hashes, settings, chosen, math.ceil(settings.planted_ratio * n))
    items.sort(key=lambda item: unit("order", settings.seed, item.item_id))
    return Plan(
        gate=settings.gate,
        pool=settings.pool,
        limit=settings.allowed,
        confidence=CONFIDENCE,
        power=settings.power,
        expected=settings.likely,
        readers=settings.readers,
        seed=settings.seed,
        snapshot=dict(snapshot),
        strata=tuple(Stratum(name, clips[name], drawn[name]) for name in clips),
        items=tuple(items),
        rule=settings.rule,
        attempt=attempt,
        noticed_ratio=settings.noticed_ratio,
        notes=notes,
        asked={
            name: value
            for name, value in (("n", settings.n), ("most_strata", settings.most_strata))
            if value is not None and value != getattr(Settings, name)
        },
    )


def _item(
    settings: Settings, clip_id: str, side: Side, stratum: str, inclusion: float, plant: Plant | None = None
) -> Item:
    name = item_id(settings.gate, settings.pool, settings.seed, clip_id, plant.kind if plant else side)
    double = unit("double", settings.seed, name) < settings.twice
    return Item(name, clip_id, stratum, inclusion, side, plant, double)


def smallest_hashes(rows: Indexes, hashes: Floats, n: int) -> Indexes:
    """Of these rows, the `n` with the smallest hashes, the smallest first."""
    order = np.argsort(hashes[rows], kind="stable")
    found: Indexes = rows[order[:n]]
    return found


def allocate(clips: Mapping[str, int], n: int, floor: int) -> dict[str, int]:
    """By stratum, how many are drawn: in proportion, at least `floor`, at most all.

    Rounded up, so that the weighted sample never says less than `n` equally weighted clips would (Kish).
    """
    whole = sum(clips.values())
    return {name: min(count, max(floor, math.ceil(n * count / whole))) for name, count in clips.items()}


def _within(clips: Mapping[str, int], n: int, floor: int) -> dict[str, int]:
    """As `allocate`, the floors being taken out of `n` and not added to it."""
    sizes = range(n, 0, -1)
    fitting = (drawn for size in sizes if sum((drawn := allocate(clips, size, floor)).values()) <= n)
    return next(fitting, allocate(clips, 1, floor))


def strata_of(kept: pa.Table, most: int) -> tuple[list[str], Indexes]:
    """Names of strata in order, at most `most`, the smallest cells being put together; and by row the place of its
    own among them."""
    if most == 1:
        return ["all"], np.zeros(kept.num_rows, np.int64)
    parts = [pc.fill_null(kept.column(name), "unknown") for name in ("source", "bucket")]
    cells = pc.binary_join_element_wise(*parts, bands(kept.column("score")), " · ")
    counts = sorted(pc.value_counts(cells).to_pylist(), key=lambda one: (-one["counts"], one["values"]))
    large = [one["values"] for one in counts[: most if len(counts) <= most else most - 1]]
    names = sorted(large) + [OTHERS] * (len(large) < len(counts))
    codes = pc.fill_null(pc.index_in(cells, pa.array(sorted(large), pa.string())), len(large))
    return names, codes.to_numpy().astype(np.int64)


def bands(scores: pa.ChunkedArray) -> pa.Array:
    """By row, the third of all scores that it is in, or that it has none."""
    values = scores.cast(pa.float64()).to_numpy()
    known = values[~np.isnan(values)]
    edges = np.quantile(known, [1 / 3, 2 / 3]) if known.size else [0.0, 0.0]
    places = np.where(np.isnan(values), len(BANDS), np.searchsorted(edges, values, side="right"))
    return pa.array([*BANDS, "unscored"]).take(pa.array(places))


def hashed(ids: pa.ChunkedArray, seed: int) -> Floats:
    """(n,) a number in [0, 1) for each clip."""
    # A key of its own: what a balance by the same seed has kept must not decide what is drawn of it.
    key = int.from_bytes(hashlib.sha256(f"sample:{seed}".encode()).digest()[:8], "big")
    pieces = [keyed_hash(pa.chunked_array([chunk]), key) for chunk in ids.chunks]
    found: Floats = (np.concatenate([np.zeros(0, np.uint64), *pieces]) >> np.uint64(11)) / float(1 << 53)
    return found


def _rejected(population: pa.Table, hashes: Floats, settings: Settings, n: int) -> Iterator[Item]:
    """Clips of the other side, more of them near their threshold."""
    rejected = ~population.column("kept").to_numpy()
    near = population.column("miss").fill_null(1.0).to_numpy() <= NEAR
    ids = population.column("clip_id")
    close, far = np.flatnonzero(rejected & near), np.flatnonzero(rejected & ~near)
    of_close = min(len(close), math.ceil(NEAR_SHARE * n))
    of_far = min(len(far), n - of_close)
    for rows, wanted in ((close, min(len(close), n - of_far)), (far, of_far)):
        for row in smallest_hashes(rows, hashes, wanted).tolist():
            yield _item(settings, ids[row].as_py(), "rejected", "", wanted / len(rows))


def planted(
    population: pa.Table, hashes: Floats, settings: Settings, chosen: Flags, n: int
) -> Iterator[Item]:
    """Kept clips that are to be shown with a fault: those outside the sample first, and of a high score."""
    kept = np.flatnonzero(population.column("kept").to_numpy())
    score = np.nan_to_num(population.column("score").cast(pa.float64()).to_numpy()[kept], nan=-np.inf)
    order = kept[np.lexsort((hashes[kept], score < np.median(score), chosen[kept]))]
    donors = _Donors(population, kept[np.argsort(-hashes[kept], kind="stable")][:MOST_DONORS])
    kinds = PLANTS[settings.gate]
    done = 0
    for row in order.tolist():
        if done == n:
            return
        turned = (*kinds[done % len(kinds) :], *kinds[: done % len(kinds)])
        plants = (donors.plant(kind, row, unit("at", settings.seed, hashes[row])) for kind in turned)
        plant = next((one for one in plants if one is not None), None)
        if plant is not None:
            yield _item(settings, donors.clip(row), "kept", "", 1.0, plant)
            done += 1


class _Donors:
    """Kept clips in a fixed order, as givers of captions and frames: each is asked in its turn."""

    def __init__(self, population: pa.Table, order: Indexes) -> None:
        self._clips = population.select(["clip_id", "video_id", "concept", "still"])
        self._donors = self._clips.take(pa.array(order)).to_pylist()
        self._turn = 0

    def clip(self, row: int) -> str:
        """The id of the clip in this row."""
        return str(self._clips.column("clip_id")[row].as_py())

    def plant(self, kind: PlantKind, row: int, place: float) -> Plant | None:
        """The fault for this clip, in its middle half; None when no other clip can give what it takes."""
        at = round(0.25 + 0.5 * place, 3)
        (mine,) = self._clips.slice(row, 1).to_pylist()
        if mine["still"] and kind in MOVING:
            return None
        if kind in ("black_run", "logo"):
            return Plant(kind, None, at)
        for step in range(len(self._donors)):
            other = self._donors[(self._turn + step) % len(self._donors)]
            if _gives(kind, mine, other):
                self._turn = (self._turn + step + 1) % len(self._donors)
                return Plant(kind, other["clip_id"], at)
        return None


def _gives(kind: PlantKind, mine: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether frames or a caption of the other clip are plainly wrong in this one."""
    if kind == "cut_inside":
        return bool(mine["video_id"] != other["video_id"] and not other["still"])
    concepts = mine["concept"], other["concept"]
    return None not in concepts and concepts[0] != concepts[1]
