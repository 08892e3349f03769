"""report.html: what became of every item of a run, as one page that needs no other file and no network.

The dataclasses are what the page shows; `render` draws them. All text (file names, captions, messages) is taken for
hostile: the template escapes everything, and the page's own policy forbids scripts and anything from outside.
"""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
import numpy.typing as npt

from jobs import charts
from jobs.flow import advice, said
from jobs.words import (
    EXPLAINED,
    bytes_text,
    clipped,
    count_text,
    duration_text,
    percent,
    plural,
    timecode,
    value_text,
)
from pipeline.ledger import Counts

if TYPE_CHECKING:
    from jobs.balance_view import BalanceView

MAX_FAILURES = 200
"""Rows of the failures table; the page says how many there are beyond, and where."""
MAX_LICENCES = 200
"""Sources of the licences table; the page says how many there are beyond."""
MAX_LABELS = 12
"""Rows of one distribution; the smallest beyond are added up in one row that says so."""
KINDS = ("kept", "rejected", "failed", "pending")
RATED = {"clips": "clips", "rows": "rows", "frames": "frames", "videos": "videos", "in": "items"}
"""Counts of work done that give a rate, and what they count. The first that a step has is its unit."""


@dataclass(frozen=True)
class RuleView:
    """What one rule of a pool (its parents' rules too) drops, in clips."""

    name: str
    """`256p.black_ratio`: the recipe that states it and the column."""
    column: str
    text: str
    """The threshold in words: `<= 0.2`."""
    low: float | None
    high: float | None
    dropped: int
    """Clips that this rule is the first to drop, the rules taken in order."""
    alone: int
    """Clips that no other rule would drop."""


@dataclass(frozen=True)
class ShardView:
    """A pool's shards; a bucket is (name, rows, seconds)."""

    files: int
    rows: int
    bytes: int
    buckets: tuple[tuple[str, int, float], ...]
    lacking: Mapping[str, int] = field(default_factory=dict)
    """By text that the run makes, the rows that have none; of `prompts`, those that lack some."""


@dataclass(frozen=True)
class GateView:
    """What people's review says of a pool at one gate: a sentence that begins with pass, fail, not enough or stale."""

    gate: str
    sentence: str


@dataclass(frozen=True)
class PoolView:
    """One pool; `balanced_out` are clips that it keeps and that balancing left out of the shards."""

    name: str
    clips: Counts
    seconds: Counts
    rules: tuple[RuleView, ...]
    balanced_out: int
    shards: ShardView | None
    gates: tuple[GateView, ...] = ()
    """Those of which a sample was drawn."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """The values of one column, nulls removed, and each pool's (name, low, high) thresholds on it."""

    column: str
    unit: str
    stage: str
    engine: str
    values: npt.NDArray[np.float64]
    """(n,)"""
    nulls: int
    thresholds: tuple[tuple[str, float | None, float | None], ...]


@dataclass(frozen=True)
class Distribution:
    """How many clips carry each label, among all clips and among those that `pool` ends up with."""

    title: str
    before: tuple[tuple[str, int], ...]
    after: tuple[tuple[str, int], ...]
    pool: str


@dataclass(frozen=True)
class Card:
    """One clip of a contact sheet. `images` are JPEGs in order; `why` has each failed rule with its value."""

    clip_id: str
    source: str
    start_s: float
    end_s: float
    images: tuple[bytes, ...]
    kept: bool
    why: tuple[str, ...]
    caption: tuple[tuple[str, str], ...]
    caption_engine: str
    verdict: str = ""
    """In place of kept and rejected: balanced out."""


@dataclass(frozen=True)
class CropView:
    """One frame of a clip, and the part of it that its shard keeps: what is cut away is crop instead of drop."""

    clip_id: str
    source: str
    image: bytes
    """JPEG of the whole upright picture, in the aspect of `width` and `height`."""
    width: int
    height: int
    crop: tuple[float, float, float, float]
    """x0, y0, x1, y1 as shares of the picture."""
    away: tuple[str, ...]
    """What it was cut for: border, subtitle, logo; empty where that is not recorded."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width and height of the crop, in the units of `width` and `height`."""
        x0, y0, x1, y1 = self.crop
        return x0 * self.width, y0 * self.height, (x1 - x0) * self.width, (y1 - y0) * self.height

    @property
    def kept_ratio(self) -> float:
        """Share of the picture's area that is kept."""
        return (self.crop[2] - self.crop[0]) * (self.crop[3] - self.crop[1])


@dataclass(frozen=True)
class FailureView:
    """One item that could not be used or measured; `reason` is one of pipeline.reasons."""

    item: str
    stage: str
    reason: str
    message: str
    attempts: int


@dataclass(frozen=True)
class Timing:
    """One sitting of one step: wall seconds, CPU seconds by stage, and the work done by unit."""

    label: str
    wall_s: float
    workers: int
    seconds: Mapping[str, float]
    counts: Mapping[str, float]
    """`{"clips": 40}`; `video_s` are seconds of video and give the rate in real time."""
    flow: Mapping[str, float] = field(default_factory=dict)
    """What the step's engine did (jobs.flow), if it has one."""


@dataclass(frozen=True)
class ReportData:
    """All that the page shows. `licences` are (source, licence), `engines` are (what, which)."""

    run: str
    sources: int
    videos: Counts
    clips: Counts
    seconds: Counts
    pools: tuple[PoolView, ...]
    histograms: tuple[Histogram, ...]
    distributions: tuple[Distribution, ...]
    cards_kept: tuple[Card, ...]
    cards_rejected: tuple[Card, ...]
    failures: tuple[FailureView, ...]
    timings: tuple[Timing, ...]
    engines: tuple[tuple[str, str], ...]
    licences: tuple[tuple[str, str], ...]
    settings_toml: str
    cards_pool: str = ""
    """The pool that kept or rejected the clips of the contact sheets."""
    crops: tuple[CropView, ...] = ()
    """Clips of that pool of which its shards show a part only."""
    balances: tuple[BalanceView, ...] = ()
    """What the balances of the pools did."""


def render(data: ReportData) -> str:
    """The page as HTML text that UTF-8 can encode. The same data gives the same text."""
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"), encoding="utf-8")
    page = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters.update(
        n=count_text,
        duration=duration_text,
        size=bytes_text,
        value=value_text,
        timecode=timecode,
        clip=clipped,
    )
    page.filters.update(jpeg=lambda image: base64.b64encode(image).decode())
    shown = data.failures[:MAX_FAILURES]
    text = page.get_template("report.html").render(
        data=data,
        percent=percent,
        sentence=sentence(data),
        funnel=funnel(data),
        parents=lambda pool: inherited(pool, data.pools),
        most_dropped=max((sum(rule.dropped for rule in pool.rules) for pool in data.pools), default=0) or 1,
        plots=[(h, charts.plot(h.values, h.thresholds)) for h in data.histograms],
        sides=[side_by_side(distribution) for distribution in data.distributions],
        max_licences=MAX_LICENCES,
        failures=[(failure, EXPLAINED.get(failure.reason, "")) for failure in shown],
        reasons=sorted(
            Counter(f.reason for f in data.failures).items(), key=lambda item: (-item[1], item[0])
        ),
        works=works(data.timings),
        retry=f"rushes retry {shlex.quote(data.run)}",
        listing=f"rushes report {shlex.quote(data.run)} --json",
    )
    # File names may hold bytes that are no UTF-8 (lone surrogates here), control characters that HTML forbids, and
    # marks that turn the reading order of what follows: all are shown by their code.
    forbidden = (*range(9), 11, 12, *range(14, 32), *range(127, 160))
    turning = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
    text = text.translate({code: f"\\u{code:04x}" for code in (*forbidden, *turning)})
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def sentence(data: ReportData) -> str:
    """One sentence of what happened."""
    videos, clips = data.videos, data.clips
    if videos.entered == 0:
        return "This run has no videos yet."
    some = "All" if videos.kept == videos.entered else f"{videos.kept:,.0f} of"
    whole = (
        "The one video" if videos.entered == videos.kept == 1 else f"{some} {plural(videos.entered, 'video')}"
    )
    parts = [f"{whole} gave {plural(clips.entered, 'clip')}"]
    if data.pools and clips.entered:
        parts.append(", ".join(f"{pool.name} keeps {pool.clips.kept:,.0f}" for pool in data.pools))
    for pool, shards in ((pool.name, pool.shards) for pool in data.pools if pool.shards is not None):
        files = f"{plural(shards.files, 'shard file')} ({bytes_text(shards.bytes)})"
        parts.append(
            f"{plural(shards.rows, 'clip')} of {pool} {'is' if shards.rows == 1 else 'are'} in {files}"
        )
    pending = max(videos.pending, clips.pending)
    parts += [f"{pending:,.0f} still to do"] if pending else []
    parts.append(
        f"{plural(len(data.failures), 'failure')} can be retried" if data.failures else "nothing failed"
    )
    return "; ".join(parts) + "."


# --- what the charts show


@dataclass(frozen=True)
class Step:
    """One bar of the funnel. `band` is where the band of what is kept starts above it and ends at it, in percent."""

    name: str
    noun: str
    """`clip`; empty for seconds."""
    counts: Counts
    words: Mapping[str, str]
    """What this step calls kept, rejected, failed and pending."""
    parts: tuple[charts.Part, ...]
    band: tuple[float, float]
    kept_s: float | None = None
    """Seconds of what is kept, for the steps that count clips."""
    inner: bool = False
    """A detail of the step above, drawn smaller."""


PLAIN = {kind: kind for kind in KINDS}
SHARDED = PLAIN | {"kept": "written", "rejected": "balanced out", "pending": "not written"}


def funnel(data: ReportData) -> list[Step]:
    """The steps from the top: videos, footage and clips each as its own whole, then each pool and its shards."""
    steps: list[Step] = []

    def add(name: str, noun: str, counts: Counts, whole: float, kept_s: float | None = None) -> float:
        parts = charts.parts([(kind, getattr(counts, kind)) for kind in KINDS], whole)
        start = steps[-1].band[1] if steps else parts[0].width
        steps.append(Step(name, noun, counts, PLAIN, parts, (start, parts[0].width), kept_s))
        return parts[0].width

    add("Videos", "video", data.videos, data.videos.entered)
    add("Footage", "", data.seconds, data.seconds.entered)
    add("Clips", "clip", data.clips, data.clips.entered)
    whole = max([data.clips.entered, *(pool.clips.entered for pool in data.pools)])
    for pool in data.pools:
        kept = add(pool.name, "clip", pool.clips, whole, pool.seconds.kept)
        if pool.shards is not None:
            counts = _sharded(pool, pool.shards.rows)
            parts = charts.parts([(kind, getattr(counts, kind)) for kind in KINDS], whole)
            written_s = sum(seconds for _, _, seconds in pool.shards.buckets)
            steps.append(
                Step(
                    f"{pool.name} shards", "clip", counts, SHARDED, parts, (kept, kept), written_s, inner=True
                )
            )
    return steps


def _sharded(pool: PoolView, rows: float) -> Counts:
    """Of the clips that a pool keeps: written, balanced out, or neither (no bucket fits them, or still to do)."""
    left = max(pool.clips.kept - rows - pool.balanced_out, 0.0)
    return Counts(rows + pool.balanced_out + left, rows, float(pool.balanced_out), 0.0, left)


@dataclass(frozen=True)
class Inherited:
    """A pool's own rules, and what the rules of the other pools shown drop from it together."""

    own: tuple[RuleView, ...]
    names: tuple[str, ...]
    dropped: int


def inherited(pool: PoolView, pools: Sequence[PoolView]) -> Inherited:
    """The rules of a pool that the page shows in full under another one are added up here."""
    others = [other.name for other in pools if other.name != pool.name]
    from_other = {
        rule.name: name for rule in pool.rules for name in others if rule.name.startswith(f"{name}.")
    }
    own = tuple(rule for rule in pool.rules if rule.name not in from_other)
    names = tuple(dict.fromkeys(from_other[rule.name] for rule in pool.rules if rule.name in from_other))
    return Inherited(own, names, sum(rule.dropped for rule in pool.rules if rule.name in from_other))


@dataclass(frozen=True)
class Side:
    """One label of a distribution: its clips before and after."""

    label: str
    before: int
    after: int


@dataclass(frozen=True)
class Sides:
    """A distribution before and after, as shares of the totals; `widest` is the largest share, 0 to 1."""

    title: str
    pool: str
    rows: tuple[Side, ...]
    before: int
    after: int
    widest: float


def side_by_side(distribution: Distribution) -> Sides:
    """The labels in the order given; beyond MAX_LABELS the smallest become one row that says how many they are."""
    before, after = dict(distribution.before), dict(distribution.after)
    rows = [Side(label, before.get(label, 0), after.get(label, 0)) for label in {**before, **after}]
    totals = sum(before.values()), sum(after.values())
    if len(rows) > MAX_LABELS:
        largest = sorted(rows, key=lambda row: (-row.before - row.after, row.label))[: MAX_LABELS - 1]
        others = [row for row in rows if row not in largest]
        sums = sum(row.before for row in others), sum(row.after for row in others)
        rows = [row for row in rows if row in largest] + [Side(f"{len(others):,} others", *sums)]
    shares = [(row.before / max(totals[0], 1), row.after / max(totals[1], 1)) for row in rows]
    widest = max((share for pair in shares for share in pair), default=0.0)
    return Sides(distribution.title, distribution.pool, tuple(rows), *totals, widest)


@dataclass(frozen=True)
class Work:
    """All sittings of one step added up; `cpu` is (stage, CPU seconds), the dearest first."""

    label: str
    wall_s: float
    capacity_s: float
    """Wall seconds times workers."""
    workers: int
    cpu: tuple[tuple[str, float], ...]
    counts: tuple[tuple[str, float], ...]
    unit: str
    """What the step's rates are of: `clips`; empty when it counts nothing of the kind."""
    units: float
    video_s: float
    flow: tuple[str, ...] = ()
    """What its engine did and how well it was fed, in words."""

    @property
    def cpu_s(self) -> float:
        return sum(seconds for _, seconds in self.cpu)


def works(timings: Iterable[Timing]) -> list[Work]:
    """One Work a label, in order of first appearance."""
    sittings: dict[str, list[Timing]] = {}
    for timing in timings:
        sittings.setdefault(timing.label, []).append(timing)
    return [_work(label, of) for label, of in sittings.items()]


def _work(label: str, sittings: Sequence[Timing]) -> Work:
    cpu: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    flow: Counter[str] = Counter()
    for timing in sittings:
        cpu.update(timing.seconds)
        counts.update(timing.counts)
        flow.update(timing.flow)
    wall_s = sum(timing.wall_s for timing in sittings)
    key = next((key for key in RATED if counts[key] > 0), "")
    return Work(
        label,
        wall_s,
        sum(timing.wall_s * max(timing.workers, 1) for timing in sittings),
        max(timing.workers for timing in sittings),
        tuple(sorted(cpu.items(), key=lambda item: (-item[1], item[0]))),
        tuple((RATED.get(name, name), count) for name, count in counts.items() if name != "video_s"),
        RATED.get(key, ""),
        float(counts[key]),
        float(counts["video_s"]),
        tuple(line for line in (*said(flow, wall_s), advice(label, flow)) if line),
    )
