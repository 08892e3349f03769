"""What a pool's balance did, read back from its table: shares before and after, and what went and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import Unmapped
from balance.resample import AxisResult, Label, axis_result
from balance.settings import Balance
from jobs.pools import NO_BUCKET, Mask, Pools
from pipeline.recipe import Recipe

SHOWN = 100
"""Unmapped pairs of words that are listed."""
LABELS = 20
"""Labels of an axis that are listed ..."""
NAMED = 6
"""... and named in a sentence."""


@dataclass(frozen=True)
class Outcome:
    """One pool's balance."""

    pool: str
    balance: Balance
    before: int
    """Clips that the pool's rules keep and a shard can hold."""
    after: int
    """Different clips that stay."""
    copies: int
    """The same with repeats."""
    axes: tuple[AxisResult, ...]
    dropped: tuple[tuple[str, int], ...]
    """Clips left out by why, the most first."""


def outcome(pools: Pools, recipe: Recipe) -> Outcome | None:
    """What the balance of a pool did; None where there is none, or none yet."""
    table = pools.balanced(recipe)
    if table is None:
        return None
    balance = pools.balance_of(recipe)
    why = Counter(table.column("why").drop_null().to_pylist())
    table = table.filter(pa.array(weighed(table)))
    axes = []
    for number, axis in enumerate(balance.axes):
        labels = (
            pc.list_element(table.column("labels"), number) if table.num_rows else pa.nulls(0, pa.string())
        )
        before, after = _counts(labels), _counts(labels, table.column("copies"))
        axes.append(axis_result(axis, before, after))
    stays = table.column("balanced").to_numpy()
    return Outcome(
        recipe.name,
        balance,
        table.num_rows,
        int(stays.sum()),
        pc.sum(table.column("copies")).as_py() or 0,
        tuple(axes),
        tuple(sorted(why.items(), key=lambda item: (-item[1], item[0]))),
    )


def weighed(table: pa.Table) -> Mask:
    """(rows,) of BALANCED that were weighed: all but those that no shard can hold."""
    mask: Mask = pc.fill_null(pc.not_equal(table.column("why"), NO_BUCKET), True).to_numpy().astype(np.bool_)
    return mask


def _counts(labels: pa.ChunkedArray | pa.Array, copies: pa.ChunkedArray | None = None) -> dict[str, int]:
    """Rows by label, or their copies, the most first."""
    found = labels.dictionary_encode()
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    weights = None if copies is None else copies.to_numpy()
    sums = np.bincount(found.indices.to_numpy(), weights, minlength=len(found.dictionary)).astype(np.int64)
    listed = zip(found.dictionary.to_pylist(), sums.tolist(), strict=True)
    return dict(sorted(listed, key=lambda item: (-item[1], item[0])))


def unreached(found: Outcome) -> list[str]:
    """Sentences about what the pool lacks for the shares that were asked for, and what went altogether; none: it
    lacks nothing."""
    named = [(f"{axis.name} {label.name}", axis, label) for axis in found.axes for label in axis.labels]
    # More than there is place for: then it is not these labels that lack, but clips.
    few = [axis for axis in found.axes if sum(label.missing for label in axis.labels) > axis.after]
    lacks = [
        f"{label.missing:,} more of {name}"
        for name, axis, label in named
        if label.missing and axis not in few
    ]
    told = (
        [f"not reached: at this volume the pool needs {_some(lacks)}, in the place of others"]
        if lacks
        else []
    )
    told += [_too_few(axis) for axis in few]
    told += [_above(axis) for axis in found.axes if any(label.others for label in axis.labels)]
    gone = [
        f"{name} ({label.before:,} clip{'s' if label.before > 1 else ''})"
        for name, axis, label in named
        if label.target and not axis.most_only and label.own and label.before and not label.after
    ]
    return [*told, f"gone altogether: {_some(gone)}"] if gone else told


def _too_few(axis: AxisResult) -> str:
    """That so few clips cannot have the shares of an axis, whichever they are."""
    clips = f"{axis.after:,} clip is" if axis.after == 1 else f"{axis.after:,} clips are"
    names = _some([label.name for label in axis.labels if label.missing])
    return f"not reached: {clips} too few for the shares of {axis.name}: none or too little of {names}"


def _above(axis: AxisResult) -> str:
    """What would bring the labels of an axis to their ceilings: others for the worst of them are enough for all."""
    above = [label for label in axis.labels if label.others]
    names = _some([label.name for label in above])
    return (
        f"not reached: {axis.name} {names} above {'its' if len(above) == 1 else 'their'} most; at this volume the"
        f" pool needs {max(label.others for label in above):,} more clips of other labels"
    )


def _some(words: Sequence[str]) -> str:
    rest = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def shortened(axis: AxisResult, most: int) -> tuple[Label, ...]:
    """The labels of an axis, those beyond its `most` largest added up in one that says how many they are."""

    def larger(label: Label) -> float:
        return -max(label.before / max(axis.before, 1), label.after / max(axis.after, 1))

    shown = sorted(axis.labels, key=larger)[:most]
    rest = [label for label in axis.labels if label not in shown and label.own]
    kept = [label for label in axis.labels if label in shown or not label.own]
    if not rest:
        return tuple(kept)
    sums = [sum(getattr(label, side) for label in rest) for side in ("before", "after", "missing")]
    return (*kept, Label(f"{len(rest):,} more", sums[0], sums[1], None, sums[2]))


def lines(found: Outcome) -> list[str]:
    """The outcome as a table for the terminal."""
    told = f", {found.copies:,} with repeats" if found.copies > found.after else ""
    said = [f"{found.pool}: {found.after:,} of {found.before:,} clips stay{told}"]
    for axis in found.axes:
        labels = shortened(axis, LABELS)
        width = max((len(label.name) for label in labels), default=0)
        said.append(f"  {axis.name}")
        said += [f"    {label.name:<{width}}  {_line(label, axis)}".rstrip() for label in labels]
    return said + [f"  {sentence}" for sentence in unreached(found)]


def _line(label: Label, axis: AxisResult) -> str:
    shares = f"{label.before / max(axis.before, 1):7.2%} -> {label.after / max(axis.after, 1):7.2%}"
    counts = f"{label.before:,} -> {label.after:,}"
    aim = "at most" if axis.most_only else "wanted"
    wanted = "" if label.target is None else f"{aim:>8} {label.target:7.2%}"
    lacks = f"  {label.missing:,} missing" if label.missing else "  above" if label.others else ""
    return f"{shares}  {counts:<22}{wanted}{lacks}"


def as_json(found: Outcome) -> dict[str, Any]:
    """The outcome as plain values: each label's clips before and after, its share as wanted, what is missing."""

    def label(one: Label, most_only: bool) -> dict[str, Any]:
        said: dict[str, Any] = {"before": one.before, "after": one.after}
        if one.target is not None:
            said["at_most" if most_only else "wanted"] = one.target
        said |= {"missing": one.missing} if one.missing else {}
        return said | ({"others_missing": one.others} if one.others else {})

    return {
        "in": found.before,
        "kept": found.after,
        "with_repeats": found.copies,
        "axes": {
            axis.name: {one.name: label(one, axis.most_only) for one in axis.labels} for axis in found.axes
        },
        "left_out": dict(found.dropped),
    }


def unmapped_lines(found: Counter[Unmapped]) -> list[str]:
    """Words that the taxonomy lacks, the most frequent first, then those that it knows by their last words alone."""
    if not found:
        return ["the taxonomy has every word of the captions' main subjects"]
    said = [f"{'clips':>9}  {'type':<24} {'sub_type':<28} taken for"]
    lacking = {words: count for words, count in found.items() if not words.guessed}
    said += _listed(lacking) if lacking else ["           (nothing is unknown)"]
    guessed = {words: count for words, count in found.items() if words.guessed}
    return [*said, "known by their last words alone:", *_listed(guessed)] if guessed else said


def _listed(found: Mapping[Unmapped, int]) -> list[str]:
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    said = [
        f"{count:9,}  {words.subject_type:<24} {words.sub_type:<28} {words.concept}"
        for words, count in ordered[:SHOWN]
    ]
    if len(ordered) > SHOWN:
        rest = sum(count for _, count in ordered[SHOWN:])
        said.append(f"{rest:9,}  in {len(ordered) - SHOWN:,} more pairs of words")
    return said
