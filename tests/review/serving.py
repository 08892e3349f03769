"""Servers of reviews in processes of their own: each line of the standard input is a folder, and starts one.

The libraries are loaded once: each server is a copy of this process.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn  # noqa: F401  (loaded before the copies are made)

from review.app import make_app
from review.desk import Desk
from review.projector import OpenStudio, Projector
from review.serve import Seats, hosts, listen, read_seats, serve, write_seats
from review.store import ReviewStore


def corrected(text: str) -> Mapping[str, Any]:
    """The one rule of the real schema that the tests break."""
    found: dict[str, Any] = json.loads(text)
    main = sum(subject["is_main_subject"] for subject in found["subjects"])
    if main != 1:
        raise ValueError(f"{main} main subjects, one is needed")
    return found


def serve_review(folder: Path) -> None:
    """Serves the review that a test has put in a folder, after a line of JSON: this process, and a link a reviewer."""
    plan, items, reviewers = pickle.loads((folder / "review.pickle").read_bytes())
    kept = read_seats(folder).of(reviewers)
    sock = listen(0, kept.port)
    port = sock.getsockname()[1]
    write_seats(folder, Seats(kept.seats, port))
    previews = folder.parent / "previews"
    projector = Projector(previews, OpenStudio(previews))
    with ReviewStore(folder / "verdicts.sqlite", plan) as store:
        vocabulary = {"shot_type": ["long_shot", "close_up"]}
        desk = Desk("films", plan, store, items, vocabulary, corrected)
        links = {seat.reviewer: f"http://127.0.0.1:{port}{seat.start}" for seat in kept.seats}
        print(json.dumps({"process": os.getpid(), "links": links}), flush=True)
        serve(make_app(desk, projector, kept.seats, hosts(port)), sock, lambda: None)
    projector.close()


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the servers
for line in sys.stdin:
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.stdin.close()
        serve_review(Path(line.strip()))
        os._exit(0)
