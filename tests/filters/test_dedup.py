from __future__ import annotations

import time

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.dedup import Dedup, find_duplicates
from filters.duplicates.clusters import components, preference, stars
from filters.duplicates.hashes import BLOCKS, _arranged
from filters.embedding import Embedding
from filters.phash import PHash

SIZE = (320, 180)
DEFAULTS = Dedup()
NO_BARS = {f"border_{side}_ratio": 0.0 for side in ("left", "right", "top", "bottom")}


def take(studio, seed, seconds=6, start=0.0):
    """A camera that travels over a picture, two frames a second."""
    across, down = SIZE
    scene = studio.colour(across + 200, down, seed)
    shifts = [round(8 * (start + 0.5 * step)) for step in range(2 * seconds)]
    return [scene[:, shift : shift + across] for shift in shifts]


def hashed(studio, images, every_s=0.5):
    stage = PHash()
    clip = studio.clip(len(images) * every_s, *SIZE, upstream={"border": NO_BARS})
    return stage.measure(stage.load(), clip, studio.batch(images, every_s))


def row(name, hashes, **values):
    shape = {
        "shot_id": f"shot-{name}",
        "is_image": False,
        "width": 1280,
        "height": 720,
        "clean_area_ratio": 1.0,
    }
    return {"clip_id": name, **shape, "duration_s": 6.0, "sharpness": 1.0, **hashes, **values}


def measured(rows):
    schema = pa.schema(
        [
            pa.field("clip_id", pa.string()),
            pa.field("shot_id", pa.string()),
            pa.field("is_image", pa.bool_()),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("clean_area_ratio", pa.float64()),
            pa.field("duration_s", pa.float64()),
            pa.field("sharpness", pa.float64()),
            pa.field("iqa_score", pa.float64()),
            pa.field("text_area_ratio", pa.float64()),
            *PHash.columns,
            *Embedding.columns,
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def clusters(rows, settings=DEFAULTS):
    """The clusters of more than one clip, as sorted lists of names."""
    found = {}
    for one in find_duplicates(measured(rows), settings).to_pylist():
        found.setdefault(one["duplicate_cluster"], []).append(one["clip_id"])
    return sorted(sorted(names) for names in found.values() if len(names) > 1)


def noisy(images, seed=0):
    dice = np.random.default_rng(seed)
    return [np.clip(image + dice.normal(0, 12, image.shape), 0, 255).astype(np.uint8) for image in images]


def coded(images):
    """Through JPEG at low quality, as a stand-in for another encoder."""
    return [
        cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 15])[1], 1) for image in images
    ]


EDITS = {
    "noise": noisy,
    "codec": coded,
    "mirror": lambda images: [np.ascontiguousarray(image[:, ::-1]) for image in images],
    "smaller": lambda images: [
        cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA) for image in images
    ],
    "larger": lambda images: [
        cv2.resize(image, (640, 360), interpolation=cv2.INTER_CUBIC) for image in images
    ],
    "brighter": lambda images: [np.clip(image * 1.1 + 10, 0, 255).astype(np.uint8) for image in images],
    "gray": lambda images: [
        image.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8) for image in images
    ],
    "shorter": lambda images: images[:8],
    "later": lambda images: images[3:],
    "slower sampling": lambda images: images[::2],
    "mirror and noise": lambda images: noisy([np.ascontiguousarray(image[:, ::-1]) for image in images]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_copy_is_found(studio, edit):
    originals = {f"original{seed}": take(studio, seed) for seed in range(4)}
    copy = EDITS[edit](take(studio, 2))
    rows = [row(name, hashed(studio, images)) for name, images in originals.items()]
    assert clusters([*rows, row("copy", hashed(studio, copy))]) == [["copy", "original2"]]


def test_different_content_is_not(studio):
    rows = [row(f"clip{seed}", hashed(studio, take(studio, seed, 3))) for seed in range(60)]
    assert clusters(rows) == []


def test_a_clip_that_starts_where_another_ends_is_not(studio):
    rows = [row(f"part{i}", hashed(studio, take(studio, 0, 4, start=4.0 * i))) for i in range(4)]
    assert clusters(rows) == []


def test_pieces_of_one_take_are_copies_only_when_asked(studio):
    still = hashed(studio, [studio.colour(*SIZE, 3)] * 6)
    rows = [row(f"piece{i}", still, shot_id="take") for i in range(3)]
    assert clusters(rows) == []
    assert clusters(rows, Dedup(same_shot=True)) == [["piece0", "piece1", "piece2"]]
    # One copy from elsewhere belongs to each of them.
    assert clusters([*rows, row("copy", still)]) == [["copy", "piece0", "piece1", "piece2"]]


@pytest.mark.parametrize("edit", [noisy, coded, list])
@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_flat_frames_glue_nothing_together(studio, level, edit):
    flat = [np.full((SIZE[1], SIZE[0], 3), level, np.uint8)] * 6
    rows = [row(f"flat{i}", hashed(studio, edit(flat))) for i in range(5)]
    # Fades: half the frames flat, the other half of different pictures.
    rows += [row(f"fade{i}", hashed(studio, [*flat, *take(studio, i, 3)])) for i in range(5)]
    assert all(all(one["phash_flat"]) for one in rows[:5])
    assert clusters(rows) == []
    # A copy of a fade is found while enough of its frames are pictures.
    assert clusters([*rows, row("copy", hashed(studio, [*flat[:3], *take(studio, 2, 3)]))]) == [
        ["copy", "fade2"]
    ]


def test_a_shared_title_card_glues_nothing_together(studio):
    card = studio.colour(*SIZE, 99)
    rows = [row(f"clip{i}", hashed(studio, [card, card, *take(studio, i, 4)])) for i in range(6)]
    assert clusters(rows) == []
    one_frame = row("card", hashed(studio, [card]))
    assert clusters([*rows, one_frame]) == []


def test_images_are_compared_with_images(studio):
    picture = studio.colour(*SIZE, 5)
    rows = [
        row("image", hashed(studio, [picture]), is_image=True),
        row("again", hashed(studio, coded([picture])), is_image=True),
        row("other", hashed(studio, [studio.colour(*SIZE, 6)]), is_image=True),
        row("video", hashed(studio, [picture])),
    ]
    assert clusters(rows) == [["again", "image"]]


@pytest.mark.parametrize(
    ("frames", "flips", "found"), [(1, 4, True), (1, 5, False), (2, 8, True), (2, 9, False)]
)
def test_one_frame_alone_must_be_nearer(frames, flips, found):
    original = {
        "phash": list(range(1, frames + 1)),
        "phash_mirrored": [2**64 - 1] * frames,
        "phash_flat": [False] * frames,
    }
    # All flips in the last block but one, so that every other block agrees.
    flipped = [value ^ (((1 << flips) - 1) << 43) for value in original["phash"]]
    rows = [row("a", original), row("b", {**original, "phash": flipped})]
    assert clusters(rows) == ([["a", "b"]] if found else [])


def test_the_best_of_a_cluster_stands_for_it(studio):
    same = hashed(studio, take(studio, 0))
    rows = [
        row("a", same, duration_s=9.0),
        row("b", same, width=1920, height=1080, sharpness=None),
        row("c", same, width=1920, height=1080, sharpness=0.5, duration_s=5.0),
        row("d", same, width=1920, height=1080, sharpness=0.5, duration_s=6.0),
        row("e", same, width=1920, height=1080, sharpness=0.5, duration_s=6.0),
        row("z", hashed(studio, take(studio, 1))),
        row("none", {"phash": None, "phash_mirrored": None, "phash_flat": None}),
    ]
    found = find_duplicates(measured(rows[::-1])).to_pylist()[::-1]
    assert [one["duplicate_rank"] for one in found] == [4, 3, 2, 0, 1, 0, None]
    assert [one["duplicate_cluster"] for one in found] == ["a", "a", "a", "a", "a", "z", None]
    assert [one["duplicate_of"] for one in found] == ["d", "d", "d", None, "d", None, None]
    assert [one["clip_id"] for one in found] == [one["clip_id"] for one in rows]


def random_rows(count, frames, seed=0):
    """Clips of random hashes, every tenth copied with a few bits changed, every other copy mirrored."""
    dice = np.random.default_rng(seed)
    plain = dice.integers(0, 2**64, (count, frames), dtype=np.uint64)
    mirrored = dice.integers(0, 2**64, (count, frames), dtype=np.uint64)
    originals = np.arange(0, count - 1, 10)
    for hashes in (plain, mirrored):
        hashes[originals + 1] = hashes[originals]
        for _ in range(5):
            flips = dice.integers(0, 64, (len(originals), frames)).astype(np.uint64)
            hashes[originals + 1] ^= np.uint64(1) << flips
    turned = originals[::2] + 1
    plain[turned], mirrored[turned] = mirrored[turned], plain[turned].copy()
    offsets = pa.array(np.arange(0, count * frames + 1, frames, dtype=np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))
        for values in (plain, mirrored, np.zeros((count, frames), np.bool_))
    ]
    columns = {
        "clip_id": [f"{i:08x}" for i in range(count)],
        "shot_id": [f"{i:08x}" for i in range(count)],
        "is_image": [False] * count,
        "width": [640] * count,
        "height": [360] * count,
        "duration_s": [5.0] * count,
        "clean_area_ratio": [1.0] * count,
        "sharpness": [1.0] * count,
    }
    columns |= dict(zip(PHash.columns.names[:3], lists, strict=True))
    nothing = {field.name: pa.nulls(count, field.type) for field in (*PHash.columns, *Embedding.columns)}
    return pa.table(nothing | columns), originals


def test_thirty_thousand_clips_take_seconds():
    table, originals = random_rows(30_000, 5)
    start = time.process_time()
    ranks = find_duplicates(table).column("duplicate_rank").to_numpy()
    assert time.process_time() - start < 20
    found = np.flatnonzero(ranks == 1)
    assert set(found) <= set(originals + 1)
    assert len(found) >= 0.999 * len(originals)


def test_the_answer_does_not_depend_on_the_rows_order_or_chunks():
    table, _ = random_rows(3000, 4, 1)
    whole = find_duplicates(table)
    assert whole.equals(find_duplicates(table))
    chunked = pa.concat_tables([table.slice(start, 700) for start in range(0, 3000, 700)])
    assert whole.equals(find_duplicates(chunked))
    order = np.random.default_rng(2).permutation(3000)
    shuffled = find_duplicates(table.take(order)).sort_by("clip_id")
    assert shuffled.equals(whole.sort_by("clip_id"))


def test_every_pair_within_four_bits_is_found():
    dice = np.random.default_rng(3)
    base = dice.integers(0, 2**64, dtype=np.uint64)
    for flips in range(5):
        for _ in range(20):
            bits = dice.choice(64, flips, replace=False).astype(np.uint64)
            copy = base ^ np.bitwise_or.reduce(np.uint64(1) << bits) if flips else base
            hashes = [{"phash": [int(h)], "phash_mirrored": [0], "phash_flat": [False]} for h in (base, copy)]
            assert clusters([row(f"c{i}", one) for i, one in enumerate(hashes)]) == [["c0", "c1"]]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.permutations(range(6)))
def test_moving_blocks_keeps_every_bit(values, blocks):
    hashes = np.array(values, np.uint64)
    turned, key_bits = _arranged(hashes, tuple(blocks[:2]))
    assert np.array_equal(np.bitwise_count(turned), np.bitwise_count(hashes))
    assert np.array_equal(np.bitwise_count(turned ^ turned[0]), np.bitwise_count(hashes ^ hashes[0]))
    assert key_bits == sum(past - first for first, past in (BLOCKS[block] for block in blocks[:2]))
    first, past = BLOCKS[blocks[0]]
    key = (turned >> np.uint64(64 - (past - first))).tolist()
    assert key == [(value >> first) & ((1 << (past - first)) - 1) for value in values]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_those_of_a_plain_search(count, edges):
    edges = [(one % count, two % count) for one, two in edges]
    expected = list(range(count))
    for _ in range(count):
        for one, two in edges:
            expected[one] = expected[two] = min(expected[one], expected[two])
    one, two = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    assert components(count, one, two).tolist() == expected


def test_a_chain_is_cut_into_stars_around_the_best():
    # 0 - 1 - 2 - 3 - 4, where 1 is the best, then 4: 2 is no copy of 4, and 3 is none of 1.
    place = np.array([2, 0, 3, 4, 1])
    one, two = np.arange(4), np.arange(1, 5)
    assert stars(place, one, two).tolist() == [1, 1, 1, 4, 4]


@given(st.permutations(range(12)), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40))
def test_every_member_is_linked_with_its_representative(place, edges):
    edges = [edge for edge in edges if edge[0] != edge[1]]
    one, two = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    found = stars(np.array(place), one, two)
    linked = {frozenset(edge) for edge in edges}
    for row, best in enumerate(found):
        assert best == row or (frozenset((row, int(best))) in linked and place[best] < place[row])
        assert found[best] == best
    alone = [row for row in range(12) if found[row] == row]
    assert not any(frozenset((a, b)) in linked for a in alone for b in alone if a != b)


def test_chained_hashes_do_not_glue(studio):
    """Each of ten clips is 6 bits from the next: all would be one cluster if chains counted."""
    dice = np.random.default_rng(4)
    hashes, value = [], [int(dice.integers(0, 2**64, dtype=np.uint64)) for _ in range(6)]
    bits = dice.permutation(64)
    for step in range(10):
        hashes.append(list(value))
        flips = sum(1 << int(bits[6 * step + i]) for i in range(6))
        value = [one ^ flips for one in value]
    rows = [
        row(f"c{i:02d}", {"phash": one, "phash_mirrored": [i * 2**32] * 6, "phash_flat": [False] * 6})
        for i, one in enumerate(hashes)
    ]
    assert max(map(len, clusters(rows))) <= 3


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({"sharpness": [1.0, 1.05]}, "a"),  # within a tenth: the next column decides, at last the id
        ({"sharpness": [1.0, 1.5]}, "b"),
        ({"sharpness": [1.0, 1.05], "iqa_score": [20.0, 60.0]}, "b"),
        ({"text_area_ratio": [0.2, 0.0]}, "b"),
        ({"clean_area_ratio": [0.5, 1.0]}, "b"),
        ({"clean_area_ratio": [1.0, 0.5], "iqa_score": [None, 60.0]}, "a"),
        ({"iqa_score": [None, -20.0]}, "b"),
        ({"duration_s": [5.0, 9.0]}, "b"),
    ],
)
def test_quality_chooses_the_representative(studio, values, best):
    same = hashed(studio, take(studio, 0))
    rows = [row(name, same, **{k: v[i] for k, v in values.items()}) for i, name in enumerate("ab")]
    found = find_duplicates(measured(rows)).to_pylist()
    assert [one["clip_id"] for one in found if one["duplicate_rank"] == 0] == [best]


def test_another_order_of_preference():
    table = pa.table({"clip_id": ["a", "b"], "width": [10, 20], "noise": [0.1, 0.9]})
    assert preference(table, ("width",), 0.1).tolist() == [1, 0]
    assert preference(table, ("-noise", "width"), 0.1).tolist() == [0, 1]
    assert preference(table, ("absent",), 0.1).tolist() == [0, 1]


def told(rows, **how):
    return {one["clip_id"]: one for one in find_duplicates(measured(rows), **how).to_pylist()}


def test_the_kind_says_how_two_clips_are_copies(studio):
    images = take(studio, 0, 8)
    rows = [
        row("best", hashed(studio, images), duration_s=8.0, sharpness=2.0),
        row("equal", hashed(studio, images), duration_s=8.0),
        row("coded", hashed(studio, coded(images)), duration_s=8.0),
        row("part", hashed(studio, images[:8]), duration_s=4.0),
        row("shifted", hashed(studio, take(studio, 0, 8, start=2.0)), duration_s=8.0),
    ]
    found = told(rows)
    assert {name: one["duplicate_kind"] for name, one in found.items()} == {
        "best": None,
        "equal": "exact",
        "coded": "near",
        "part": "temporal",
        "shifted": "temporal",
    }
    assert found["best"]["duplicate_score"] is None
    assert [found[name]["duplicate_score"] for name in ("equal", "coded", "part")] == [1.0, 1.0, 1.0]
    assert 0.6 <= found["shifted"]["duplicate_score"] < 1


def test_bars_do_not_hide_a_copy(studio):
    images = take(studio, 0)
    stage, (across, down) = PHash(), SIZE
    boxed = [cv2.copyMakeBorder(image, 40, 40, 0, 0, cv2.BORDER_CONSTANT) for image in images]
    border = NO_BARS | {f"border_{side}_ratio": 40 / (down + 80) for side in ("top", "bottom")}
    clip = studio.clip(6, across, down + 80, upstream={"border": border})
    inside = stage.measure(stage.load(), clip, studio.batch(boxed, 0.5))
    blind = stage.measure(
        stage.load(), studio.clip(6, upstream={"border": NO_BARS}), studio.batch(boxed, 0.5)
    )
    rows = [row("plain", hashed(studio, images)), row("boxed", inside)]
    assert clusters(rows) == [["boxed", "plain"]]
    assert clusters([rows[0], row("boxed", blind)]) == []


def test_clips_of_earlier_runs_stand_for_their_copies(studio):
    first, second = (hashed(studio, take(studio, seed)) for seed in (0, 1))
    rows = [
        row("a", first, sharpness=9.0),
        row("b", second),
        row("c", first),
        row("new", hashed(studio, take(studio, 2))),
    ]
    earlier = [
        ("runs/one", measured([row("x", first, sharpness=0.1)])),
        ("runs/two", measured([row("b", second), row("y", first)])),
    ]
    found = told(rows, earlier=earlier)
    assert set(found) == {"a", "b", "c", "new"}
    told_of = {
        name: (one["duplicate_of"], one["duplicate_run"], one["duplicate_kind"])
        for name, one in found.items()
    }
    assert told_of == {
        "a": ("x", "runs/one", "exact"),
        "c": ("x", "runs/one", "exact"),
        "b": ("b", "runs/two", "exact"),
        "new": (None, None, None),
    }
    assert [found[name]["duplicate_rank"] > 0 for name in ("a", "b", "c", "new")] == [True, True, True, False]
    # The other runs' own clips change nothing between the new ones.
    assert told(rows, earlier=[])["c"]["duplicate_of"] == "a"


def test_a_long_chain_is_one_component():
    rows = np.random.default_rng(0).permutation(100_000)
    start = time.process_time()
    assert not components(100_000, rows[:-1], rows[1:]).any()
    assert time.process_time() - start < 10


def test_no_clips_and_no_hashes():
    assert find_duplicates(measured([])).num_rows == 0
    empty = {"phash": [], "phash_mirrored": [], "phash_flat": []}
    assert [one["duplicate_rank"] for one in find_duplicates(measured([row("a", empty)])).to_pylist()] == [0]


def test_lists_of_other_lengths_are_refused():
    broken = {"phash": [1, 2], "phash_mirrored": [1], "phash_flat": [False, False]}
    with pytest.raises(ValueError, match="of a clip differ in length"):
        find_duplicates(measured([row("a", broken)]))


@pytest.mark.parametrize(
    "settings",
    [
        *({"max_bits": 99}, {"max_bits_alone": -1}, {"min_vote_ratio": 0.0}, {"window": 0}),
        *({"min_similarity": 0.0}, {"min_alignment": 1.5}, {"neighbours": 0}, {"tie_ratio": -0.1}),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Dedup(**settings)  # type: ignore[arg-type]
