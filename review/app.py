"""The review's web application: a page, its media by id, and one door for events. Every request passes the guard.

    GET  /SEAT/start?token=...     sets the cookie and leads to the page
    GET  /SEAT/                    the page; its scripts and style beside it
    GET  /SEAT/api/about           what stays the same; api/state: how far it is; api/banner: what it comes to
    GET  /SEAT/api/item/ID         one item
    POST /SEAT/api/event           a verdict, an undo, a note or an edit; durable once it is answered
    GET  /SEAT/media/ID/clip       the preview, in byte ranges; media/ID/0 and on: stills

A seat is one reviewer's place: its token stands in the link that the command prints and then in a cookie of that path.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.reasons import MediaError
from pipeline.store import StorageError, Unreachable
from review.desk import Desk, Refused
from review.footage import Order
from review.previews import About
from review.projector import Projector
from review.store import ReviewError, Taken

STATIC = Path(__file__).with_name("static")
FILES = ("app.js", "caption.js", "dom.js", "player.js", "talk.js", "style.css", "icon.svg")
COOKIE = "rushes-review"
HEADER = "x-rushes-review"
"""Sent by the page with every event: a form of another site cannot."""
MAX_BODY_BYTES = 1 << 21
"""Of an event: a caption of 1 MiB, and what JSON makes of it."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SECURE = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
OPENING = (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>rushes review</title>'
    '<link rel="icon" href="icon.svg"><meta http-equiv="refresh" content="0; url=./"></html>'
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MEDIA = {".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class Seat:
    """One reviewer's place and the secret that opens it."""

    reviewer: str
    token: str

    @property
    def place(self) -> str:
        """The first part of its paths: 12 hex digits that do not give the token away."""
        return hashlib.sha256(f"seat:{self.token}".encode()).hexdigest()[:12]

    @property
    def start(self) -> str:
        """The path that opens it."""
        return f"/{self.place}/start?token={self.token}"


def make_app(desk: Desk, projector: Projector, seats: Sequence[Seat], hosts: Sequence[str]) -> ASGIApp:
    """The application for these seats. `hosts`: the values of the Host header that it answers to."""
    by_place = {seat.place: seat for seat in seats}
    pages = _Pages(desk, projector, by_place)
    routes = [
        Route("/{seat}/start", pages.start),
        Route("/{seat}/", pages.page),
        Route("/{seat}/{name:str}", pages.static),
        Route("/{seat}/api/about", pages.about),
        Route("/{seat}/api/state", pages.state),
        Route("/{seat}/api/banner", pages.banner),
        Route("/{seat}/api/item/{item}", pages.item),
        Route("/{seat}/api/event", pages.event, methods=["POST"]),
        Route("/{seat}/media/{item}/{name}", pages.media),
    ]
    return Guard(Starlette(routes=routes), by_place, tuple(hosts))


@dataclass(frozen=True)
class Guard:
    """Lets through who has a seat, from our own page, by our own name; says how browsers must treat the answer."""

    app: ASGIApp
    seats: Mapping[str, Seat]
    hosts: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURE.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self.app)(scope, receive, secured)

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        # A name that leads here from outside (DNS rebinding) has another Host.
        if headers.get("host", "") not in self.hosts:
            return PlainTextResponse("this host name is not mine", 400)
        path = str(request.scope["path"])
        seat = self.seats.get(path.removeprefix("/").partition("/")[0])
        opens = seat is not None and path == f"/{seat.place}/start"
        token = request.query_params.get("token", "") if opens else request.cookies.get(COOKIE, "")
        if seat is None or not hmac.compare_digest(token.encode(), seat.token.encode()):
            return PlainTextResponse("open the link that `rushes review` printed", 401)
        if request.method not in ("GET", "HEAD") and not self._from_our_page(headers):
            return PlainTextResponse("events come from the page alone", 403)
        strange = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        if strange and headers.get("sec-fetch-mode") != "navigate":
            return PlainTextResponse("this is for the page alone", 403)
        return None

    def _from_our_page(self, headers: Headers) -> bool:
        return (
            headers.get(HEADER) == "1"
            and headers.get("content-type", "").partition(";")[0] == "application/json"
            and headers.get("sec-fetch-site", "same-origin") == "same-origin"
            and headers.get("origin", f"http://{headers['host']}") == f"http://{headers['host']}"
        )


@dataclass(frozen=True)
class _Pages:
    """The answers, for requests that passed the guard."""

    desk: Desk
    projector: Projector
    seats: Mapping[str, Seat]

    def _reviewer(self, request: Request) -> str:
        return self.seats[request.path_params["seat"]].reviewer

    async def start(self, request: Request) -> Response:
        """The cookie, and a page that goes on to the real one: a redirect would come without the cookie where the
        link was followed from another site, such as a terminal in the browser."""
        seat = self.seats[request.path_params["seat"]]
        response = HTMLResponse(OPENING)
        response.set_cookie(COOKIE, seat.token, path=f"/{seat.place}/", httponly=True, samesite="strict")
        return response

    async def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", media_type=TYPES[".html"])

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            return PlainTextResponse("there is no such file", 404)
        return FileResponse(STATIC / name, media_type=TYPES[Path(name).suffix])

    async def about(self, request: Request) -> Response:
        return JSONResponse(self.desk.about(self._reviewer(request)))

    async def state(self, request: Request) -> Response:
        state = await run_in_threadpool(self.desk.state, self._reviewer(request))
        return JSONResponse(self._prefetched(state))

    def _prefetched(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state; the clips after the first are on their way."""
        self.projector.prefetch(self.desk.coming(state["queue"]))
        return state

    async def banner(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.desk.standing))

    async def item(self, request: Request) -> Response:
        item = request.path_params["item"]

        async def answer() -> Response:
            shown = self.desk.shown(item)
            about = await self._preview(shown.order)
            twin = None
            if "twin" in request.query_params and shown.twin is not None:
                twin = await self._preview(shown.twin.order)
            found = await run_in_threadpool(self.desk.item, self._reviewer(request), item, about, twin)
            return JSONResponse({**found, "has_twin": shown.twin is not None})

        return await _answered(answer)

    async def _preview(self, order: Order) -> About:
        # Shielded: others may wait for the same preview when this page goes away.
        return await asyncio.shield(asyncio.wrap_future(self.projector.ask(order)))

    async def media(self, request: Request) -> Response:
        item, name = request.path_params["item"], request.path_params["name"]

        async def answer() -> Response:
            shown = self.desk.shown(item.removesuffix("-twin"))
            order = shown.order
            if item.endswith("-twin"):
                if shown.twin is None:
                    raise Refused("this item has no clip to compare")
                order = shown.twin.order
            about = await self._preview(order)
            files = {"clip": about.file} | {str(n): still.file for n, still in enumerate(about.stills)}
            if name not in files:
                raise Refused("there is no such picture")
            path = self.projector.file(order, files[name])
            headers = {"cache-control": "private, max-age=600"}
            return FileResponse(path, media_type=MEDIA[path.suffix], headers=headers)

        return await _answered(answer)

    async def event(self, request: Request) -> Response:
        async def answer() -> Response:
            said = await _body(request)
            state = await run_in_threadpool(self.desk.take, self._reviewer(request), said)
            return JSONResponse(self._prefetched(state))

        return await _answered(answer)


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request. Refused: it is none, or too long."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise Refused("this is too much for one event")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused("an event is a JSON object") from error
    if not isinstance(said, dict):
        raise Refused("an event is a JSON object")
    return said


async def _answered(answer: Callable[[], Awaitable[Response]]) -> Response:
    """The answer, or what went wrong as a status and a sentence for the page."""
    try:
        return await answer()
    except Taken as error:
        return _fault(409, str(error))
    except (Refused, ReviewError) as error:
        return _fault(422, str(error))
    except MediaError as error:
        return _fault(424, f"this clip cannot be shown: {error.message}", str(error.reason))
    except (StorageError, Unreachable, OSError) as error:
        return _fault(503, str(error))
    except ClientDisconnect:
        return _fault(400, "the page went away")


def _fault(status: int, sentence: str, reason: str = "") -> Response:
    return JSONResponse({"message": sentence, "reason": reason}, status)
