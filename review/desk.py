"""A reviewer's desk: what the page is told, and what it may say. HTTP is elsewhere (review.app)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from review.footage import Order
from review.plan import Plan
from review.previews import About
from review.reasons import OTHER, REASONS, Gate
from review.store import Event, ReviewStore

AHEAD = 3
"""Items that the page is told of: the one to show, and those to fetch in advance."""
MADE_AHEAD = 12
"""Previews that are made in advance, so that a slow source is read while others are judged. Ours."""
MAX_NOTE = 2_000
"""Characters of a note."""
CLIENT_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
QUESTIONS: Mapping[Gate, str] = {
    "source": "Is this footage worth working on?",
    "segmentation": "Is this one unbroken take, from its start to its end?",
    "pretrain": "Would you train on this clip, and is its caption true?",
    "posttrain": "Is this clip good enough to finish a model on, and is its caption true?",
}


class Refused(Exception):
    """The page said what cannot be taken; one sentence for the reviewer."""


@dataclass(frozen=True)
class Said:
    """A caption and who wrote it."""

    engine: str
    caption: Mapping[str, Any]
    """The caption's JSON object."""


@dataclass(frozen=True)
class Twin:
    """Another clip to hold beside this one, with a line that says why."""

    order: Order
    words: str


@dataclass(frozen=True)
class Shown:
    """One item of the plan as reviewers see it. Nothing here may tell a planted item from another."""

    item_id: str
    order: Order
    source: str
    """Name of the video's file."""
    start_s: float
    end_s: float
    captions: tuple[Said, ...] = ()
    """The one that is judged first; then others of the same clip, to compare."""
    twin: Twin | None = None


@dataclass(frozen=True)
class Banner:
    """What the verdicts come to so far, valid at any look."""

    state: str
    """pass, fail or open."""
    words: str


def no_banner() -> Banner | None:
    return None


def any_object(text: str) -> Mapping[str, Any]:
    """The JSON object in a text, unchecked. ValueError: it is none."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a caption is a JSON object")
    return found


@dataclass(frozen=True)
class Desk:
    """Answers one review's page, for any number of reviewers at once."""

    run: str
    plan: Plan
    store: ReviewStore
    items: Mapping[str, Shown]
    """By item id, every item of the plan, in its order."""
    vocabulary: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values that a caption's closed fields may have."""
    corrected: Callable[[str], Mapping[str, Any]] = any_object
    """A corrected caption's JSON text to its object, as it will be stored. ValueError, in one sentence: it is none."""
    banner: Callable[[], Banner | None] = no_banner
    now: Callable[[], float] = time.time

    def state(self, reviewer: str, first: str | None = None) -> dict[str, Any]:
        """How far the review is, and this reviewer's next items; `first` is put before them."""
        queue = list(self.store.next_item(reviewer, AHEAD, self.now()))
        if first is not None:
            queue = [first, *(item for item in queue if item != first)][:AHEAD]
        progress = self.store.progress()
        mine = progress.by_reviewer.get(reviewer, 0)
        return {
            "queue": queue,
            "mine": mine,
            "items": progress.items,
            "judged": progress.judged,
            "readings_left": progress.readings_left,
            "seconds_left": progress.seconds_left,
            "can_undo": mine > 0,
        }

    def standing(self) -> dict[str, str] | None:
        """What all the verdicts come to so far; apart from `state`, as the next clip need not wait for it."""
        found = self.banner()
        return None if found is None else {"state": found.state, "words": found.words}

    def coming(self, queue: Sequence[str]) -> list[Order]:
        """The previews that will be wanted: those of the queue after its first, then on in the plan's order."""
        order = list(self.items)
        place = order.index(queue[0]) if queue else len(order)
        names = dict.fromkeys([*queue[1:], *order[place + 1 : place + 1 + MADE_AHEAD]])
        return [self.items[name].order for name in names]

    def about(self, reviewer: str) -> dict[str, Any]:
        """What stays the same while the page is open."""
        reasons = REASONS[self.plan.gate]
        return {
            "run": self.run,
            "gate": self.plan.gate,
            "pool": self.plan.pool,
            "reviewer": reviewer,
            "question": QUESTIONS[self.plan.gate],
            "reasons": [{"reason": key, "words": words} for key, words in reasons.items()],
            "vocabulary": {name: list(values) for name, values in self.vocabulary.items()},
            "max_note": MAX_NOTE,
        }

    def shown(self, item_id: str) -> Shown:
        """Refused: the plan has no such item."""
        try:
            return self.items[item_id]
        except KeyError:
            raise Refused("this review has no such item") from None

    def item(self, reviewer: str, item_id: str, about: About, twin: About | None) -> dict[str, Any]:
        """All that the page shows of one item, and what this reviewer has said of it; of others' words nothing."""
        shown = self.shown(item_id)
        own = self.store.own(item_id, reviewer)
        verdict = own.reading
        return {
            "item": item_id,
            "source": shown.source,
            "start_s": shown.start_s,
            "end_s": shown.end_s,
            "clip": media(item_id, about),
            "captions": [{"engine": said.engine, "caption": said.caption} for said in shown.captions],
            "twin": None
            if shown.twin is None or twin is None
            else {"words": shown.twin.words, "clip": media(f"{item_id}-twin", twin)},
            "verdict": None
            if verdict is None
            else {"verdict": verdict.verdict, "reasons": list(verdict.reasons)},
            "note": own.note,
            "edit": own.edit,
        }

    def take(self, reviewer: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Stores what the page says; durable when this returns the state after it.

        `said`: client_id, kind, and by kind item, verdict, reasons, looked_s; note; caption. The same client_id again
        changes nothing. Refused or ReviewError: it cannot be taken.
        """
        client_id, kind = said.get("client_id"), said.get("kind")
        if not isinstance(client_id, str) or not CLIENT_ID.fullmatch(client_id):
            raise Refused("a client_id is 8 to 64 letters, digits and hyphens")
        if kind == "undo":
            return self.state(reviewer, self.store.undo(reviewer, client_id, self.now()))
        shown = self.shown(str(said.get("item")))
        made_at = self.now()
        if kind == "verdict":
            event = self._verdict(reviewer, client_id, shown.item_id, said, made_at)
        elif kind == "note":
            fields = {"note": _note(said.get("note"))}
            event = Event(client_id, shown.item_id, reviewer, "note", made_at, fields=fields)
        elif kind == "edit":
            edited = self._edit(shown, said.get("caption"))
            event = Event(client_id, shown.item_id, reviewer, "edit", made_at, fields=edited)
        else:
            raise Refused("an event is a verdict, an undo, a note or an edit")
        self.store.append(event)
        return self.state(reviewer)

    def _verdict(
        self, reviewer: str, client_id: str, item_id: str, said: Mapping[str, Any], made_at: float
    ) -> Event:
        verdict, reasons, looked_s = said.get("verdict"), said.get("reasons", []), said.get("looked_s")
        if verdict not in ("good", "bad", "skip"):
            raise Refused("a verdict is good, bad or skip")
        known = REASONS[self.plan.gate]
        if not isinstance(reasons, list) or not all(reason in known for reason in map(str, reasons)):
            raise Refused(f"the reasons of this gate are {', '.join(known)}")
        if verdict == "bad" and not reasons:
            raise Refused("a bad verdict needs a reason")
        if verdict == "bad" and OTHER in reasons and not self.store.own(item_id, reviewer).note:
            raise Refused("say in a note what else is wrong")
        shown_at = None
        if isinstance(looked_s, int | float) and 0 <= looked_s < 86_400:
            shown_at = made_at - looked_s
        chosen = tuple(reason for reason in known if reason in reasons) if verdict == "bad" else ()
        return Event(client_id, item_id, reviewer, "verdict", made_at, shown_at, verdict, chosen)

    def _edit(self, shown: Shown, caption: Any) -> Mapping[str, Any]:
        """The fields of an edit event: nothing when the caption is as it was."""
        if not shown.captions:
            raise Refused("this item has no caption to correct")
        if caption is None:
            return {}
        try:
            found = self.corrected(json.dumps(caption, ensure_ascii=False))
        except ValueError as error:
            raise Refused(f"this cannot be the caption: {error}") from error
        return {} if found == shown.captions[0].caption else {"caption": found}


def _note(said: Any) -> str:
    """A note as it is stored, line breaks and all. Refused: it is none, or too long to be kept whole."""
    if not isinstance(said, str):
        raise Refused("a note is text")
    if len(said) > MAX_NOTE:
        raise Refused(f"a note has at most {MAX_NOTE:,} characters, and this one has {len(said):,}")
    return said.strip()


def media(name: str, about: About) -> dict[str, Any]:
    """A preview as the page gets it: addresses below the page's own."""
    return {
        "src": f"media/{name}/clip",
        "still": about.file.endswith(".png"),
        "width": about.width,
        "height": about.height,
        "times_s": list(about.times_s),
        "stills": [
            {"src": f"media/{name}/{number}", "where": still.where, "time_s": still.time_s}
            for number, still in enumerate(about.stills)
        ],
    }
