"""Copies among clips, found over the whole table: a global step, not a stage.

1. Exact: clips of equal `content_hash`, or of the same id in an earlier run.
2. Candidates: pairs with a near frame by perceptual hash (duplicates/hashes.py) or embedding (duplicates/vectors.py).
3. Votes: enough frames of the two are near in the same order (duplicates/votes.py): hashes within some bits, the other
   clip as it is or mirrored; or embeddings that are similar, confirmed by small pictures that lie in one another.
4. Clusters: the best clip by `prefer` stands for those that are copies of it (duplicates/clusters.py).

Flat frames (black, white, a plain card) are never near anything, so they cannot glue clips together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import clusters, hashes, vectors
from filters.duplicates.columns import Ints, codes
from filters.duplicates.copies import Copies

COLUMNS = (
    *("clip_id", "shot_id", "is_image", "width", "height", "clean_area_ratio", "duration_s", "sharpness"),
    *("phash", "phash_mirrored", "phash_flat", "content_hash"),
    *("embedding", "embedding_flat", "embedding_thumbs", "embedding_engine"),
)
"""What the step reads; it also uses the columns of `Dedup.prefer` that there are."""
DUPLICATES = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("duplicate_cluster", pa.string()),  # smallest clip_id of the cluster
        pa.field("duplicate_rank", pa.int32()),  # 0 is the representative
        pa.field("duplicate_of", pa.string()),  # the representative; null for itself
        pa.field("duplicate_run", pa.string()),  # the earlier run that has it; null when it is of this one
        pa.field("duplicate_kind", pa.string()),  # exact, near, temporal; null for a representative
        pa.field("duplicate_score", pa.float64()),  # share of the shorter clip's frames that match in order
    ]
)


@dataclass(frozen=True)
class Dedup:
    """When two clips are duplicates, and which of them stays."""

    max_bits: int = 8
    """Bits of 64 in which the hashes of two near frames may differ: unrelated pictures differ in about 32. Ours."""
    max_bits_alone: int = 4
    """The same between clips of one frame, where no second frame confirms it. Ours."""
    min_vote_ratio: float = 0.6
    """Share of the shorter clip's frames that must be near, in order. Ours."""
    window: int = 16
    """Neighbours that each hash is compared with in a sorted list."""
    same_shot: bool = False
    """Whether clips of one shot may be duplicates: pieces of one take look alike without being copies."""
    min_similarity: float = 0.6
    """Cosine of two embeddings from which their small pictures are compared. Ours."""
    min_alignment: float = 0.8
    """Correlation of the small pictures from which two frames are near: that of unlike frames of near embeddings stays
    below 0.81, and two frames are needed. Ours, docs/duplicates.md has the figures."""
    min_alignment_alone: float = 0.9
    """The same between clips of one frame. Ours."""
    neighbours: int = 8
    """Nearest embeddings that a frame is compared with in a block."""
    prefer: tuple[str, ...] = (
        *("pixels", "sharpness", "iqa_score", "vqa_score", "duration_s"),
        *("-text_area_ratio", "-logo_area_ratio"),
    )
    """What makes a clip the representative of its copies: columns, the most important first, lower is better after a
    "-". Columns that the run does not have are left out; `pixels` are those inside the bars."""
    tie_ratio: float = 0.1
    """Values that differ by less than about this share count as equal, and the next column decides."""
    against: tuple[str, ...] = ()
    """Runs whose clips are there already: a copy of one of them is its duplicate."""

    def __post_init__(self) -> None:
        if not (0 <= self.max_bits_alone <= 20 and 0 <= self.max_bits <= 20):
            raise ValueError(
                "max_bits and max_bits_alone are bits between 0 and 20: unrelated pictures differ in about 32"
            )
        for name in ("min_vote_ratio", "min_similarity", "min_alignment", "min_alignment_alone", "tie_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not in (0, 1]")
        for name in ("window", "neighbours"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, less than 1")

    @property
    def nearness(self) -> hashes.Nearness:
        return hashes.Nearness(self.max_bits, self.max_bits_alone, self.min_vote_ratio, self.window)

    @property
    def likeness(self) -> vectors.Likeness:
        return vectors.Likeness(
            self.min_similarity,
            self.min_alignment,
            self.min_alignment_alone,
            self.min_vote_ratio,
            self.neighbours,
        )


def find_duplicates(
    table: pa.Table, settings: Dedup = Dedup(), earlier: Sequence[tuple[str, pa.Table]] = ()
) -> pa.Table:
    """DUPLICATES of the rows of a table that has COLUMNS, in their order; null where a clip has no hashes.

    `earlier` are runs by name, with tables of COLUMNS: their clips stand for copies of them in `table`, the first run
    before the next. Embeddings are compared with those of the same engine. The answer does not depend on the order of
    rows, nor on the machine's cores: it is found in one thread. ValueError: the lists of a clip differ in length.
    """
    import faiss  # noqa: F401  # loaded before its threads can be held
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return _found(table, settings, earlier)


def _found(table: pa.Table, settings: Dedup, earlier: Sequence[tuple[str, pa.Table]]) -> pa.Table:
    engine = _engine(table)
    tables = [_prepared(one, engine, settings) for one in (table, *(found for _, found in earlier))]
    run = np.repeat(np.arange(len(tables)), [one.num_rows for one in tables])
    whole = pa.concat_tables(tables, promote_options="default")
    ids = pc.rank(whole.column("clip_id").combine_chunks(), tiebreaker="dense").to_numpy().astype(np.int64)
    order = np.lexsort((ids, run))
    whole, run, ids = whole.take(order), run[order], ids[order]
    # The clips of an earlier run are preferred to any of a later one, and those to the clips that are asked about.
    place = clusters.preference(whole, settings.prefer, settings.tie_ratio)
    place = np.argsort(np.lexsort((place, np.where(run == 0, len(tables), run))))
    copies = Copies(
        hashes.Hashed.of(whole),
        vectors.Embedded.of(whole),
        codes(whole.column("content_hash")),
        ids,
        codes(whole.column("shot_id")),
        whole.column("is_image").fill_null(False).to_numpy().astype(np.bool_),
        whole.column("duration_s").fill_null(0).to_numpy(),
        run,
        settings.same_shot,
        settings.nearness,
        settings.likeness,
    )
    linked = copies.linked(place)
    representative = clusters.stars(place, linked.one, linked.two)
    rows = np.empty(len(order), np.int64)
    rows[order] = np.arange(len(order))
    names = np.array([None, *(name for name, _ in earlier)], object)[run]
    return _described(whole, copies, representative, place, names, rows[: table.num_rows])


def _engine(table: pa.Table) -> str | None:
    found: str | None = (
        pc.first(table.column("embedding_engine").drop_null()).as_py() if table.num_rows else None
    )
    return found


def _prepared(table: pa.Table, engine: str | None, settings: Dedup) -> pa.Table:
    """What is used of a table; without embeddings where another engine has made them."""
    wanted = dict.fromkeys([*COLUMNS, *(name.removeprefix("-") for name in settings.prefer)])
    shape = [table.column(name).cast(pa.float64()) for name in ("width", "height")]
    clean = table.column("clean_area_ratio").cast(pa.float64()).fill_null(1.0)
    pixels = pc.multiply(pc.multiply(*shape), clean)
    if "pixels" in table.column_names:
        table = table.drop_columns("pixels")
    table = table.append_column("pixels", pixels)
    table = table.select([name for name in wanted if name in table.column_names])
    if _engine(table) not in (None, engine):
        for name in ("embedding", "embedding_flat", "embedding_thumbs"):
            field = table.schema.field(name)
            at = table.schema.get_field_index(name)
            table = table.set_column(at, field, pa.nulls(table.num_rows, field.type))
    return table


def _described(
    table: pa.Table, copies: Copies, representative: Ints, place: Ints, names: Any, rows: Ints
) -> pa.Table:
    """DUPLICATES of these rows by their representatives."""
    ids = table.column("clip_id").combine_chunks().cast(pa.string())
    count = len(representative)
    order = np.lexsort((place, representative))
    firsts = np.flatnonzero(np.diff(representative[order], prepend=-1))
    sizes = np.diff(firsts, append=count)
    rank = np.empty(count, np.int32)
    rank[order] = np.arange(count) - np.repeat(firsts, sizes)
    by_id = np.lexsort((copies.ids, representative))
    smallest = np.empty(count, np.int64)
    smallest[by_id] = np.repeat(by_id[firsts], sizes)
    own = representative == np.arange(count)
    votes = copies.judged(np.flatnonzero(~own), representative[~own])
    kind = np.full(count, None, object)
    kind[~own] = np.where(votes.exact, "exact", np.where(votes.same_time, "near", "temporal"))
    score = np.zeros(count)
    score[~own] = votes.score
    unmeasured = table.column("phash").is_null().to_numpy()
    columns = [
        ids.take(pa.array(rows)),
        ids.take(pa.array(smallest[rows], mask=unmeasured[rows])),
        pa.array(rank[rows], mask=unmeasured[rows]),
        ids.take(pa.array(representative[rows], mask=(unmeasured | own)[rows])),
        pa.array(np.where(own, None, names[representative])[rows], pa.string()),
        pa.array(kind[rows], pa.string()),
        pa.array(score[rows], mask=own[rows]),
    ]
    return pa.table(columns, schema=DUPLICATES)
