"""The balance of a run: what stays, what is said of it, and what the report shows."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from balance.concepts import Unmapped
from balance.resample import BALANCED, Label
from balance.settings import Axis, Balance
from jobs import chain
from jobs.account import funnel
from jobs.balance_view import bars, labels_of, spread, together
from jobs.balancing import Outcome, as_json, lines, outcome, unmapped_lines, unreached
from jobs.config import ConfigError
from jobs.gather import Gather
from jobs.pools import NO_BUCKET, Pools
from jobs.report import render
from jobs.run import NotReady
from jobs.shards import Shards
from pipeline.recipe import RecipeError

SOURCES = """
[balance]
repeat = {repeat}
[balance.axis.source]
cap = 0.4
[balance.axis.duration_s]
edges = [0.5, 1.7]
[balance.axis.bucket]
"""


def balanced(whole: tuple[Any, Path], tmp_path: Path, text: str, frame_counts: str = "[1, 17]") -> Any:
    """The run `whole` with this `[balance]` in its recipe, balanced."""
    small, done = whole
    shutil.copytree(done, tmp_path / "run")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(small.recipe.read_text().replace("[1, 17]", frame_counts) + text)
    run = small.run(tmp_path / "run", recipes=[str(recipe)])
    assert chain.step(run, "balance") == 0
    return run


def test_a_run_is_balanced_by_its_sources(whole: tuple[Any, Path], tmp_path: Path) -> None:
    run = balanced(whole, tmp_path, SOURCES.format(repeat=1.0))
    pools = Pools(run)
    (recipe,) = pools.recipes
    table = pools.balanced(recipe)
    assert table.schema == BALANCED
    found = outcome(pools, recipe)
    assert (found.before, found.after, found.copies) == (4, 3, 3)
    # b.mp4 has two of the four clips, and may have two fifths.
    assert [(Path(label.name).name, label.before, label.after) for label in found.axes[0].labels] == [
        ("b.mp4", 2, 1),
        ("a.mp4", 1, 1),
        ("c.png", 1, 1),
    ]
    assert [axis.name for axis in found.axes] == ["source", "duration_s", "bucket"]
    assert {label.name for label in found.axes[1].labels} == {
        "0: under 0.5",
        "1: 0.5 to 1.7",
        "2: 1.7 and more",
    }
    ((why, clips),) = found.dropped
    assert why.startswith("source: ")
    assert why.endswith("b.mp4")
    assert clips == 1
    assert pools.copies(recipe) is None
    kept = pools.verdicts(recipe).column("kept").to_numpy(zero_copy_only=False)
    assert pools.staying(recipe, kept).sum() == 3
    said = whole[0].said[-1].getvalue()
    assert "tiny: 3 of 4 clips stay" in said
    assert "at most  40.00%" in said
    again = Pools(whole[0].run(tmp_path / "run", recipes=[str(tmp_path / "tiny.toml")]))
    again.balance(recipe)
    assert not again.run.did


def test_repeated_clips_say_so_in_the_shards(whole: tuple[Any, Path], tmp_path: Path) -> None:
    text = "[balance]\nrepeat = 3.0\n[balance.axis.is_image]\nshares = { true = 0.5 }\n"
    run = balanced(whole, tmp_path, text)
    pools = Pools(run)
    (recipe,) = pools.recipes
    assert pools.copies(recipe).sum() == 6
    cuts = [cut for unit in Shards(pools).plan(recipe).units for cut in unit.cuts]
    assert sorted(dict(cut.scores)["copies"] for cut in cuts) == [1.0, 1.0, 1.0, 3.0]
    assert "6 with repeats" in whole[0].said[-1].getvalue()


def test_a_pool_that_keeps_nothing_is_balanced_and_shown(whole: tuple[Any, Path], tmp_path: Path) -> None:
    small, done = whole
    shutil.copytree(done, tmp_path / "run")
    recipe = tmp_path / "tiny.toml"
    text = small.recipe.read_text().replace("duplicate_rank = { max = 0 }", "fps = { min = 999 }")
    recipe.write_text(text + SOURCES.format(repeat=1.0))
    run = small.run(tmp_path / "run", recipes=[str(recipe)])
    chain.do(run, "select")
    assert chain.step(run, "balance") == 3  # nothing is kept
    (view,) = Gather(chain.account_of(run)).data().balances
    assert (view.outcome.before, view.outcome.after, view.together) == (0, 0, ())
    assert [axis.labels for axis in view.axes] == [(), (), ()]


def test_a_pool_without_clips_has_labels_beside_its_own(whole: tuple[Any, Path]) -> None:
    """One that keeps nothing of clips with captions: the camera's labels are none, and still words."""
    small, done = whole
    texts, numbers = pa.array([], pa.string()), pa.array([], pa.float64())
    table = pa.table(
        {"duration_s": numbers, "aspect_ratio": numbers, "camera_motion": texts, "video_id": texts}
    )
    assert Gather(chain.account_of(small.run(done)))._beside(table) == ("camera", texts)


def test_what_no_shard_can_hold_is_not_weighed(whole: tuple[Any, Path], tmp_path: Path) -> None:
    run = balanced(whole, tmp_path, SOURCES.format(repeat=1.0), frame_counts="[17]")
    pools = Pools(run)
    (recipe,) = pools.recipes
    assert pools.balanced(recipe).column("why").to_pylist().count(NO_BUCKET) == 1  # the picture
    assert outcome(pools, recipe).before == 3


def test_the_report_shows_a_balance(whole: tuple[Any, Path], tmp_path: Path) -> None:
    run = balanced(whole, tmp_path, SOURCES.format(repeat=1.0))
    data = Gather(chain.account_of(run)).data()
    (view,) = data.balances
    assert [one.axis.name for one in view.axes] == ["source", "duration_s", "bucket"]
    assert [table.across for table in view.together] == ["duration_s", "bucket"]
    assert [sheet.title.split(": ")[0] for sheet in view.sheets] == ["Left out for source", "Kept"]
    assert [card.verdict for sheet in view.sheets for card in sheet.cards] == ["Balanced out", *["Kept"] * 3]
    assert all(card.images for sheet in view.sheets for card in sheet.cards)
    told = funnel(chain.account_of(run))["pools"]["tiny"]["balance"]
    assert (told["in"], told["kept"], list(told["axes"])) == (4, 3, ["source", "duration_s", "bucket"])
    short = replace(view, unreached=("not reached: source <b>",))
    assert "Not reached: source &lt;b&gt;." in render(replace(data, balances=(short,)))
    page = render(data)
    assert "How tiny was balanced" in page
    assert "Balanced out" in page


def result(*labels: Label, axis: Axis) -> Outcome:
    from balance.resample import axis_result

    found = axis_result(
        axis, {one.name: one.before for one in labels}, {one.name: one.after for one in labels}
    )
    before, after = sum(one.before for one in labels), sum(one.after for one in labels)
    return Outcome("pool", Balance((axis,)), before, after, after, (found,), (("concept: Human", 50),))


def test_what_is_not_reached_is_said_with_its_count() -> None:
    axis = Axis("concept", shares={"Human": 0.5, "Animal": 0.5})
    found = result(Label("Human", 900, 70, None, 0), Label("Animal", 30, 30, None, 0), axis=axis)
    assert unreached(found) == [
        "not reached: at this volume the pool needs 20 more of concept Animal, in the place of others"
    ]
    assert lines(found) == [
        "pool: 100 of 930 clips stay",
        "  concept",
        "    Human    96.77% ->  70.00%  900 -> 70               wanted  50.00%",
        "    Animal    3.23% ->  30.00%  30 -> 30                wanted  50.00%  20 missing",
        "  not reached: at this volume the pool needs 20 more of concept Animal, in the place of others",
    ]


def test_shares_that_so_few_clips_cannot_have_are_not_asked_for_one_by_one() -> None:
    axis = Axis("concept", shares={"Human": 0.6, "Animal": 0.2, "Food": 0.1, "Plant": 0.1})
    one = result(Label("Human", 2, 1, None, 0), axis=axis)
    assert unreached(one) == [
        "not reached: 1 clip is too few for the shares of concept: none or too little of Animal, Food, Plant"
    ]
    four = result(Label("Human", 4, 4, None, 0), axis=axis)
    assert unreached(four)[0].startswith(
        "not reached: at this volume the pool needs 1 more of concept Animal, "
    )


def test_ceilings_that_cannot_be_kept_are_said_with_what_would_mend_them() -> None:
    films = [Label(f"s{i:02d}", 100, 100, None, 0) for i in range(23)]
    found = result(*films, axis=Axis("source", cap=0.02))
    assert unreached(found) == [
        "not reached: source " + ", ".join(film.name for film in films[:6]) + " and 17 more above their most;"
        " at this volume the pool needs 2,700 more clips of other labels"
    ]
    assert lines(found)[2] == "    s00       4.35% ->   4.35%  100 -> 100             at most   2.00%  above"
    axis = Axis("concept", caps={"Human": 0.553})
    alone = result(Label("Human", 1_000, 1_000, None, 0), axis=axis)
    assert unreached(alone) == [
        "not reached: concept Human above its most; at this volume the pool needs 809 more clips of other labels"
    ]
    assert as_json(alone)["axes"]["concept"]["Human"]["others_missing"] == 809
    assert unreached(result(Label("Human", 9, 1, None, 0), Label("Food", 1, 1, None, 0), axis=axis)) == []


def test_what_is_wanted_and_goes_altogether_is_said() -> None:
    counts = (("Human", 10, 7), ("Animal", 3, 0), ("Food", 2, 0), ("Plant", 2, 0))
    labels = tuple(Label(*count, None, 0) for count in counts)
    found = result(*labels, axis=Axis("concept", shares={"Human": 0.9, "Animal": 0.085}))
    assert unreached(found) == ["gone altogether: concept Animal (3 clips)"]
    assert unreached(result(*labels, axis=Axis("concept", caps={"Human": 1.0, "Animal": 0.1}))) == []
    assert unreached(result(*labels, axis=Axis("concept", reference={"Human": 1}))) == []


def test_a_long_list_of_what_is_missing_is_cut() -> None:
    shares = {f"k{i:02d}": 0.02 for i in range(25)}
    found = result(Label("Human", 1_000, 1_000, None, 0), axis=Axis("kind", shares=shares))
    (said,) = unreached(found)
    assert said.count("20 more of kind k") == 6
    assert said.endswith("20 more of kind k05 and 19 more, in the place of others")


def test_programs_read_the_same() -> None:
    axis = Axis("concept", shares={"Human": 0.5, "Animal": 0.5})
    found = result(Label("Human", 900, 70, None, 0), Label("Animal", 30, 30, None, 0), axis=axis)
    assert as_json(found) == {
        "in": 930,
        "kept": 100,
        "with_repeats": 100,
        "axes": {
            "concept": {
                "Human": {"before": 900, "after": 70, "wanted": 0.5},
                "Animal": {"before": 30, "after": 30, "wanted": 0.5, "missing": 20},
            }
        },
        "left_out": {"concept: Human": 50},
    }


def test_many_labels_are_shortened() -> None:
    found = result(
        *(Label(f"film {i:02d}", 100 - i, 10, None, 0) for i in range(40)), axis=Axis("source", cap=0.5)
    )
    drawn = bars(found.axes[0])
    assert len(drawn.labels) == 13
    assert (drawn.labels[-1].name, drawn.labels[-1].after) == ("28 more", 280)
    assert sum(label.before for label in drawn.labels) == drawn.before == sum(100 - i for i in range(40))
    assert len(lines(found)) == 2 + 21


def test_what_goes_together_is_counted_before_and_after() -> None:
    down = pa.array(["Human", "Human", "Animal", "Human"])
    across = pa.array([f"m{i}" for i in (1, 1, 2, 2)])
    found = together(("concept", down), ("motion", across), np.array([1, 0, 2, 0], np.int8))
    assert (found.rows, found.columns) == (("Human", "Animal"), ("m1", "m2"))
    assert found.before == ((2, 1), (0, 1))
    assert found.after == ((1, 0), (0, 2))
    assert found.darkest == pytest.approx(2 / 3)
    many = together(("a", down), ("b", pa.array(["x", "y", "z", "w"])), np.ones(4, np.int8))
    assert many.columns == ("w", "x", "y", "z")
    wide = pa.array([f"{i:02d}" for i in range(12)])
    cut = together(("a", wide), ("source", wide), np.ones(12, np.int8))
    assert cut.columns == (*(f"{i:02d}" for i in range(7)), "5 more")
    assert cut.before[7][7] == 5


def test_examples_are_spread_over_the_table() -> None:
    assert spread(np.arange(100)).tolist() == [0, 33, 66, 99]
    assert spread(np.arange(2)).tolist() == [0, 1]
    assert spread(np.zeros(0, np.int64)).tolist() == []


def test_labels_of_a_card() -> None:
    found = result(Label("Human", 1, 1, None, 0), axis=Axis("concept", cap=1.0))
    assert labels_of(["Human"], found) == "concept Human"


def test_without_captions_there_are_no_words_to_list(whole: tuple[Any, Path]) -> None:
    small, done = whole
    with pytest.raises(NotReady, match="this run has no captions"):
        chain.unmapped(small.run(done))


def test_words_that_the_taxonomy_lacks_are_listed_by_frequency() -> None:
    found = Counter({Unmapped("Blob", "", "Unknown"): 2, Unmapped("Human", "Astronaut", "Human"): 1_200})
    said = unmapped_lines(found)
    assert [line.split() for line in said] == [
        ["clips", "type", "sub_type", "taken", "for"],
        ["1,200", "Human", "Astronaut", "Human"],
        ["2", "Blob", "Unknown"],
    ]
    many = Counter({Unmapped("Human", f"x{i}", "Human"): 1 for i in range(103)})
    assert unmapped_lines(many)[-1].split() == ["3", "in", "3", "more", "pairs", "of", "words"]
    guess = Counter({Unmapped("Human", "Young woman", "Human > Woman", True): 7})
    assert [line.split()[0] for line in unmapped_lines(found + guess)[1:]] == ["1,200", "2", "known", "7"]
    assert "nothing is unknown" in unmapped_lines(guess)[1]
    assert unmapped_lines(Counter()) == ["the taxonomy has every word of the captions' main subjects"]


def test_a_taxonomy_of_ones_own_is_used_and_checked_before_any_work(small: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[Robots]\nalso = ['Droid']\n")
    pools = Pools(small.run(tmp_path / "run", concepts=str(tmp_path / "mine.toml")))
    assert pools.concepts.concept_of("Droid", None) == "Robots"
    (tmp_path / "mine.toml").write_text("[Robots\n")
    with pytest.raises(ConfigError, match=r"concepts: .*mine\.toml: it is not TOML"):
        small.run(tmp_path / "run", concepts=str(tmp_path / "mine.toml"))
    small.recipe.write_text(small.recipe.read_text() + "[balance.axis.bucket]\ncap = 50\n")
    with pytest.raises(RecipeError, match=r"tiny\.toml: balance: bucket: cap is 50"):
        small.run(tmp_path / "run")
