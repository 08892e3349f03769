"""docs/accuracy.md out of docs/accuracy.json and the recipes, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.accuracy.camera_page import camera
from benchmarks.accuracy.labels import experts
from benchmarks.accuracy.results import Measured, Results, verdict
from benchmarks.accuracy.scores import Share
from benchmarks.clock import table
from pipeline import recipe as recipes

POOLS = ("256p", "360p", "540p", "sft_540p", "sft_720p")
SPOT = """## Real clips

No fault is rendered here: the clips of the demo's videos and of a whole film (Elephants Dream, 10 minutes) with the
lowest values of each column at the left and the highest at the right, to judge by eye. The values are under the clips.
"""

HEAD = """# Accuracy

How right the filters are: faults of known kind and strength, rendered over real footage that is clean, and measured as
any video is. `make accuracy` fetches the footage, makes this page and its [numbers](accuracy.json), and takes about a
quarter of an hour; a changed number is seen in the difference. What each filter measures is in [filters](filters.md).

## How to read it
- The labelled set is {clips} clips of {shortest:.1f} to {longest:.1f} s, {live} of them live action and {drawn} of
  rendered film, chosen by eye because nothing is wrong with them. Each fault is rendered on the frames of every
  second clip at each strength, and the file is encoded again (H.264, crf 20). All clips without a fault, encoded in the
  same way, are the controls. Clips that have a fault by nature are left out of its rows.
- A fault is **seen** where its column passes the threshold; in brackets are the pools whose rule has it.
- **found** is the share of clips with the fault that the threshold sees, the mildest strength first; **false alarms**
  the clean clips that it sees too. In brackets are 95 % intervals: Wilson's for shares, of a bootstrap over clips else.
- **precision** is the share of right ones among those found if half of all clips had the fault, each strength as
  often. Where faults are rarer it is lower: at one clip in a hundred, even 2 % of false alarms are two in three.
- **AUC** is the chance that the value tells a clip with the fault from a clean one, at any threshold; 0.5 is a coin.
- **rank** is Spearman's correlation of the value with the strength (clean is 0) within a clip, the mean over clips.
- **weak**: more than 20 % false alarms, or less than half of the strongest found; *loose* where the value itself tells
  the strongest from clean ones (AUC of 0.9 or more) and only the threshold lets them through; *fair*: more than 10 %
  false alarms, or less than 80 % found; good: the rest; "misses the mild" where less than half of the mildest is found.
- A null is nothing found. Rendered faults are easier than those of the wild: what is good here may still miss there,
  what is weak here is weak.
"""
PAIRS = """Pairs, so judged apart ([duplicates](duplicates.md)): the clips, one a take, and an edited copy of each.
A call is wrong when it puts clips of two takes together."""


def render(results: Results) -> str:
    """The page."""
    parts = [_head(results), _summary(results)]
    parts += [_family(name, ones) for name, ones in results.families().items()]
    if results.duplicates:
        parts.append(_duplicates(results))
    if results.people:
        parts.append(experts(results.people))
    if results.camera:
        parts.append(camera(results.camera))
    if results.spots:
        pictures = [f"![real clips, {name}](images/accuracy/spot-{name}.jpg)" for name in results.spots]
        parts.append("\n\n".join([SPOT.strip("\n"), *pictures]))
    if results.skipped:
        lines = [f"- {name}: {why}" for name, why in results.skipped.items()]
        parts.append("\n".join(["## Not measured", *lines]))
    parts.append(_clips(results))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _head(results: Results) -> str:
    lengths = [about["frames"] / about["fps"] for about in results.clips.values()]
    drawn = sum("animation" in about["traits"] for about in results.clips.values())
    return HEAD.format(
        clips=len(lengths),
        shortest=min(lengths, default=0.0),
        longest=max(lengths, default=0.0),
        live=len(lengths) - drawn,
        drawn=drawn,
    )


def _summary(results: Results) -> str:
    rows = []
    for one in results.defects:
        recall = list(one.recall().values())
        rows.append(
            (
                f"[{one.family}](#{one.family})",
                one.name,
                f"`{one.column}`",
                percent(recall[0]),
                percent(recall[-1]),
                percent(one.false_alarms()),
                number(one.auc()[0]),
                verdict(one),
            )
        )
    headings = ("family", "fault", "seen by", "mildest found", "strongest", "false alarms", "AUC", "verdict")
    return f"## At a glance\n\n{table(headings, rows)}"


def _family(name: str, ones: Sequence[Measured]) -> str:
    rows = []
    for one in ones:
        sign = ">=" if one.bad == "high" else "<="
        found = "; ".join(f"{strength} {spread(share)}" for strength, share in one.recall().items())
        rank = one.rank()
        rows.append(
            (
                one.name,
                f"`{one.column}` {sign} {one.threshold:g} ({pools(one)})",
                found,
                spread(one.false_alarms()),
                interval(*one.precision()),
                interval(*one.auc()),
                interval(*rank) if rank else "–",
                verdict(one),
            )
        )
    headings = ("fault", "seen when", "found", "false alarms", "precision", "AUC", "rank", "verdict")
    notes = [f"- {one.name}: {text}" for one in ones if (text := _notes(one))]
    picture = f"![{name}: clean at the left, then each strength](images/accuracy/{name}.jpg)"
    return "\n".join([f"## {name}", "", table(headings, rows), "", *notes, *([""] if notes else []), picture])


def pools(one: Measured) -> str:
    """The pools whose own rule has this threshold."""
    found = []
    for name in POOLS:
        for rule in recipes.load(name).own:
            end = rule.most if one.bad == "high" else rule.least
            if rule.column == one.column and end == one.threshold:
                found.append(name)
    return ", ".join(dict.fromkeys(found)) or "no pool"


def _notes(one: Measured) -> str:
    """What the author says of the measurement, and what the numbers do."""
    clean, bad = one.silent
    parts = [one.note.rstrip(".") + "."] if one.note else []
    if clean or bad:
        of_bad = sum(map(len, one.strengths.values()))
        parts.append(
            f"Null for {clean} of {len(one.clean)} clean clips and {bad} of {of_bad} with the fault."
        )
    if one.errors:
        parts.append(f"The stage failed on {len(one.errors)} files, the first: {one.errors[0]}.")
    alarms = [clip for clip, value in one.clean.items() if one.found(value)]
    if alarms:
        parts.append(f"False alarms: {', '.join(alarms[:6])}{' and more' if len(alarms) > 6 else ''}.")
    return " ".join(parts)


def _duplicates(results: Results) -> str:
    headings = list(results.duplicates[0])
    rows = [[_plain(row[name]) for name in headings] for row in results.duplicates]
    return "\n\n".join(["## duplicates", PAIRS, table(headings, rows)])


def _plain(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _clips(results: Results) -> str:
    rows = [
        (
            name,
            f"{about['width']}x{about['height']}",
            f"{about['frames'] / about['fps']:.1f}",
            f"{about['fps']:g}",
            ", ".join(about["traits"]),
        )
        for name, about in results.clips.items()
    ]
    text = table(("clip", "px", "s", "fps", "by nature"), rows)
    return f"## The clean clips\n\n{text}\n\nTheir files and spans are in `benchmarks/accuracy/footage.py`."


def percent(share: Share) -> str:
    return f"{100 * share.value:.0f} %" if share.of else "–"


def spread(share: Share) -> str:
    """'92 % (75-98)'."""
    low, high = share.interval
    return f"{percent(share)} ({100 * low:.0f}-{100 * high:.0f})" if share.of else "–"


def number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def interval(value: float, spread: tuple[float, float]) -> str:
    """'0.93 (0.88-0.97)'."""
    return "–" if math.isnan(value) else f"{value:.2f} ({spread[0]:.2f}-{spread[1]:.2f})"
