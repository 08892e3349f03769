"""The review's HTTP side: who is let in, what is answered, and that nothing else comes out."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.reasons import MediaError, Reason
from review.app import COOKIE, HEADER, POLICY, STATIC, Seat, make_app
from review.desk import Banner, Desk, Refused
from review.footage import Order
from review.plan import Plant
from review.previews import About, Still
from review.projector import Projector
from review.serve import Seats, ServeError, hosts, listen, read_seats, write_seats
from review.store import ReviewStore

ANN, BEN = Seat("ann", "a" * 32), Seat("ben", "b" * 32)
HOST = "127.0.0.1:4711"
OURS = {HEADER: "1", "sec-fetch-site": "same-origin", "origin": f"http://{HOST}"}


@dataclass(frozen=True)
class FakeStudio:
    """Makes previews of a few bytes; fails where it is told to."""

    folder: Path
    fails: frozenset[str] = frozenset()

    def preview(self, order: Order) -> About:
        if order.footage.name in self.fails:
            raise MediaError(Reason.DECODE_ERROR, "the decoder reports: damaged")
        about = About("clip.mp4", 320, 256, (0.0, 0.05, 0.1), (Still("0.jpg", "first", 0.0),))
        folder = self.folder / order.key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "clip.mp4").write_bytes(bytes(range(200)))
        (folder / "0.jpg").write_bytes(b"a picture")
        return about


@dataclass(frozen=True)
class Opened:
    """A review with a client that has ann's cookie."""

    client: TestClient
    desk: Desk
    store: ReviewStore

    def get(self, path: str, seat: Seat = ANN, **headers: str) -> Any:
        cookies = {"cookie": f"{COOKIE}={seat.token}"}
        return self.client.get(f"/{seat.place}/{path}", headers=cookies | headers)

    def say(self, seat: Seat = ANN, headers: dict[str, str] | None = None, **said: Any) -> Any:
        cookies = {"cookie": f"{COOKIE}={seat.token}"}
        given = OURS if headers is None else headers
        return self.client.post(f"/{seat.place}/api/event", json=said, headers=cookies | given)

    def judge(self, item: str, verdict: str = "good", seat: Seat = ANN, **more: Any) -> Any:
        plain = {"client_id": f"{seat.reviewer}-{item}-{verdict}", "kind": "verdict", "item": item}
        return self.say(seat, verdict=verdict, **(plain | more))


Open = Callable[..., Opened]


@contextmanager
def opening(films: Any, making: Any, folder: Path) -> Iterator[Open]:
    """A function that opens a review over a fake studio; all of them are closed in the end."""
    with ExitStack() as stack:
        numbers = count()

        def make(
            size: int = 4, fails: int | None = None, corrected: Any = json.loads, **changes: Any
        ) -> Opened:
            plan = making.plan(size, **changes)
            store = stack.enter_context(ReviewStore(folder / f"{next(numbers)}.sqlite", plan))
            shown = making.shown(films, plan)
            failing = [] if fails is None else [shown[plan.items[fails].item_id].order.footage.name]
            studio = FakeStudio(folder / "previews", frozenset(failing))
            projector = stack.enter_context(closing(Projector(studio.folder, lambda _: studio)))
            desk = Desk(
                "films", plan, store, shown, {"shot_type": ["long_shot"]}, corrected, now=lambda: 1_000.0
            )
            app = make_app(desk, projector, [ANN, BEN], hosts(4711))
            return Opened(TestClient(app, base_url=f"http://{HOST}"), desk, store)

        yield make


@pytest.fixture
def opened(films: Any, making: Any, tmp_path: Path) -> Iterator[Open]:
    with opening(films, making, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def untouched(films: Any, making: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A review in which nobody says anything that counts."""
    with opening(films, making, tmp_path_factory.mktemp("untouched")) as make:
        yield make()


def test_nobody_comes_in_without_the_link(untouched: Opened) -> None:
    review = untouched
    paths = [
        "",
        "app.js",
        "api/about",
        "api/state",
        "api/item/x",
        "media/x/clip",
        "start",
        "start?token=",
        "start?token=x",
    ]
    assert {path: review.client.get(f"/{ANN.place}/{path}").status_code for path in paths} == dict.fromkeys(
        paths, 401
    )
    assert [review.client.get(path).status_code for path in ("/", "/x", "//", "/docs")] == [401] * 4
    other = review.client.get(f"/{BEN.place}/api/state", headers={"cookie": f"{COOKIE}={ANN.token}"})
    assert other.status_code == 401, "one reviewer's cookie opens no other seat"


def test_the_link_gives_a_cookie_that_no_script_reads_and_no_other_site_sends(
    untouched: Opened,
) -> None:
    answer = untouched.client.get(ANN.start)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200
    assert 'content="0; url=./"' in answer.text
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
        "httponly",
        "samesite=strict",
        f"path=/{ANN.place}/",
    }
    assert cookie.startswith(f"{COOKIE}={ANN.token}")
    assert ANN.token not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "evil.example:4711", "[::1]:4711", ""]
)
def test_another_host_name_is_refused(untouched: Opened, host: str) -> None:
    review = untouched
    assert review.get("api/state", host=host).status_code == 400
    assert review.get("api/state", host="localhost:4711").status_code == 200


FORGED: tuple[dict[str, str], ...] = (
    {},
    {HEADER: "1", "sec-fetch-site": "cross-site"},
    {HEADER: "1", "sec-fetch-site": "same-site"},
    {HEADER: "1", "origin": "http://evil.example"},
    {HEADER: "1", "origin": "http://127.0.0.1:4712"},
    {HEADER: "1", "origin": "null"},
    {HEADER: "2"},
    {HEADER: "1", "content-type": "text/plain"},
    {HEADER: "1", "content-type": "application/x-www-form-urlencoded"},
)


def test_an_event_comes_from_our_page_alone(opened: Open) -> None:
    review = opened()
    item = review.desk.plan.items[0].item_id
    said = {"client_id": "12345678", "kind": "verdict", "item": item, "verdict": "good"}
    assert [review.say(headers=headers, **said).status_code for headers in FORGED] == [403] * len(FORGED)
    assert review.store.events() == ()
    assert review.say(**said).status_code == 200


def test_another_site_gets_no_media_and_no_state(untouched: Opened) -> None:
    review = untouched
    item = review.desk.plan.items[0].item_id
    for path in ("api/state", f"media/{item}/clip", "app.js"):
        assert (
            review.get(path, **{"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code
            == 403
        )
        assert review.get(path, **{"sec-fetch-site": "same-origin"}).status_code == 200


def test_every_answer_is_closed_to_scripts_frames_and_caches(untouched: Opened) -> None:
    review = untouched
    answers = [
        review.get(""),
        review.get("api/state"),
        review.get("nothing"),
        review.client.get("/"),
        review.say(headers={}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 401, 403]
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_a_verdict_is_in_the_file_once_it_is_answered_and_twice_is_once(
    opened: Open,
) -> None:
    review = opened()
    first, second = (item.item_id for item in review.desk.plan.items[:2])
    state = review.judge(first, looked_s=4.5).json()
    assert (state["judged"], state["mine"], state["items"], state["queue"][0]) == (1, 1, 4, second)
    assert state["seconds_left"] == pytest.approx(3 * 4.5)
    assert review.judge(first, looked_s=4.5).json() == state
    (event,) = review.store.events()
    assert (event.item_id, event.reviewer, event.verdict, event.shown_at, event.made_at) == (
        first,
        "ann",
        "good",
        995.5,
        1000,
    )


@pytest.mark.parametrize("looked_s", [10**400, float("nan"), -1, 86_400, "4", None])
def test_a_time_that_is_none_is_not_kept(opened: Open, looked_s: Any) -> None:
    review = opened()
    first = review.desk.plan.items[0].item_id
    review.desk.take(
        "ann",
        {"client_id": "looked-1", "kind": "verdict", "item": first, "verdict": "good", "looked_s": looked_s},
    )
    assert review.store.events()[0].shown_at is None


def test_bad_wants_reasons_of_this_gate(opened: Open) -> None:
    review = opened()
    first = review.desk.plan.items[0].item_id
    for reasons in ([], ["no_such"], "logo", ["logo", 3], None, [["logo"]]):
        assert review.judge(first, "bad", reasons=reasons).status_code == 422
    refused = review.judge(first, "bad", reasons=["other", "logo"])
    assert (refused.status_code, refused.json()["message"]) == (422, "say in a note what else is wrong")
    note = {"client_id": "note-0001", "kind": "note", "item": first, "note": "a hair on the lens"}
    assert review.say(ANN, **note).status_code == 200
    assert review.judge(first, "bad", reasons=["other", "logo"]).status_code == 200
    assert review.store.events()[-1].reasons == ("logo", "other")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"client_id": "x" * 65, "kind": "undo"},
        {"client_id": "../../etc", "kind": "undo"},
        {"client_id": 12345678, "kind": "undo"},
        {"client_id": "12345678", "kind": "drop"},
        {"client_id": "12345678", "kind": "verdict", "item": "none", "verdict": "good"},
        {"client_id": "12345678", "kind": "verdict", "verdict": "good"},
        {"client_id": "12345678", "kind": "verdict", "item": "0000000000000001", "verdict": "maybe"},
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(untouched: Opened, said: dict[str, Any]) -> None:
    review = untouched
    answer = review.say(**said)
    assert answer.status_code == 422
    assert len(answer.json()["message"]) > 10
    assert review.store.events() == ()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": "' + b"x" * (1 << 21) + b'"}']
)
def test_a_body_that_is_no_event_is_refused(untouched: Opened, body: bytes) -> None:
    review = untouched
    headers = OURS | {"cookie": f"{COOKIE}={ANN.token}", "content-type": "application/json"}
    assert review.client.post(f"/{ANN.place}/api/event", content=body, headers=headers).status_code == 422


def test_undo_brings_the_item_back_and_a_stranger_cannot(opened: Open) -> None:
    review = opened()
    first = review.desk.plan.items[0].item_id
    review.judge(first)
    assert review.say(BEN, client_id="ben-undo", kind="undo").json()["mine"] == 0
    assert review.store.progress().judged == 1
    state = review.say(client_id="ann-undo", kind="undo").json()
    assert (state["queue"][0], state["judged"], state["can_undo"]) == (first, 0, False)


def test_a_third_reader_is_told_to_go_on(opened: Open) -> None:
    review = opened(1)
    (item,) = review.desk.plan.items
    review.store.append(_reading(item.item_id, "carl", "1" * 8))
    review.store.append(_reading(item.item_id, "dora", "2" * 8))
    answer = review.judge(item.item_id)
    assert answer.status_code == 409
    assert "readers" in answer.json()["message"]


def _reading(item: str, reviewer: str, client: str) -> Any:
    from review.store import Event

    return Event(client, item, reviewer, "verdict", 1.0, verdict="good")


def test_notes_and_corrections_come_back_to_their_writer_alone(opened: Open, making: Any) -> None:
    review = opened()
    first = review.desk.plan.items[0].item_id
    corrected = making.caption("Hard light.")
    assert review.say(client_id="note-0001", kind="note", item=first, note=" a\n note ").status_code == 200
    assert review.say(client_id="edit-0001", kind="edit", item=first, caption=corrected).status_code == 200
    mine, others = review.get(f"api/item/{first}").json(), review.get(f"api/item/{first}", BEN).json()
    assert (mine["note"], mine["edit"], others["note"], others["edit"]) == ("a\n note", corrected, "", None)
    assert (
        review.say(client_id="edit-0002", kind="edit", item=first, caption=making.caption()).status_code
        == 200
    )
    assert review.get(f"api/item/{first}").json()["edit"] is None, "as it was is no correction"


def test_a_note_that_would_not_be_kept_whole_is_refused(opened: Open) -> None:
    review = opened()
    first = review.desk.plan.items[0].item_id
    longest = "x" * 1_998 + "\ny"
    for note, why in (
        (longest + "z", "at most 2,000 characters, and this one has 2,001"),
        (None, "a note is text"),
    ):
        answer = review.say(client_id="note-0001", kind="note", item=first, note=note)
        assert (answer.status_code, why in answer.json()["message"]) == (422, True)
    assert review.say(client_id="note-0001", kind="note", item=first, note=longest).status_code == 200
    assert review.get(f"api/item/{first}").json()["note"] == longest


def test_a_caption_that_does_not_fit_is_refused_with_the_reason(opened: Open) -> None:
    def corrected(text: str) -> Any:
        raise ValueError("two main subjects")

    review = opened(corrected=corrected)
    answer = review.say(
        client_id="edit-0001", kind="edit", item=review.desk.plan.items[0].item_id, caption={}
    )
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        "this cannot be the caption: two main subjects",
    )


def test_media_come_by_id_in_byte_ranges(untouched: Opened) -> None:
    review = untouched
    item = review.desk.plan.items[0].item_id
    whole = review.get(f"media/{item}/clip")
    assert (whole.status_code, whole.headers["content-type"], whole.content) == (
        200,
        "video/mp4",
        bytes(range(200)),
    )
    part = review.get(f"media/{item}/clip", range="bytes=10-19")
    assert (part.status_code, part.headers["content-range"], part.content) == (
        206,
        "bytes 10-19/200",
        bytes(range(10, 20)),
    )
    assert review.get(f"media/{item}/clip", range="bytes=300-").status_code == 416
    assert review.get(f"media/{item}/0").headers["content-type"] == "image/jpeg"
    assert review.get(f"media/{item}-twin/clip").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "media/{item}/about.json",
        "media/{item}/..%2f..%2fsecret",
        "media/..%2f..%2fsecret/clip",
        "media/%2fetc%2fpasswd/clip",
        "media/{item}/%2e%2e",
        "media/{item}/1",
        "media/{item}/-1",
        "media/0000000000000002-twin/clip",
        "..%2f..%2fsecret",
        "%2e%2e/secret",
        "index.html",
        "../app.py",
    ],
)
def test_no_path_leads_elsewhere(untouched: Opened, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    review = untouched
    answer = review.get(path.format(item=review.desk.plan.items[0].item_id))
    assert answer.status_code in (401, 404, 422)
    assert "secret" not in answer.text


def test_a_clip_that_cannot_be_shown_says_why(opened: Open) -> None:
    review = opened(fails=0)
    item = review.desk.plan.items[0].item_id
    for path in (f"api/item/{item}", f"media/{item}/clip"):
        answer = review.get(path)
        assert answer.status_code == 424
        assert answer.json() == {
            "message": "this clip cannot be shown: the decoder reports: damaged",
            "reason": "decode_error",
        }


def test_nothing_tells_a_planted_item_from_another(opened: Open, making: Any) -> None:
    planted = list(making.plan(4).items)
    planted[1] = type(planted[1])(planted[1].item_id, "clip2", "", 1.0, planted=Plant("logo"))
    review = opened(4, items=tuple(planted))
    pages = [review.get(f"api/item/{item.item_id}").json() for item in planted]
    assert {frozenset(page) for page in pages} == {frozenset(pages[0])}
    text = json.dumps([pages[1], review.get("api/state").json()])
    assert not re.search("plant|side|stratum|inclusion|double|donor|logo", text)


def test_the_page_has_no_script_or_style_in_it_and_needs_nothing_from_elsewhere(untouched: Opened) -> None:
    page = (STATIC / "index.html").read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert not re.search(r"""\son[a-z]+=""", page)
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            "https?:|innerHTML|outerHTML|insertAdjacent|document.write|eval\\(|@import", text
        ), path
        if path.name != "index.html":
            assert untouched.get(path.name).text == path.read_text()
    named = {
        name for script in STATIC.glob("*.js") for name in re.findall(r'from "./(.+?)"', script.read_text())
    }
    assert all((STATIC / name).is_file() for name in named)


# --- what makes previews in the background


def test_who_looks_comes_before_what_is_fetched_in_advance(films: Any, tmp_path: Path) -> None:
    from review.footage import Footage

    orders = [Order(Footage(films.rows[0], number, number + 1)) for number in range(4)]
    begun, go, made = threading.Event(), threading.Event(), list[str]()

    class Slow:
        def preview(self, order: Order) -> About:
            begun.set()
            assert go.wait(10)
            made.append(order.key)
            return About("clip.mp4", 1, 1, (0.0,), ())

    projector = Projector(tmp_path, lambda stack: Slow())
    try:
        projector.prefetch(orders[:3])
        assert begun.wait(10)
        waiting: Future[About] = projector.ask(orders[3])
        assert projector.ask(orders[3]) is waiting
        go.set()
        waiting.result(10)
        assert made == [orders[0].key, orders[3].key], "what nobody waits for gave way"
    finally:
        projector.close()


def test_a_preview_that_failed_is_tried_again(films: Any, tmp_path: Path) -> None:
    from review.footage import Footage

    order = Order(Footage(films.rows[0], 0, 1))
    studio = FakeStudio(tmp_path, frozenset({order.footage.name}))
    tries = iter([studio, FakeStudio(tmp_path)])

    class Both:
        def preview(self, order: Order) -> About:
            return next(tries).preview(order)

    projector = Projector(tmp_path, lambda stack: Both())
    try:
        with pytest.raises(MediaError):
            projector.ask(order).result(10)
        assert projector.ask(order).result(10).width == 320
    finally:
        projector.close()


# --- seats and ports


def test_seats_are_kept_for_this_user_alone_and_work_again(tmp_path: Path) -> None:
    first = read_seats(tmp_path).of(["ann", "ben"])
    write_seats(tmp_path, Seats(first.seats, 4711))
    assert (tmp_path / "seats.json").stat().st_mode & 0o777 == 0o600
    again = read_seats(tmp_path).of(["ben", "carl"])
    assert again.port == 4711
    assert again.seats[0] == first.seats[1]
    assert len({seat.token for seat in (*first.seats, *again.seats)}) == 3
    assert all(len(seat.token) == 32 for seat in again.seats)
    write_seats(tmp_path, Seats(again.seats, 4712))
    assert {seat.reviewer for seat in read_seats(tmp_path).seats} == {"ann", "ben", "carl"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seats.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"port": "x", "tokens": {}}', '{"tokens": {}}', '{"port": 1, "tokens": []}']
)
def test_seats_that_cannot_be_read_are_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "seats.json").write_text(text)
    assert read_seats(tmp_path) == Seats((), 0)


def test_the_server_listens_on_this_machine_alone_and_takes_its_last_port() -> None:
    first = listen(0)
    address, port = first.getsockname()
    try:
        assert address == "127.0.0.1"
        with pytest.raises(ServeError, match=str(port)):
            listen(port)
        other = listen(0, port)
        assert other.getsockname()[1] != port
        other.close()
    finally:
        first.close()
    again = listen(0, port)
    assert again.getsockname()[1] == port
    again.close()


def test_what_the_verdicts_come_to_is_asked_for_by_itself(untouched: Opened) -> None:
    assert untouched.get("api/banner").json() is None
    standing = replace(untouched.desk, banner=lambda: Banner("open", "not enough yet")).standing()
    assert standing == {"state": "open", "words": "not enough yet"}
    assert "banner" not in untouched.desk.state("ann"), "the next clip does not wait for it"


def test_previews_are_made_in_the_order_of_the_plan(opened: Open) -> None:
    desk = opened(20).desk
    names = {id(shown.order): number for number, shown in enumerate(desk.items.values())}
    items = list(desk.items)
    assert [names[id(order)] for order in desk.coming(items[:3])] == list(range(1, 13))
    assert [names[id(order)] for order in desk.coming([items[17], items[2]])] == [2, 18, 19]
    assert desk.coming([]) == []


def test_a_desk_refuses_an_item_that_is_not_of_the_plan(untouched: Opened) -> None:
    desk = untouched.desk
    with pytest.raises(Refused):
        desk.shown("0")
    assert np.isfinite(desk.state("ann")["items"])
