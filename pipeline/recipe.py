"""Recipes: a pool's thresholds as TOML, and the verdict that they give over a table of measurements.

    from = "256p"                       # this pool is a part of that one: its rules hold here too
    crop = "clean"                      # what its shards cut away: "none", "border" or "clean"
    [keep]                              # one rule a line
    black_ratio = { max = 0.2 }
    [keep.video]                        # rules for videos alone; [keep.image] for images alone
    static_ratio = { max = 0.5 }

Operators: `min`, `max` (both may stand in one rule, both inclusive), `equals`, `in`, `not_null`. A null (the
stage failed, or has not measured this clip) never passes a rule, whatever the operator.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.buckets import Buckets, buckets_from
from pipeline.stage import fingerprint

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
"""Where the recipes of this project lie."""
KEYS = ("about", "from", "crop", "keep", "shard", "balance")
CROPS = ("none", "border", "clean")
"""What the shards of a pool cut away: nothing, the bars, or subtitles and logos too."""
OPERATORS = ("min", "max", "equals", "in", "not_null")
ROWS_A_STEP = 1 << 18
"""Rows judged at once: bounds memory to a few MiB a rule."""

Applies = Literal["all", "image", "video"]
Value = bool | int | float | str

VERDICTS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("kept", pa.bool_()),
        pa.field("failed", pa.list_(pa.string())),  # every rule that failed, in the order of the rules
    ]
)


class RecipeError(ValueError):
    """One sentence that names the file, the rule and what is wrong with it."""


@dataclass(frozen=True)
class Rule:
    """One line of a recipe: what a column's value must be."""

    pool: str
    column: str
    applies: Applies = "all"
    least: float | None = None
    most: float | None = None
    equals: Value | None = None
    among: tuple[Value, ...] = ()
    not_null: bool = False

    @property
    def name(self) -> str:
        """`256p.black_ratio`, or `256p.video.static_ratio` where it holds for videos alone."""
        return ".".join(
            (self.pool, self.column) if self.applies == "all" else (self.pool, self.applies, self.column)
        )

    @property
    def values(self) -> tuple[Value, ...]:
        """The only values that pass; empty where the rule names none."""
        return self.among if self.equals is None else (self.equals,)

    @property
    def threshold(self) -> str:
        """The operators as written: `min 2, max 60`."""
        parts = [f"min {_text(self.least)}"] if self.least is not None else []
        parts += [f"max {_text(self.most)}"] if self.most is not None else []
        parts += [f"equals {_text(self.equals)}"] if self.equals is not None else []
        parts += [f"in {', '.join(map(_text, self.among))}"] if self.among else []
        parts += ["not null"] if self.not_null else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Recipe:
    """A pool's rules on top of those of the pool that it is a part of."""

    name: str
    path: Path
    own: tuple[Rule, ...]
    parent: Recipe | None = None
    about: str = ""
    shard: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `[shard]`, the parents' under its own: see `buckets`."""
    balance: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `[balance]`, not inherited: checked by balance.resample."""
    crop: str = "border"
    """One of CROPS; a pool has its parent's unless it says otherwise."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the widest pool first, its own last."""
        return (self.parent.rules if self.parent else ()) + self.own

    @property
    def pools(self) -> tuple[Recipe, ...]:
        """This pool and those around it, the widest first."""
        return (*(self.parent.pools if self.parent else ()), self)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its rules read, each once: what to project a table to."""
        typed = ("is_image",) if any(rule.applies != "all" for rule in self.rules) else ()
        return tuple(dict.fromkeys((*typed, *(rule.column for rule in self.rules))))

    @property
    def buckets(self) -> Buckets:
        return buckets_from(self.shard)

    @property
    def fingerprint(self) -> str:
        """8 hex digits over all that decides a verdict; `crop`, `[shard]` and `[balance]` are not in it."""
        return fingerprint("verdict", 1, [(rule.name, rule.threshold) for rule in self.rules])


def load(name_or_path: str | Path, search: Sequence[Path] = (RECIPES,)) -> Recipe:
    """The recipe of this name (looked up in the folders of `search`) or path (ends in .toml), with parents.

    A parent is looked up beside the file first, then in `search`. RecipeError says what is wrong.
    """
    return _load(name_or_path, tuple(search), ())


def _load(name_or_path: str | Path, search: tuple[Path, ...], seen: tuple[Path, ...]) -> Recipe:
    path = _find(name_or_path, search, seen[-1] if seen else None).resolve()
    if path in seen:
        chain = " -> ".join(item.stem for item in (*seen, path))
        raise RecipeError(f"{seen[0]}: from: the recipes refer to each other in a circle: {chain}.")
    document = _read(path)
    unknown = sorted(set(document) - set(KEYS))
    if unknown:
        raise RecipeError(f"{path}: unknown key {unknown[0]}; a recipe has {', '.join(KEYS)}.")
    texts, tables = ("about", "from", "crop"), ("keep", "shard", "balance")
    for key, kind in (*((key, str) for key in texts), *((key, dict) for key in tables)):
        if not isinstance(document.get(key, kind()), kind):
            raise RecipeError(f"{path}: {key}: it must be {'text' if kind is str else 'a table'}.")
    parent = _load(document["from"], search, (*seen, path)) if "from" in document else None
    if parent and path.stem in [pool.name for pool in parent.pools]:
        raise RecipeError(f"{path}: from: a pool around it is called {path.stem} too.")
    recipe = Recipe(
        name=path.stem,
        path=path,
        own=tuple(_rules(path, document.get("keep", {}))),
        parent=parent,
        about=document.get("about", ""),
        shard={**(parent.shard if parent else {}), **document.get("shard", {})},
        balance=document.get("balance", {}),
        crop=document.get("crop", parent.crop if parent else "border"),
    )
    if recipe.crop not in CROPS:
        raise RecipeError(f"{path}: crop: it is {_text(recipe.crop)}, not one of {', '.join(CROPS)}.")
    try:
        buckets_from(recipe.shard)
    except ValueError as error:
        raise RecipeError(f"{path}: shard: {error}.") from None
    _check_possible(recipe)
    return recipe


def _find(name_or_path: str | Path, search: tuple[Path, ...], child: Path | None) -> Path:
    """The file that is meant; `child` is the recipe whose `from` names it."""
    if str(name_or_path).endswith(".toml"):
        return (child.parent if child else Path()) / name_or_path
    folders = ((child.parent,) if child else ()) + search
    for folder in folders:
        if (folder / f"{name_or_path}.toml").is_file():
            return folder / f"{name_or_path}.toml"
    known = sorted(
        {file.stem for folder in folders for file in folder.glob("*.toml") if _is_recipe_name(file.stem)}
    )
    where = f"{child}: from" if child else "recipe"
    raise RecipeError(
        f"{where}: there is no recipe {name_or_path!r}; there are {', '.join(known) or 'none'}."
    )


def _is_recipe_name(stem: str) -> bool:
    return stem != "concepts"  # the taxonomy lies beside the recipes


def _read(path: Path) -> dict[str, Any]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem):
        raise RecipeError(
            f"{path}: the pool takes its name from the file, so only letters, digits, _ and - go in it."
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: it cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: it is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: it is not TOML: {error}.") from None


def _rules(path: Path, keep: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules of `[keep]`, then those of `[keep.image]` and `[keep.video]`, in the order written."""
    tables: tuple[Applies, ...] = ("image", "video")
    for column, body in keep.items():
        if column not in tables:
            yield _rule(path, column, "all", body)
    for applies in tables:
        body = keep.get(applies, {})
        if not isinstance(body, dict):
            raise RecipeError(f"{path}: keep.{applies}: it is a table of rules, not one rule.")
        for column, rule in body.items():
            yield _rule(path, column, applies, rule)


def _rule(path: Path, column: str, applies: Applies, body: Any) -> Rule:
    name = Rule(path.stem, column, applies).name

    def refuse(why: str) -> RecipeError:
        return RecipeError(f"{path}: {name}: {why}.")

    if not isinstance(body, dict) or not body:
        raise refuse("a rule is a table of operators such as { max = 0.2 }")
    unknown = [key for key in body if key not in OPERATORS]
    if unknown:
        raise refuse(f"unknown operator {unknown[0]}; the operators are {', '.join(OPERATORS)}")
    if len(body) > 1 and set(body) != {"min", "max"}:
        raise refuse(f"{' and '.join(body)} cannot stand in one rule; only min and max can")
    for key in ("min", "max"):
        value = body.get(key, 0)
        if type(value) not in (int, float):
            raise refuse(f"{key} is {_text(value)}, not a number")
        if not math.isfinite(value):
            raise refuse(f"{key} is {value}, which nothing can be compared with")
    if "min" in body and "max" in body and body["min"] > body["max"]:
        raise refuse(f"min {_text(body['min'])} is above max {_text(body['max'])}, so nothing can pass")
    if "not_null" in body and body["not_null"] is not True:
        raise refuse("not_null is true or not there at all")
    among = body.get("in", [None])
    if not isinstance(among, list) or not among:
        raise refuse("in needs a list of at least one value")
    values = ([body["equals"]] if "equals" in body else []) + (among if "in" in body else [])
    for value in values:
        if type(value) not in (bool, int, float, str):
            raise refuse(f"{_text(value)} is not a number, a text, true or false")
        if isinstance(value, float) and not math.isfinite(value):
            raise refuse(f"{value} equals nothing")
    if len({isinstance(value, str) + 2 * isinstance(value, bool) for value in values}) > 1:
        raise refuse("in mixes values of different types")
    return Rule(
        path.stem,
        column,
        applies,
        least=body.get("min"),
        most=body.get("max"),
        equals=body.get("equals"),
        among=tuple(among) if "in" in body else (),
        not_null="not_null" in body,
    )


def _check_possible(recipe: Recipe) -> None:
    """RecipeError when rules of the pools together leave no value: a floor above a ceiling, or none of a list."""
    for kind in ("image", "video"):
        held = [rule for rule in recipe.rules if rule.applies in ("all", kind)]
        for rule in held:
            others = [other for other in held if other.column == rule.column and other is not rule]
            for other in others:
                if rule.least is not None and other.most is not None and rule.least > other.most:
                    raise RecipeError(
                        f"{recipe.path}: {rule.name}: min {_text(rule.least)} is above max {_text(other.most)} "
                        f"of {other.name}, so nothing can pass."
                    )
            _check_values(recipe, rule, others)


def _check_values(recipe: Recipe, rule: Rule, others: Sequence[Rule]) -> None:
    """RecipeError when none of the values that a rule allows passes the others of its column."""
    left = rule.values
    against = []
    for other in others:
        passing = tuple(value for value in left if _allows(other, value))
        if passing != left:
            against.append(f"{other.threshold} of {other.name}")
        left = passing
        if rule.values and not left:
            raise RecipeError(
                f"{recipe.path}: {rule.name}: nothing of {rule.threshold} passes {' and '.join(against)}, "
                "so nothing can pass."
            )


def _allows(rule: Rule, value: Value) -> bool:
    """Whether a value of a recipe passes; one of another type than the rule asks for does not."""
    number = type(value) in (int, float)
    low = rule.least is None or (number and rule.least <= value)  # type: ignore[operator]
    high = rule.most is None or (number and value <= rule.most)  # type: ignore[operator]
    return low and high and (not rule.values or value in rule.values)


def check(recipe: Recipe, schema: pa.Schema) -> None:
    """RecipeError when a rule names a column that the table lacks, or cannot be asked of its type."""
    origin = {pool.name: pool.path for pool in recipe.pools}
    for rule in recipe.rules:
        where = f"{origin[rule.pool]}: {rule.name}"
        for column in (rule.column, *(("is_image",) if rule.applies != "all" else ())):
            if column not in schema.names:
                near = difflib.get_close_matches(column, schema.names, n=3)
                hint = f"; did you mean {' or '.join(near)}?" if near else "; has its stage run?"
                raise RecipeError(f"{where}: there is no column {column}{hint}")
        if rule.applies != "all" and schema.field("is_image").type not in (pa.bool_(), pa.null()):
            raise RecipeError(f"{where}: is_image is {schema.field('is_image').type}, not true or false.")
        kind = schema.field(rule.column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        problem = None if pa.types.is_null(kind) else _type_problem(rule, kind)
        if problem:
            raise RecipeError(f"{where}: {problem}.")


def _type_problem(rule: Rule, kind: pa.DataType) -> str | None:
    if pa.types.is_nested(kind):
        return f"{rule.column} is {kind}, and rules are about single values"
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if (rule.least is not None or rule.most is not None) and not number:
        return f"min and max compare numbers, and {rule.column} is {kind}"
    for value in rule.values:
        fits = {str: text, bool: pa.types.is_boolean(kind)}.get(type(value), number)
        if not fits:
            return f"{_text(value)} cannot equal a value of {rule.column}, which is {kind}"
    return None


def failures(recipe: Recipe, table: pa.Table) -> npt.NDArray[np.bool_]:
    """(rules, rows): True where a rule applies to a clip and it does not pass. RecipeError as `check`."""
    check(recipe, table.schema)
    failed = np.empty((len(recipe.rules), table.num_rows), dtype=np.bool_)
    for number, rule in enumerate(recipe.rules):
        failed[number] = ~_passes(rule, table.column(rule.column))
        if rule.applies != "all":
            # Of unknown kind, a clip must pass the rules of both: a null never helps.
            failed[number] &= ~_true(pc.equal(table.column("is_image"), rule.applies == "video"))
    return failed


def _passes(rule: Rule, values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if pa.types.is_null(values.type):
        return np.zeros(len(values), dtype=np.bool_)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    passed: npt.NDArray[np.bool_] = ~pc.is_null(values, nan_is_null=True).to_numpy()
    if rule.least is not None:
        passed &= _true(pc.greater_equal(values, _scalar(rule.least, values.type)))
    if rule.most is not None:
        passed &= _true(pc.less_equal(values, _scalar(rule.most, values.type)))
    if rule.values:
        equal = [_true(pc.equal(values, _scalar(value, values.type))) for value in rule.values]
        passed &= np.logical_or.reduce(equal)
    return passed


def _true(answers: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    result: npt.NDArray[np.bool_] = answers.fill_null(False).to_numpy()
    return result


def _scalar(value: Value, kind: pa.DataType) -> pa.Scalar:
    """The threshold in the precision of the column, so that a float32 of 0.2 passes `max = 0.2`."""
    return pa.scalar(value, kind) if pa.types.is_floating(kind) else pa.scalar(value)


def judge(recipe: Recipe, table: pa.Table) -> pa.Table:
    """VERDICTS of the table's rows, in order: kept, or every rule that failed, the parents' too.

    `table` has `clip_id` and `recipe.columns`. RecipeError: a column is missing or of a wrong type.
    """
    names = pa.array([rule.name for rule in recipe.rules], pa.string())
    steps = [VERDICTS.empty_table()]
    for start in range(0, table.num_rows, ROWS_A_STEP):
        step = table.slice(start, ROWS_A_STEP)
        failed = failures(recipe, step)
        offsets = np.zeros(step.num_rows + 1, dtype=np.int32)
        np.cumsum(failed.sum(axis=0), out=offsets[1:])
        which = np.nonzero(failed.T)[1]
        lists = pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(which)))
        kept = pa.array(offsets[1:] == offsets[:-1])
        steps.append(pa.table([step.column("clip_id").cast(pa.string()), kept, lists], schema=VERDICTS))
    if table.num_rows == 0:
        check(recipe, table.schema)
    return pa.concat_tables(steps)


@dataclass(frozen=True)
class Origin:
    """Where a column's values come from."""

    stage: str
    fingerprint: str
    engine: str = ""
    """What wrote it, where the stage has more than one engine."""


@dataclass(frozen=True)
class Explained:
    """How one rule came to its answer about one clip."""

    rule: str
    value: Any
    origin: Origin | None
    """None for columns that no stage has written, such as `duration_s`."""
    threshold: str
    passed: bool


def explain(recipe: Recipe, clip: pa.Table, origins: Mapping[str, Origin]) -> list[Explained]:
    """One answer a rule that applies to this clip, in order.

    `clip` is one row of the table that is judged, in its types; `origins` is by column. It asks the code that judges
    the table, so that the two cannot disagree. RecipeError as `check`; ValueError: not one row.
    """
    if clip.num_rows != 1:
        raise ValueError(f"{clip.num_rows} rows to explain, not one row")
    failed = failures(recipe, clip)[:, 0]
    (row,) = clip.select(recipe.columns).to_pylist()
    other = {True: "video", False: "image", None: ""}[row.get("is_image")]
    return [
        Explained(rule.name, row[rule.column], origins.get(rule.column), rule.threshold, not fails)
        for rule, fails in zip(recipe.rules, failed.tolist(), strict=True)
        if rule.applies != other
    ]


def _text(value: Any) -> str:
    """A TOML value as it would be written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
