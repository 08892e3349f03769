"""The review's server: seats that outlive a restart, a port of 127.0.0.1, and uvicorn on it until it is stopped."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from review.app import Seat

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST = "127.0.0.1"
TOKEN_BYTES = 24
SEATS = "seats.json"


class ServeError(Exception):
    """The page cannot be served here; the sentence says why."""


@dataclass(frozen=True)
class Seats:
    """Who reviews, and where: kept beside the verdicts, for this user's eyes, so that a link works after a restart."""

    seats: tuple[Seat, ...]
    port: int
    """The last one; 0 before the first."""

    def of(self, reviewers: Sequence[str]) -> Seats:
        """The seats of these reviewers, new ones where they have none."""
        known = {seat.reviewer: seat for seat in self.seats}
        fresh = {name: Seat(name, secrets.token_urlsafe(TOKEN_BYTES)) for name in reviewers}
        return Seats(tuple((fresh | known)[name] for name in reviewers), self.port)


def read_seats(folder: Path) -> Seats:
    """The seats kept in this folder; none where it has none that can be read."""
    try:
        plain = json.loads((folder / SEATS).read_bytes())
        seats = tuple(Seat(str(name), str(token)) for name, token in plain["tokens"].items())
        return Seats(seats, int(plain["port"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Seats((), 0)


def write_seats(folder: Path, seats: Seats) -> None:
    """Keeps these seats beside those that are there."""
    tokens = {seat.reviewer: seat.token for seat in (*read_seats(folder).seats, *seats.seats)}
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / SEATS, json.dumps({"port": seats.port, "tokens": tokens}, indent=1))


def write_private(path: Path, text: str) -> None:
    """Puts a text into a file that only this user can read; the file is whole or not there."""
    scratch = path.with_name(f".tmp-{secrets.token_hex(8)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(scratch, path)


def listen(port: int, last: int = 0) -> socket.socket:
    """A listening socket of 127.0.0.1; `port` 0 is the `last` one if it is free, else any. ServeError: it is taken."""
    for wanted in [port] if port else [last, 0]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, wanted))
            sock.listen(128)
            return sock
        except OSError as error:
            sock.close()
            fault = error
    raise ServeError(f"port {port} of {HOST} cannot be used: {fault.strerror}; --port 0 takes a free one")


def hosts(port: int) -> tuple[str, ...]:
    """What a browser on this machine calls a server on this port."""
    return f"{HOST}:{port}", f"localhost:{port}"


def serve(app: ASGIApp, sock: socket.socket, began: Callable[[], None]) -> None:
    """Serves until SIGINT or SIGTERM; `began` is called, in a thread, once it answers. Closes the socket."""
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=False,  # the start links hold tokens
        log_level="warning",
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=began, daemon=True).start()  # the socket listens already: whoever comes waits
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        return  # the usual way to end a review
    finally:
        sock.close()
