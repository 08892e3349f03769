"""The review's page for one run, and the server of it."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from captioner import schema
from jobs.config import ConfigError, sentence
from jobs.review_items import Items
from jobs.run import Run
from review import gate
from review.desk import Banner, Desk
from review.paced import Paced
from review.plan import Plan
from review.projector import OpenStudio, Projector
from review.serve import Seats, hosts, listen, read_seats, serve, write_private, write_seats
from review.store import ReviewStore

PREVIEWS = "previews"
MAX_NAME = 64
VOCABULARY: Mapping[str, Sequence[str]] = {
    "shot_type": get_args(schema.ShotTypeValue),
    "shot_angle": get_args(schema.ShotAngleValue),
    "shot_position": get_args(schema.ShotPositionValue),
}


def corrected(text: str) -> Mapping[str, Any]:
    """A corrected caption as it is stored. ValueError, in one sentence: it does not fit the schema."""
    try:
        found: dict[str, Any] = json.loads(schema.dumps(schema.loads(text)))
    except ValidationError as error:
        raise ValueError(sentence(error)) from error
    return found


def live(plan: Plan, store: ReviewStore) -> Banner | None:
    """What the verdicts come to so far, in words that tell nobody which items were planted; None: there is no gate."""
    if not plan.strata:
        return None
    found = gate.banner(plan, store.states())
    if found.sampled == "pass":
        return Banner("pass", f"enough good ones for the limit of {100 * plan.limit:g} % bad")
    if found.sampled == "fail":
        return Banner("fail", f"more than {100 * plan.limit:g} % are bad")
    evidence = f"evidence to pass {found.for_pass:.2g}, to fail {found.for_fail:.2g}"
    return Banner("open", f"not enough yet: {evidence}; {found.enough:g} settles it")


def make_desk(run: Run, plan: Plan, store: ReviewStore) -> Desk:
    """All that the page of this review shows and takes."""
    return Desk(
        run=run.store.root.rstrip("/").rsplit("/", 1)[-1],
        plan=plan,
        store=store,
        items=Items(run, plan).shown(),
        vocabulary=VOCABULARY,
        corrected=corrected,
        banner=Paced(partial(live, plan, store)),
    )


def sit(
    run: Run,
    plan: Plan,
    store: ReviewStore,
    folder: Path,
    reviewers: Sequence[str],
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serves the page until it is stopped. `folder`: where this plan lies; the previews are kept beside it.

    ServeError: the port is taken; ConfigError: a name is none. A link, one a reviewer, works again after a restart.
    """
    from review.app import make_app

    names = list(dict.fromkeys(name.strip() for name in reviewers))
    if not all(0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise ConfigError(f"--reviewer takes a name of 1 to {MAX_NAME} printable characters")
    kept = read_seats(folder).of(names)
    desk = make_desk(run, plan, store)
    projector = Projector(folder.parent / PREVIEWS, OpenStudio(folder.parent / PREVIEWS, run.config.limits()))
    sock = listen(port, kept.port)
    found: int = sock.getsockname()[1]
    write_seats(folder, Seats(kept.seats, found))
    links = [f"http://127.0.0.1:{found}{seat.start}" for seat in kept.seats]
    for seat, link in zip(kept.seats, links, strict=True):
        say(f"{seat.reviewer} reviews at {link}")
    say("stop with Ctrl-C: every verdict is kept, and the same command goes on")

    def began() -> None:
        if browser and links:
            open_browser(folder, links[0])

    try:
        serve(make_app(desk, projector, kept.seats, hosts(found)), sock, began)
    finally:
        projector.close()


def open_browser(
    folder: Path, link: str, find: Callable[[], webbrowser.BaseBrowser] = webbrowser.get
) -> None:
    """Opens the link in a browser with windows, if there is one, by way of a file that only this user can read: the
    command line of a program, which has the address in it, can be read by all users of the machine."""
    try:
        found = find()
    except webbrowser.Error:
        return
    if type(found) is webbrowser.GenericBrowser:
        return  # one that would take over this terminal
    page = folder / "open.html"
    write_private(page, f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={escape(link)}">')
    found.open(page.as_uri())
