"""The draw: nobody's choice, known chances, strata with floors, both sides, planted faults."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from review.plan import Plan, Settings
from review.sample import OTHERS, PLANTS, POPULATION, allocate, bands, draw, hashed, strata_of


def population(clips: int, seed: int = 0, kept: float = 0.6, scored: bool = True) -> pa.Table:
    """Clips of three sources in two buckets, five to a video."""
    dice = np.random.default_rng(seed)
    columns = {
        "clip_id": [f"{number:020x}" for number in range(clips)],
        "video_id": [f"video{number // 5}" for number in range(clips)],
        "kept": dice.random(clips) < kept,
        "source": dice.choice(["films", "news", "home"], clips, p=[0.7, 0.2, 0.1]),
        "bucket": dice.choice(["720p wide", "1080p wide"], clips),
        "score": dice.random(clips) if scored else pa.nulls(clips, pa.float64()),
        "miss": dice.random(clips),
        "concept": dice.choice(["Human", "Animal"], clips),
        "still": dice.random(clips) < 0.1,
    }
    return pa.table(columns, schema=POPULATION)


def sample(plan: Plan) -> list[str]:
    return [item.clip_id for item in plan.items if item.side == "kept" and item.planted is None]


def test_the_same_clips_are_drawn_in_any_order_and_others_with_another_seed() -> None:
    clips = population(3000)
    settings = Settings("pretrain", "540p")
    plan = draw(clips, settings, {"pool": "x"})
    shuffled = clips.take(np.random.default_rng(1).permutation(3000))
    assert sorted(sample(draw(shuffled, settings, {"pool": "x"}))) == sorted(sample(plan))
    other = sample(draw(clips, Settings("pretrain", "540p", seed=1), {"pool": "x"}))
    assert len(set(other) & set(sample(plan))) < len(other) / 2
    assert len({item.item_id for item in plan.items}) == len(plan.items)


def test_a_clip_stays_in_the_sample_when_clips_are_taken_away() -> None:
    """Drawing is by a threshold on the clip's own hash, so a later, smaller pool draws the same and some more."""
    settings = Settings("posttrain", "sft", most_strata=1)
    clips = population(6000, kept=1.0)
    first = set(sample(draw(clips, settings, {})))
    second = set(sample(draw(clips.slice(0, 4000), settings, {})))
    assert {clip for clip in first if int(clip, 16) < 4000} <= second


def test_strata_are_source_bucket_and_band_with_a_floor() -> None:
    plan = draw(population(12_000), Settings("posttrain", "sft"), {})
    names = [stratum.name for stratum in plan.strata]
    assert len(names) == 6
    assert names[-1] == OTHERS
    assert all(name.count(" · ") == 2 and name.startswith("films") for name in names[:-1])
    assert all(stratum.drawn >= 30 for stratum in plan.strata)
    whole = sum(stratum.clips for stratum in plan.strata)
    for stratum in plan.strata:
        assert stratum.drawn >= 436 * stratum.clips / whole
        mine = [item for item in plan.items if item.stratum == stratum.name]
        assert len(mine) == stratum.drawn
        assert {item.inclusion for item in mine} == {stratum.drawn / stratum.clips}
    assert "6 strata, 30 clips of each at least" not in plan.notes[-1] or plan.n > 436


@pytest.mark.parametrize("sizes", [(90_000, 5_000, 20), (10, 10, 10), (1_000_000, 1), (400, 400, 400)])
@pytest.mark.parametrize("n", [19, 76, 436])
def test_a_weighted_sample_says_at_least_as_much_as_n(sizes: tuple[int, ...], n: int) -> None:
    """Kish's effective size, and never more than there are."""
    clips = {str(place): size for place, size in enumerate(sizes)}
    drawn = allocate(clips, n, 30)
    assert all(min(30, clips[name]) <= count <= clips[name] for name, count in drawn.items())
    whole = sum(sizes)
    effective = whole**2 / sum(clips[name] ** 2 / count for name, count in drawn.items())
    assert effective >= min(n, whole) - 1e-6


def test_small_pools_are_one_stratum() -> None:
    plan = draw(population(200, kept=0.2), Settings("pretrain", "540p"), {})
    assert [stratum.name for stratum in plan.strata] == ["all"]
    assert plan.n <= plan.strata[0].clips


def test_a_given_n_keeps_the_strata_few() -> None:
    for n in (20, 70, 130, 400):
        plan = draw(population(9000), Settings("pretrain", "540p", n=n), {})
        assert n - len(plan.strata) <= plan.n <= n
        assert len(plan.strata) <= max(1, n // 60)


def test_the_draw_is_uniform() -> None:
    """Hashes of ids that differ in one digit, in tenths."""
    ids = pa.chunked_array([[f"{number:020x}" for number in range(20_000)]])
    counts = Counter((10 * hashed(ids, 5)).astype(int).tolist())
    assert all(abs(counts[tenth] - 2000) < 5 * np.sqrt(2000) for tenth in range(10))


def test_bands_are_thirds_and_what_has_no_score_is_said() -> None:
    values = pa.chunked_array([pa.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, None])])
    expected = ["low", "low", "middle", "middle", "high", "high", "unscored"]
    assert bands(values).to_pylist() == expected
    assert set(bands(pa.chunked_array([pa.nulls(3, pa.float64())])).to_pylist()) == {"unscored"}
    names, codes = strata_of(population(1000, scored=False), 20)
    assert all(name.endswith("unscored") for name in names)
    assert sorted(set(codes.tolist())) == list(range(len(names)))


def test_the_rejected_side_is_sampled_more_near_the_threshold() -> None:
    clips = population(8_000)
    plan = draw(clips, Settings("pretrain", "540p"), {})
    miss = dict(zip(clips.column("clip_id").to_pylist(), clips.column("miss").to_pylist(), strict=True))
    kept = dict(zip(clips.column("clip_id").to_pylist(), clips.column("kept").to_pylist(), strict=True))
    rejected = [item for item in plan.items if item.side == "rejected"]
    assert not any(kept[item.clip_id] for item in rejected)
    assert len(rejected) == -(-plan.n // 5)
    near = [item for item in rejected if miss[item.clip_id] <= 0.25]
    assert 0.6 < len(near) / len(rejected) < 0.7
    assert near[0].inclusion > 5 * next(i for i in rejected if miss[i.clip_id] > 0.25).inclusion
    assert all(item.stratum == "" for item in rejected)


def test_faults_are_planted_in_other_clips_of_a_high_score() -> None:
    clips = population(8_000)
    plan = draw(clips, Settings("pretrain", "540p"), {})
    rows = {row["clip_id"]: row for row in clips.to_pylist()}
    planted = [item for item in plan.items if item.planted is not None]
    assert len(planted) == -(-plan.n // 10)
    assert not {item.clip_id for item in planted} & set(sample(plan))
    middle = np.median([row["score"] for row in rows.values() if row["kept"]])
    for item in planted:
        assert rows[item.clip_id]["kept"]
        assert rows[item.clip_id]["score"] >= middle
        assert item.planted is not None
        assert 0.25 <= item.planted.at <= 0.75
        donor = rows.get(item.planted.donor or "")
        if rows[item.clip_id]["still"]:
            assert item.planted.kind in ("logo", "wrong_caption")
        if item.planted.kind == "wrong_caption":
            assert donor is not None
            assert donor["concept"] != rows[item.clip_id]["concept"]
        elif item.planted.kind == "cut_inside":
            assert donor is not None
            assert donor["video_id"] != rows[item.clip_id]["video_id"]
            assert not donor["still"]
        else:
            assert donor is None
    assert {item.planted.kind for item in planted if item.planted} == set(PLANTS["pretrain"])


def test_where_no_other_clip_can_give_a_fault_another_is_planted() -> None:
    """One video, no captions: no cut to another film, no wrong caption."""
    clips = population(400, kept=1.0)
    clips = clips.set_column(1, POPULATION.field("video_id"), pa.array(["one"] * 400))
    clips = clips.set_column(7, POPULATION.field("concept"), pa.nulls(400, pa.string()))
    kinds = {item.planted.kind for item in draw(clips, Settings("pretrain", "x"), {}).items if item.planted}
    assert kinds == {"black_run", "logo"}
    assert not any(item.planted for item in draw(clips, Settings("segmentation"), {}).items)


def test_order_and_double_reading_say_nothing_about_an_item() -> None:
    plan = draw(population(12_000), Settings("posttrain", "sft"), {})
    place = {item.item_id: number for number, item in enumerate(plan.items)}
    middle = len(plan.items) / 2
    for some in (
        [item for item in plan.items if item.planted],
        [item for item in plan.items if item.side == "rejected"],
        [item for item in plan.items if item.double],
    ):
        assert abs(np.mean([place[item.item_id] for item in some]) - middle) < len(plan.items) / 6
    doubles = sum(item.double for item in plan.items) / len(plan.items)
    assert 0.14 < doubles < 0.26
    assert any(item.double for item in plan.items if item.planted)


def test_a_pool_of_one_clip_can_be_reviewed() -> None:
    plan = draw(population(1, kept=1.0), Settings("pretrain", "x"), {})
    assert [item.clip_id for item in plan.items if item.planted is None] == [f"{0:020x}"]
