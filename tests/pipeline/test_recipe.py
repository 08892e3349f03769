from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filters import STAGES
from filters.dedup import DUPLICATES
from pipeline.recipe import RECIPES, Explained, Origin, RecipeError, Rule, check, explain, judge, load

WIDE = """
about = "Wide"
[keep]
a = { max = 0.5 }
[keep.video]
b = { min = 1, max = 3 }
[keep.image]
c = { equals = "png" }
[shard]
resolution = "256p"
frame_counts = [1, 17]
"""
NARROW = """
from = "wide"
[keep]
a = { max = 0.25 }
d = { in = [1, 2] }
e = { not_null = true }
[shard]
resolution = "540p"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wide.toml").write_text(WIDE)
    (tmp_path / "narrow.toml").write_text(NARROW)
    return tmp_path


def table(**columns):
    rows = len(next(iter(columns.values())))
    filled = {
        "clip_id": [f"clip{i}" for i in range(rows)],
        "is_image": [False] * rows,
        "a": [0.0] * rows,
        "b": [2.0] * rows,
        "c": ["png"] * rows,
        "d": [1] * rows,
        "e": ["x"] * rows,
        **columns,
    }
    return pa.table(filled)


def failed(recipe, **columns):
    return judge(recipe, table(**columns)).column("failed").to_pylist()


def test_a_recipe_is_read_with_its_parents(folder):
    recipe = load("narrow", [folder])
    assert [pool.name for pool in recipe.pools] == ["wide", "narrow"]
    assert [(rule.name, rule.threshold) for rule in recipe.rules] == [
        ("wide.a", "max 0.5"),
        ("wide.image.c", 'equals "png"'),
        ("wide.video.b", "min 1, max 3"),
        ("narrow.a", "max 0.25"),
        ("narrow.d", "in 1, 2"),
        ("narrow.e", "not null"),
    ]
    assert recipe.columns == ("is_image", "a", "c", "b", "d", "e")
    assert recipe.buckets.resolution == "540p"
    assert recipe.buckets.frame_counts == (1, 17)
    assert recipe.parent is not None
    assert recipe.parent.about == "Wide"


def test_a_verdict_names_every_failed_rule_of_every_pool(folder):
    recipe = load("narrow", [folder])
    verdicts = judge(recipe, table(a=[0.1, 0.3, 0.6, 0.25], d=[1, 1, 3, 2]))
    assert verdicts.to_pylist() == [
        {"clip_id": "clip0", "kept": True, "failed": []},
        {"clip_id": "clip1", "kept": False, "failed": ["narrow.a"]},
        {"clip_id": "clip2", "kept": False, "failed": ["wide.a", "narrow.a", "narrow.d"]},
        {"clip_id": "clip3", "kept": True, "failed": []},
    ]


def test_a_null_and_a_nan_pass_no_rule(folder):
    recipe = load("narrow", [folder])
    nothing = {name: pa.array([None, None]) for name in "abcde"}
    names = ["wide.a", "wide.image.c", "wide.video.b", "narrow.a", "narrow.d", "narrow.e"]
    assert failed(recipe, is_image=pa.array([None, None], pa.bool_()), **nothing) == [names, names]
    assert failed(recipe, a=[math.nan, None]) == [["wide.a", "narrow.a"]] * 2
    (folder / "there.toml").write_text("[keep]\na = { not_null = true }")
    assert failed(load("there", [folder]), a=[math.nan, None, -math.inf]) == [["there.a"], ["there.a"], []]


def test_rules_for_images_or_videos_alone(folder):
    recipe = load("wide", [folder])
    assert failed(recipe, is_image=[True, False, None], b=[9, 9, 9], c=["gif", "gif", "gif"]) == [
        ["wide.image.c"],
        ["wide.video.b"],
        ["wide.image.c", "wide.video.b"],
    ]


def test_bounds_are_inclusive_in_the_columns_own_precision(tmp_path):
    (tmp_path / "r.toml").write_text("[keep]\na = { min = 0.1, max = 0.2 }")
    recipe = load("r", [tmp_path])
    single = pa.array(np.array([0.1, 0.2, 0.0999, 0.2001], np.float32))
    assert failed(recipe, a=single) == [[], [], ["r.a"], ["r.a"]]
    assert failed(recipe, a=[0.1, 0.2, math.nextafter(0.1, 0), math.nextafter(0.2, 1)]) == [
        [],
        [],
        ["r.a"],
        ["r.a"],
    ]


@pytest.mark.parametrize(
    ("rule", "values", "passing"),
    [
        ("{ equals = true }", [True, False, None], [0]),
        ("{ equals = false }", [True, False, None], [1]),
        ("{ equals = 2 }", [1, 2, None], [1]),
        ("{ equals = 2 }", [2.0, 2.5, None], [0]),
        ("{ equals = 'x' }", ["x", "y", None], [0]),
        ("{ equals = 'x' }", pa.array(["x", "y", None]).dictionary_encode(), [0]),
        ("{ equals = 'x' }", pa.array(["x", "y", None], pa.large_string()), [0]),
        ("{ in = ['x', 'z'] }", ["x", "y", "z"], [0, 2]),
        ("{ in = [1, 2.5] }", [1.0, 2.0, 2.5], [0, 2]),
        ("{ min = 1.5 }", [1, 2, 3], [1, 2]),
        ("{ max = 2 }", pa.array([1, 2, 3], pa.uint8()), [0, 1]),
        ("{ min = -1 }", pa.array([1, 2, 3], pa.uint64()), [0, 1, 2]),
        ("{ not_null = true }", [[1], None, []], None),
    ],
)
def test_operators_on_the_types_of_columns(tmp_path, rule, values, passing):
    (tmp_path / "r.toml").write_text(f"[keep]\na = {rule}")
    recipe = load("r", [tmp_path])
    if passing is None:
        with pytest.raises(RecipeError, match="rules are about single values"):
            failed(recipe, a=values)
    else:
        assert [i for i, rules in enumerate(failed(recipe, a=values)) if not rules] == passing


def test_an_empty_table_and_an_empty_recipe(tmp_path):
    (tmp_path / "all.toml").write_text("")
    assert judge(load("all", [tmp_path]), table(a=[1.0, 2.0])).column("kept").to_pylist() == [True, True]
    (tmp_path / "r.toml").write_text("[keep]\nnothing = { max = 1 }")
    assert judge(load("all", [tmp_path]), table(a=[1.0]).slice(0, 0)).num_rows == 0
    with pytest.raises(RecipeError, match="there is no column nothing"):
        judge(load("r", [tmp_path]), table(a=[1.0]).slice(0, 0))


def test_more_rows_than_a_step_in_any_chunks(folder):
    dice = np.random.default_rng(0)
    a, b = dice.random(600_000), dice.random(600_000) * 5
    recipe = load("wide", [folder])
    whole = table(a=a, b=b)
    pieces = pa.concat_tables([whole.slice(start, 77_777) for start in range(0, 600_000, 77_777)])
    verdicts = judge(recipe, pieces)
    assert verdicts.equals(judge(recipe, whole))
    kept = (a <= 0.5) & (b >= 1) & (b <= 3)
    assert np.array_equal(verdicts.column("kept").to_numpy(), kept)


rules = st.one_of(
    st.builds(lambda least: f"{{ min = {least} }}", st.integers(-2, 3)),
    st.builds(lambda most: f"{{ max = {most} }}", st.integers(-2, 3)),
    st.builds(lambda value: f"{{ equals = {value} }}", st.integers(-2, 3)),
    st.builds(lambda values: f"{{ in = {sorted(values)} }}", st.sets(st.integers(-2, 3), min_size=1)),
    st.just("{ not_null = true }"),
)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", ".image", ".video"]), rules), max_size=5),
    st.lists(
        st.tuples(*[st.one_of(st.none(), st.integers(-3, 4))] * 2, st.one_of(st.none(), st.booleans())),
        min_size=1,
        max_size=6,
    ),
)
def test_verdicts_agree_with_one_clip_at_a_time(tmp_path_factory, drawn, clips):
    written = {(section, column): rule for column, section, rule in drawn}
    text = "".join(f"[keep{s}]\n" + "".join(f"{c} = {r}\n" for (z, c), r in written.items() if z == s)
                   for s in ("", ".image", ".video"))  # fmt: skip
    path = tmp_path_factory.mktemp("recipes") / "r.toml"
    path.write_text(text)
    try:
        recipe = load(path)
    except RecipeError as error:
        assume("nothing can pass" not in str(error))
        raise
    a, b, kinds = (list(column) for column in zip(*clips, strict=True))
    found = failed(
        recipe, a=pa.array(a, pa.int64()), b=pa.array(b, pa.int64()), is_image=pa.array(kinds, pa.bool_())
    )
    for row, kind, rules_failed in zip(clips, kinds, found, strict=True):
        expected = [
            rule.name
            for rule in recipe.rules
            if not ((rule.applies == "image" and kind is False) or (rule.applies == "video" and kind is True))
            and not passes(rule, row["ab".index(rule.column)])
        ]
        assert rules_failed == expected


def passes(rule, value):
    if value is None:
        return False
    return (
        (rule.least is None or value >= rule.least)
        and (rule.most is None or value <= rule.most)
        and (rule.equals is None or value == rule.equals)
        and (not rule.among or value in rule.among)
    )


def test_explain_shows_value_stage_engine_and_threshold(folder):
    recipe = load("narrow", [folder])
    row = {"is_image": False, "a": 0.3, "b": None, "c": None, "d": 1, "e": "x", "other": 1}
    origin = Origin("stage", "12345678", "engine")
    assert explain(recipe, pa.Table.from_pylist([row]), {"a": origin}) == [
        Explained("wide.a", 0.3, origin, "max 0.5", True),
        Explained("wide.video.b", None, None, "min 1, max 3", False),
        Explained("narrow.a", 0.3, origin, "max 0.25", False),
        Explained("narrow.d", 1, None, "in 1, 2", True),
        Explained("narrow.e", "x", None, "not null", True),
    ]
    image = explain(recipe, pa.Table.from_pylist([{**row, "is_image": True, "c": "png"}]), {})
    assert [one.rule for one in image] == ["wide.a", "wide.image.c", "narrow.a", "narrow.d", "narrow.e"]
    unknown = explain(recipe, pa.Table.from_pylist([{**row, "is_image": None}]), {})
    assert [one.rule for one in unknown] == [rule.name for rule in recipe.rules]
    with pytest.raises(RecipeError, match="there is no column d"):
        explain(recipe, pa.Table.from_pylist([row]).drop_columns("d"), {})
    with pytest.raises(RecipeError, match="there is no column"):
        explain(recipe, pa.table({"other": [1]}), {})
    with pytest.raises(ValueError, match="one row"):
        explain(recipe, pa.Table.from_pylist([row, row]), {})


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("rule", ["{ max = 0.2 }", "{ min = 0.2 }", "{ equals = 0.2 }"])
def test_explain_and_judge_agree_at_the_threshold(tmp_path, kind, rule):
    (tmp_path / "r.toml").write_text(f"[keep]\na = {rule}\n")
    recipe = load("r", [tmp_path])
    table = pa.table({"clip_id": ["c"], "a": pa.array([0.2], pa.float64()).cast(kind)})
    assert judge(recipe, table).column("kept").to_pylist() == [True]
    (answer,) = explain(recipe, table, {})
    assert answer.passed


def test_the_fingerprint_covers_rules_and_nothing_else(folder):
    before = load("narrow", [folder]).fingerprint
    (folder / "wide.toml").write_text(WIDE.replace("256p", "360p") + "[balance]\ntemperature = 0.5")
    assert load("narrow", [folder]).fingerprint == before
    (folder / "wide.toml").write_text(WIDE.replace("max = 0.5", "max = 0.5000001"))
    assert load("narrow", [folder]).fingerprint != before


def test_the_fingerprint_tells_close_thresholds_apart():
    assert Rule("p", "a", most=0.1234567).threshold != Rule("p", "a", most=0.1234568).threshold


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("keeps = 1", "unknown key keeps; a recipe has about, from, crop, keep, shard, balance"),
        ("keep = 1", "keep: it must be a table"),
        ("from = 1", "from: it must be text"),
        ("about = []", "about: it must be text"),
        ("[keep]\na = 0.2", r"r\.a: a rule is a table of operators such as \{ max = 0.2 \}"),
        ("[keep]\na = {}", r"r\.a: a rule is a table of operators"),
        ("[keep]\nimage = 3", r"keep\.image: it is a table of rules"),
        ("[keep]\na = { most = 0.2 }", r"r\.a: unknown operator most; the operators are min, max, equals"),
        ("[keep]\na = { max = '0.2' }", r'r\.a: max is "0.2", not a number'),
        ("[keep]\na = { max = true }", r"r\.a: max is true, not a number"),
        ("[keep]\na = { max = nan }", r"r\.a: max is nan, which nothing can be compared with"),
        ("[keep]\na = { min = -inf }", r"r\.a: min is -inf, which nothing"),
        ("[keep]\na = { min = 2, max = 1.5 }", r"r\.a: min 2 is above max 1.5, so nothing can pass"),
        ("[keep]\na = { min = 2, equals = 3 }", r"r\.a: min and equals cannot stand in one rule"),
        ("[keep]\na = { equals = [1] }", r"r\.a: \[1\] is not a number, a text, true or false"),
        ("[keep]\na = { equals = nan }", r"r\.a: nan equals nothing"),
        ("[keep]\na = { equals = 1979-05-27 }", r"r\.a: 1979-05-27 is not a number"),
        ("[keep]\na = { in = [] }", r"r\.a: in needs a list of at least one value"),
        ("[keep]\na = { in = 3 }", r"r\.a: in needs a list"),
        ("[keep]\na = { in = [1, 'x'] }", r"r\.a: in mixes values of different types"),
        ("[keep]\na = { in = [1, true] }", r"r\.a: in mixes values of different types"),
        ("[keep]\na = { not_null = false }", r"r\.a: not_null is true or not there at all"),
        (
            "[keep]\na = { min = 2 }\n[keep.video]\na = { max = 1 }",
            r"r\.a: min 2 is above max 1 of r\.video\.a",
        ),
        ("[keep]\na = { max = 0.2 }\na = { max = 0.3 }", "it is not TOML: "),
        ("crop = 'all'", 'crop: it is "all", not one of none, border, clean'),
        ("crop = 1", "crop: it must be text"),
        ("[shard]\nresolution = 'big'", "shard: resolution is 'big'"),
        ("[shard]\ncrf = 18", "shard: unknown key crf"),
        ("from = 'nobody'", r"r\.toml: from: there is no recipe 'nobody'; there are .*\br\b"),
        ("from = 'r'", "from: the recipes refer to each other in a circle: r -> r"),
        ("from = './gone.toml'", r"gone\.toml: it cannot be read: No such file"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=sentence) as caught:
        load(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pool_crops_as_the_one_around_it(folder):
    assert load("wide", [folder]).crop == "border"
    (folder / "child.toml").write_text("from = 'wide'\ncrop = 'clean'")
    (folder / "grandchild.toml").write_text("from = 'child'")
    assert load("grandchild", [folder]).crop == "clean"
    assert load("child", [folder]).fingerprint == load("wide", [folder]).fingerprint


def test_rules_of_two_pools_that_leave_nothing(folder):
    (folder / "child.toml").write_text("from = 'wide'\n[keep]\nb = { min = 4 }")
    with pytest.raises(
        RecipeError, match=r"child\.b: min 4 is above max 3 of wide\.video\.b, so nothing can pass"
    ):
        load("child", [folder])
    (folder / "child.toml").write_text("from = 'wide'\n[keep.video]\nb = { min = 4 }")
    with pytest.raises(RecipeError, match=r"child\.video\.b: min 4 is above max 3 of wide\.video\.b"):
        load("child", [folder])
    # No clip is both an image and a video.
    (folder / "child.toml").write_text("from = 'wide'\n[keep.image]\nb = { min = 4 }")
    assert len(load("child", [folder]).rules) == 4


@pytest.mark.parametrize(
    ("parent", "child", "sentence"),
    [
        ("{ equals = 1 }", "{ equals = 2 }", r"base\.a: nothing of equals 1 passes equals 2 of child\.a, so"),
        (
            "{ equals = 5 }",
            "{ max = 4 }",
            r"base\.a: nothing of equals 5 passes max 4 of child\.a, so nothing",
        ),
        ("{ in = [1, 2] }", "{ min = 3 }", r"base\.a: nothing of in 1, 2 passes min 3 of child\.a"),
        (
            "{ in = ['x', 'y'] }",
            "{ equals = 'z' }",
            r'base\.a: nothing of in "x", "y" passes equals "z" of child\.a',
        ),
        ("{ in = ['x', 'y'] }", "{ in = ['z'] }", r"nothing of in .* passes in .*, so nothing can pass"),
        (
            "{ equals = true }",
            "{ equals = false }",
            r"nothing of equals true passes equals false of child\.a",
        ),
        ("{ in = [1, 5] }", "{ min = 2, max = 4 }", r"nothing of in 1, 5 passes min 2, max 4 of child\.a"),
        ("{ equals = 5 }", "{ not_null = true }", None),
        ("{ in = [1, 2] }", "{ in = [2, 3] }", None),
        ("{ in = [1, 5] }", "{ min = 2 }", None),
    ],
)
def test_rules_of_values_that_leave_nothing(tmp_path, parent, child, sentence):
    (tmp_path / "base.toml").write_text(f"[keep]\na = {parent}\n")
    (tmp_path / "child.toml").write_text(f"from = 'base'\n[keep]\na = {child}\n")
    if sentence is None:
        assert len(load("child", [tmp_path]).rules) == 2
        return
    with pytest.raises(RecipeError, match=sentence):
        load("child", [tmp_path])


def test_values_that_each_rule_leaves_and_all_together_do_not(tmp_path):
    (tmp_path / "a.toml").write_text("[keep]\nx = { in = [1, 5] }\n")
    (tmp_path / "b.toml").write_text("from = 'a'\n[keep]\nx = { min = 2 }\n")
    (tmp_path / "c.toml").write_text("from = 'b'\n[keep.video]\nx = { max = 4 }\n")
    with pytest.raises(RecipeError, match=r"a\.x: nothing of in 1, 5 passes .* b\.x .* c\.video\.x"):
        load("c", [tmp_path])
    # What one kind must be says nothing of the other.
    (tmp_path / "c.toml").write_text("[keep.image]\nx = { equals = 1 }\n[keep.video]\nx = { equals = 2 }\n")
    assert len(load("c", [tmp_path]).rules) == 2


def test_a_circle_of_recipes(tmp_path):
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.toml").write_text(f"from = '{parent}'")
    with pytest.raises(RecipeError, match="in a circle: a -> b -> c -> a"):
        load("a", [tmp_path])


def test_where_recipes_are_looked_up(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "mine.toml").write_text("from = 'wide'\n[keep]\nz = { min = 1 }")
    assert [pool.name for pool in load(other / "mine.toml", [folder]).pools] == ["wide", "mine"]
    (other / "wide.toml").write_text("[keep]\nbeside = { min = 1 }")
    assert [rule.name for rule in load(other / "mine.toml", [folder]).rules] == ["wide.beside", "mine.z"]
    with pytest.raises(RecipeError, match="recipe: there is no recipe 'nobody'; there are narrow, wide"):
        load("nobody", [folder])
    with pytest.raises(RecipeError, match=r"gone\.toml: it cannot be read: No such file"):
        load(folder / "gone.toml")
    (folder / "dir.toml").mkdir()
    with pytest.raises(RecipeError, match="it cannot be read: Is a directory"):
        load(folder / "dir.toml")


def test_two_pools_of_one_name_are_refused(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "wide.toml").write_text(f"from = '{folder}/wide.toml'")
    with pytest.raises(RecipeError, match="from: a pool around it is called wide too"):
        load(other / "wide.toml")


@pytest.mark.parametrize("name", ["a.b.toml", "-a.toml", "a b.toml"])
def test_a_pools_name_fits_into_paths(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(RecipeError, match="only letters, digits, _ and - go in it"):
        load(tmp_path / name)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="it is not UTF-8 text"):
        load("r", [tmp_path])


@pytest.mark.parametrize(
    ("rule", "values", "sentence"),
    [
        (
            "blak_ratio = { max = 1 }",
            [1.0],
            r"r\.blak_ratio: there is no column blak_ratio; did you mean black_ratio",
        ),
        ("zzz = { max = 1 }", [1.0], "there is no column zzz; has its stage run"),
        ("black_ratio = { max = 1 }", ["x"], "min and max compare numbers, and black_ratio is string"),
        ("black_ratio = { max = 1 }", [True], "min and max compare numbers, and black_ratio is bool"),
        (
            "black_ratio = { equals = true }",
            [1.0],
            "true cannot equal a value of black_ratio, which is double",
        ),
        ("black_ratio = { equals = 'x' }", [1.0], '"x" cannot equal a value of black_ratio, which is double'),
        ("black_ratio = { in = [1, 2] }", [True], "1 cannot equal a value of black_ratio, which is bool"),
    ],
)
def test_a_rule_that_does_not_fit_the_table(tmp_path, rule, values, sentence):
    (tmp_path / "r.toml").write_text(f"[keep]\n{rule}")
    with pytest.raises(RecipeError, match=sentence) as caught:
        judge(load("r", [tmp_path]), pa.table({"clip_id": ["x"], "black_ratio": values}))
    assert str(caught.value).startswith(str(tmp_path / "r.toml"))


def test_is_image_must_be_true_or_false(folder):
    with pytest.raises(RecipeError, match=r"wide\.image\.c: is_image is int64, not true or false"):
        failed(load("wide", [folder]), is_image=[1, 0])


KNOWN = pa.schema(
    [
        *[pa.field(name, pa.float64()) for name in ("duration_s", "fps", "aspect_ratio")],
        *[pa.field(name, pa.int32()) for name in ("width", "height", "short_side_px", "long_side_px")],
        *[pa.field(name, pa.bool_()) for name in ("is_image", "vfr", "hdr", "interlaced")],
        *[pa.field(name, pa.int32()) for name in ("bit_depth", "audio_streams")],
        *[field for field in DUPLICATES if field.name != "clip_id"],
        *[field for stage in STAGES for field in stage.columns],
    ]
)


@pytest.mark.parametrize("name", ["256p", "360p", "540p", "sft_540p", "sft_720p"])
def test_the_packaged_recipes_fit_what_the_stages_write(name):
    recipe = load(name)
    check(recipe, KNOWN)
    assert recipe.about
    assert recipe.rules
    assert recipe.buckets.resolution == f"{name.removeprefix('sft_')}"


def test_the_packaged_pools_are_nested():
    assert [pool.name for pool in load("sft_720p").pools] == ["256p", "360p", "540p", "sft_540p", "sft_720p"]


def test_every_packaged_threshold_says_where_it_is_from():
    for path in sorted(RECIPES.glob("*p.toml")):
        lines = path.read_text().splitlines()
        for line in (line for line in lines if "= {" in line and not line.startswith("shares")):
            assert "  #" in line, f"{path.name}: {line}"


def test_the_example_of_the_docs_is_a_recipe(tmp_path):
    page = (RECIPES.parent / "docs" / "recipes.md").read_text()
    (tmp_path / "example.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    recipe = load("example", [tmp_path, RECIPES])
    check(recipe, KNOWN)
    assert [rule.name for rule in recipe.own] == [
        "example.text_area_ratio",
        "example.duration_s",
        "example.is_image",
        "example.video.motion_score",
    ]
