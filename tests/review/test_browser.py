"""The review's page in a real browser: played, judged, corrected, attacked, and its server killed in the middle."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
)
IDS = [f"{number:016x}" for number in range(1, 7)]
Open = Callable[..., Any]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """visit(link, **context) -> a page in a browser session of its own; what its console says is `page.said`."""
    contexts = []

    def open_page(link: str, **settings: Any) -> Any:
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(link)
        page.wait_for_url(re.compile("/[0-9a-f]{12}/$"))
        return page

    yield open_page
    for context in contexts:
        context.close()


def until(page: Any, expression: str, seconds: float = 10) -> Any:
    """The expression's value once it is true; the page's policy forbids the browser's own way of waiting."""
    deadline = time.monotonic() + seconds
    while not (value := page.evaluate(expression)):
        assert time.monotonic() < deadline, f"{expression} stays {value!r}; {page.inner_text('body')[:600]}"
        time.sleep(0.02)
    return value


def judged(page: Any, whole: int, mine: int | None = None) -> None:
    """Waits until the page has moved on after so many verdicts, of all reviewers and of this one."""
    until(page, f"progress.ariaValueNow === '{whole}' && !document.body.classList.contains('busy')")
    if mine is not None:
        until(page, f"document.querySelector('#progress-words').textContent.includes('{mine} by you')")


def playing(page: Any, whole: int) -> None:
    """Waits until the item after so many verdicts is on screen and moves."""
    judged(page, whole)
    until(page, "document.querySelector('#stage video')?.currentTime > 0")


def routed(page: Any, handler: Callable[[Any], None]) -> None:
    """Lets `handler` answer what the page says, once the browser asks it: that may be a little later."""
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.method)
        if route.request.method == "GET":  # by `routed`; the page posts
            route.abort()
        else:
            handler(route)

    page.route("**/api/event", answer)
    deadline = time.monotonic() + 10
    while not asked:
        page.evaluate("fetch('api/event').then(() => null, () => null)")
        assert time.monotonic() < deadline, "the browser does not ask"


def text(page: Any, element: str) -> str:
    return str(page.inner_text(f"#{element}"))


def test_a_clip_plays_in_a_loop_with_its_neighbours_and_its_caption(serving: Open, visit: Open) -> None:
    page = visit(serving().links["ann"])
    playing(page, 0)
    video = page.evaluate(
        "(({videoWidth: w, videoHeight: h, muted, loop}) => [w, h, muted, loop])(stage.firstChild)"
    )
    assert video == [320, 256, True, True]
    first = page.evaluate("document.querySelector('#stage video').currentTime")
    until(page, f"document.querySelector('#stage video').currentTime > {first} + 0.2")
    until(page, "document.querySelector('#stage video').currentTime < 0.2", 5)
    until(page, "[...document.querySelectorAll('#strip img')].every((image) => image.naturalWidth > 0)")
    labels = page.evaluate("[...document.querySelectorAll('#strip li')].map((one) => one.textContent)")
    assert labels == ["clip, first", "clip, middle", "clip, last", "frame after", "shot after"]
    assert (
        page.locator("#fields textarea")
        .evaluate_all("all => all.map((one) => one.value)")
        .count("Soft light.")
        == 1
    )
    assert "Not said: expression, shot angle, shot position, environment" in text(page, "caption")
    assert page.said == []


def test_every_key_does_what_it_says(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    press = page.keyboard.press
    press("Space")
    until(page, "document.querySelector('#stage video').paused")
    page.evaluate("document.querySelector('#seek').value = 3")
    press("ArrowRight")
    assert until(page, "document.querySelector('#frame').textContent") == "frame 5 of 30 · 0.20 s"
    assert page.evaluate("document.querySelector('#stage video').currentTime") == pytest.approx(0.225)
    press("ArrowLeft")
    assert "frame 4 of 30" in text(page, "frame")
    press("Space")
    until(page, "!document.querySelector('#stage video').paused")
    speeds = []
    for _ in range(3):
        press("x")
        speeds.append(page.evaluate("document.querySelector('#stage video').playbackRate"))
    assert speeds == [2, 0.5, 1]
    press("b")
    assert "asked" in page.get_attribute("#why", "class")
    assert server.events() == [], "bad without a reason is no verdict"
    press("6")
    press("q")
    press("q")
    chosen = page.locator("#reasons [aria-pressed=true]").all_inner_texts()
    assert [one.split("\n")[-1] for one in chosen] == ["Logo or watermark"]
    press("b")
    playing(page, 1)
    press("n")
    page.keyboard.type("good grief, bad sound 6")
    press("Escape")
    press("g")
    playing(page, 2)
    press("s")
    judged(page, 2, mine=3)
    press("u")
    judged(page, 2, mine=2)
    press("?")
    assert page.evaluate("document.querySelector('#keys').open")
    press("g")
    press("Escape")
    assert server.events() == [
        ("verdict", IDS[0], "bad"),
        ("note", IDS[1], None),
        ("verdict", IDS[1], "good"),
        ("verdict", IDS[2], "skip"),
        ("undo", IDS[2], None),
    ]
    assert page.said == []


def test_a_reload_goes_on_at_the_open_item_and_the_end_says_so(serving: Open, visit: Open) -> None:
    server = serving(3)
    page = visit(server.links["ann"])
    playing(page, 0)
    page.keyboard.press("g")
    playing(page, 1)
    page.reload()
    playing(page, 1)
    page.keyboard.press("g")
    playing(page, 2)
    page.keyboard.press("g")
    until(page, "!document.querySelector('#finished').hidden")
    assert "3 of 3 items are judged, 3 by you" in text(page, "finished-words")
    page.keyboard.press("u")
    playing(page, 2)
    assert [item for kind, item, _ in server.events()] == [*IDS[:3], IDS[2]]


def test_a_server_killed_between_keys_loses_nothing_that_it_acknowledged(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    for done in range(0, 6, 2):
        playing(page, done)
        page.keyboard.press("g")
        playing(page, done + 1)  # acknowledged: the page has moved on
        server.kill()
        assert len(server.events()) == done + 1
        page.keyboard.press("6")
        page.keyboard.press("b")
        until(page, "!document.querySelector('#trouble').hidden")
        assert text(page, "trouble-title") == "NOT SAVED"
        item = text(page, "source")
        time.sleep(0.2)
        assert text(page, "source") == item, "the page stays where it is"
        if done == 2:
            page.keyboard.press("g")  # has no meaning while the verdict is on its way
        server.start()
        until(page, f"document.querySelector('#progress').ariaValueNow === '{done + 2}'", 20)
        assert not page.is_visible("#trouble")
    assert server.events() == [("verdict", item, "bad" if n % 2 else "good") for n, item in enumerate(IDS)]


def test_a_verdict_that_is_on_its_way_survives_a_reload(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    routed(page, lambda route: route.abort())
    page.keyboard.press("g")
    until(page, "document.querySelector('#trouble-title').textContent === 'NOT SAVED'")
    assert server.events() == []
    page.unroute("**/api/event")
    page.reload()
    playing(page, 1)
    assert server.events() == [("verdict", IDS[0], "good")]


def test_two_tabs_of_one_link_keep_what_each_could_not_send(serving: Open, visit: Open) -> None:
    server = serving()
    one = visit(server.links["ann"])
    other = one.context.new_page()
    other.goto(one.url)
    for page, words in ((one, "top"), (other, "left")):
        playing(page, 0)
        routed(page, lambda route: route.abort())
        page.keyboard.press("n")
        page.keyboard.type(words)
        page.keyboard.press("Escape")
        until(page, "document.querySelector('#trouble-title').textContent === 'NOT SAVED'")
    assert server.events() == []
    for page in (one, other):
        page.goto("about:blank")
    one.unroute("**/api/event")
    one.goto(server.links["ann"])
    one.wait_for_url(re.compile("/[0-9a-f]{12}/$"))
    playing(one, 0)
    assert server.events() == [("note", IDS[0], None)] * 2
    assert one.input_value("#note") == "left"
    assert one.evaluate("localStorage.length") == 0


def test_what_is_refused_after_a_reload_is_said(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    routed(page, lambda route: route.abort())
    page.keyboard.press("g")
    until(page, "document.querySelector('#trouble-title').textContent === 'NOT SAVED'")
    page.unroute("**/api/event")
    refusal = {"status": 409, "json": {"message": "this item has its readers already"}}
    routed(page, lambda route: route.fulfill(**refusal))
    page.reload()
    playing(page, 0)
    assert text(page, "trouble-title") == "NOT TAKEN"
    words = f'the verdict "good" of item {IDS[0]}: this item has its readers already.'
    assert words in text(page, "trouble-words")
    page.unroute("**/api/event")
    page.keyboard.press("g")
    playing(page, 1)
    assert not page.is_visible("#trouble")


def test_a_correction_is_shown_until_it_is_known_to_be_taken_back(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    page.keyboard.press("e")
    field = page.locator("#fields label", has_text="lighting").locator("textarea")
    field.fill("Hard light.")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('#said').textContent === 'The correction is saved.'")
    routed(page, lambda route: route.fulfill(status=422, json={"message": "not now"}))
    page.click("#restore")
    until(page, "document.querySelector('#changed-words').textContent === 'Not taken back: not now.'")
    assert field.input_value() == "Hard light."
    page.fill("#note", "top\nleft")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('#trouble-title').textContent === 'NOT SAVED'")
    page.unroute("**/api/event")
    page.click("#restore")
    until(page, "document.querySelector('#changed').hidden")
    page.keyboard.press("g")
    until(page, "document.querySelector('#said').textContent === 'The note is not saved: not now.'")
    page.keyboard.press("Escape")
    page.fill("#note", "top\nleft!")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    playing(page, 1)
    assert [kind for kind, _, _ in server.events()] == ["edit", "edit", "note", "verdict"]


def test_an_answer_that_is_lost_is_no_second_verdict(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    lost = []

    def lose_first(route: Any) -> None:
        answer = route.fetch()  # the server has taken it ...
        lost.append(answer.status)
        if len(lost) == 1:
            route.abort()  # ... and the page never hears of it
        else:
            route.fulfill(response=answer)

    routed(page, lose_first)
    page.keyboard.press("g")
    playing(page, 1)
    assert lost == [200, 200]
    assert server.events() == [("verdict", IDS[0], "good")]


def test_texts_are_shown_as_texts(serving: Open, visit: Open, making: Any) -> None:
    page = visit(serving(words=making.hostile).links["ann"])
    playing(page, 0)
    page.keyboard.press("c")
    until(page, "!document.querySelector('#side-by-side').hidden")
    page.keyboard.press("c")
    until(page, "document.querySelector('#twin-words').textContent !== ''")
    assert making.hostile in page.evaluate("document.querySelector('#source').textContent")
    assert making.hostile in page.evaluate("document.querySelector('#twin-words').textContent")
    assert making.hostile in page.locator("#fields textarea").evaluate_all(
        "all => all.map((one) => one.value)"
    )
    page.keyboard.press("n")
    page.keyboard.type(making.hostile.replace("\u202e", ""))
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    playing(page, 1)
    page.keyboard.press("u")
    playing(page, 0)
    assert "onerror" in page.input_value("#note")
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert page.title() == "review 540p"
    assert page.said == []
    blocked = page.evaluate(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch { return 'refused'; } })()"
    )
    assert blocked == "refused", "the browser itself takes no markup from this page"


def test_corrections_are_marked_saved_and_taken_back(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    page.keyboard.press("e")
    field = page.locator("#fields label", has_text="lighting").locator("textarea")
    field.fill("Hard light.")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('#said').textContent === 'The correction is saved.'")
    assert "1 field corrected." in text(page, "changed")
    assert "changed; was: Soft light." in text(page, "fields")
    page.reload()
    playing(page, 0)
    assert field.input_value() == "Hard light."
    assert "1 field corrected." in text(page, "changed")
    page.keyboard.press("e")
    page.locator("#fields label", has_text="is main subject").locator("input").uncheck()
    until(page, "document.querySelector('#changed').classList.contains('refused')")
    assert "main subjects" in text(page, "changed")
    page.keyboard.press("g")
    assert [kind for kind, _, _ in server.events()] == ["edit"], "what was not taken holds the verdict back"
    page.click("#restore")
    until(page, "document.querySelector('#changed').hidden")
    page.keyboard.press("g")
    playing(page, 1)
    assert [kind for kind, _, _ in server.events()] == ["edit", "edit", "verdict"]


def test_another_reason_asks_for_its_note(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    key = page.locator("#reasons button", has_text="say so in a note").locator("kbd").inner_text()
    page.keyboard.press(key.lower())
    page.keyboard.press("b")
    assert page.evaluate("document.activeElement.id") == "note"
    assert "Say in the note what is wrong" in page.evaluate("document.querySelector('#said').textContent")
    assert "asked" in page.get_attribute("#because", "class")
    assert page.get_attribute("#note", "placeholder") == "say what is wrong"
    assert server.events() == []
    page.keyboard.type("a hair on the lens, b")
    assert "asked" not in page.get_attribute("#because", "class")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    playing(page, 1)
    assert server.events() == [("note", IDS[0], None), ("verdict", IDS[0], "bad")]


def test_a_subject_is_added_and_removed_by_keyboard(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    page.focus("#fields .add")
    page.keyboard.press("Enter")
    assert "not saved yet: say what it is" in text(page, "changed")
    assert page.locator("#fields .group").count() == 2
    assert page.evaluate("document.activeElement.closest('.field').textContent") == "type"
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    assert server.events() == [], "what was added holds the verdict back until it says something"
    added = page.locator("#fields .group").nth(1)
    added.locator("textarea").nth(0).fill("Animal")
    page.keyboard.press("Escape")
    until(page, "document.querySelector('#said').textContent === 'The correction is saved.'")
    assert text(page, "changed-words") == "1 field corrected, 1 subject added."
    page.reload()
    playing(page, 0)
    assert text(page, "changed-words") == "1 field corrected, 1 subject added."
    page.keyboard.press("e")
    page.locator("#fields .group").nth(1).get_by_label("is main subject").check()
    until(page, "document.querySelector('#changed-words').textContent.includes('2 main subjects')")
    page.locator("#fields .remove").nth(0).focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#said').textContent === 'The correction is saved.'")
    assert text(page, "changed-words") == "5 fields corrected."  # as many as before: one became another
    page.keyboard.press("g")
    playing(page, 1)
    assert [kind for kind, _, _ in server.events()] == ["edit", "edit", "verdict"]


def test_what_is_left_of_several_subjects_is_told_from_what_was_added(serving: Open, visit: Open) -> None:
    page = visit(serving().links["ann"])
    playing(page, 0)
    man, dog = (
        {"type": "Human", "looks": "tall", "does": ""},
        {"type": "Animal", "looks": "small", "does": ""},
    )
    new = {"type": "Vehicle", "looks": "", "does": ""}
    for now, origins in (
        ([dog], [1]),
        ([man, new, dog], [0, -1, 1]),
        ([dog | {"looks": "large", "does": "sits"}, man], [0, 1]),  # as many: each is its own
        ([dog, dog, man], [1, -1, 0]),
        ([], []),
    ):
        found = page.evaluate(
            "async ([now, was]) => (await import('./caption.js')).pairs(now, was)", [now, [man, dog]]
        )
        assert found == origins


def test_captions_and_clips_stand_side_by_side(serving: Open, visit: Open) -> None:
    page = visit(serving().links["ann"])
    playing(page, 0)
    page.keyboard.press("c")
    until(page, "!document.querySelector('#side-by-side').hidden")
    assert page.locator("#side-by-side thead th").all_inner_texts() == ["", "engine/1", "engine/2"]
    assert page.locator("#side-by-side tr.differs").all_inner_texts() == [
        "lighting\tSoft light.\tHard light."
    ]
    page.keyboard.press("c")
    until(page, "document.querySelector('#twin video')?.currentTime > 0")
    assert text(page, "twin-words") == "rejected by 540p: Soft light."
    page.keyboard.press("c")
    assert not page.is_visible("#twin")


def test_two_reviewers_at_once_share_the_work(serving: Open, visit: Open) -> None:
    server = serving(reviewers=("ann", "ben"))
    pages = [visit(server.links[name]) for name in ("ann", "ben")]
    for page in pages:
        until(page, "document.querySelector('#stage video')?.currentTime > 0")
    for turn in range(3):
        for page in pages:
            page.keyboard.press("g")  # neither waits for the other
        for page in pages:
            until(
                page, f"document.querySelector('#progress-words').textContent.includes('{turn + 1} by you')"
            )
            until(page, "!document.body.classList.contains('busy')")
    events = server.events()
    assert sorted(item for _, item, _ in events) == IDS, "each item once, none left out"


def test_a_phone_shows_all_of_it(serving: Open, visit: Open) -> None:
    server = serving()
    size = {"width": 390, "height": 844}
    page = visit(server.links["ann"], viewport=size, is_mobile=True, has_touch=True, device_scale_factor=2)
    playing(page, 0)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for button in ("good", "bad", "skip", "undo"):
        box = page.locator(f"#{button}").bounding_box()
        assert box["y"] + box["height"] <= 844
        assert box["height"] >= 44
    assert "tap a field to correct it" in text(page, "engine")
    assert "press E" not in text(page, "engine")
    for _ in range(60):
        page.keyboard.press("Tab")
        box = page.evaluate("document.activeElement.getBoundingClientRect().bottom")
        held = page.evaluate("document.activeElement.matches('body, .verdict *')")
        bar = page.locator(".verdict").bounding_box()["y"]
        assert held or box <= bar, page.evaluate("document.activeElement.outerHTML")
    page.locator("#reasons button").nth(2).tap()
    page.locator("#bad").tap()
    playing(page, 1)
    assert server.events() == [("verdict", IDS[0], "bad")]


def test_the_focus_is_seen_and_space_on_a_button_presses_it_once(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"], color_scheme="dark")
    playing(page, 0)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "good":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    playing(page, 1)
    page.keyboard.press("Space")
    until(page, "document.querySelector('#stage video').paused")
    assert len(server.events()) == 1


@contextmanager
def site(html: str) -> Iterator[str]:
    """A web site of somebody else's: its address, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_another_site_cannot_judge_or_look(serving: Open, visit: Open) -> None:
    server = serving()
    page = visit(server.links["ann"])
    playing(page, 0)
    target = page.url
    said = f'{{"client_id":"12345678","kind":"verdict","item":"{IDS[0]}","verdict":"good","x":"'
    form = f"""<form method=post enctype=text/plain action="{target}api/event"><input name='{said}' value='"}}'></form>
    <img src="{target}media/{IDS[0]}/0" onload="document.title='seen'">
    <script>fetch("{target}api/event", {{method: "POST", mode: "no-cors", credentials: "include", body: "{{}}"}})
      .finally(() => document.forms[0].submit())</script>"""
    for name in ("localhost", "127.0.0.1"):  # another site, and the same site on another port
        with site(form) as address:
            page.goto(f"http://{address.replace('localhost', name)}/")
            page.wait_for_url(f"{target}api/event")
        assert page.inner_text("body") in (
            "open the link that `rushes review` printed",
            "events come from the page alone",
        )
        assert page.title() != "seen"
    assert server.events() == []
    page.goto(target)
    playing(page, 0)
    page.goto(target.replace("127.0.0.1", "evil.example"))
    assert page.inner_text("body") == "this host name is not mine"


def test_the_link_opens_from_another_sites_page(serving: Open, browser: Any) -> None:
    """As from a terminal or a chat in the browser, where a cookie of this kind does not come with a redirect."""
    link = serving().links["ann"]
    with site(f'<a href="{link}">here</a>') as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://{address}/")
        page.click("a")
        page.wait_for_url(re.compile("/[0-9a-f]{12}/$"))
        until(page, "document.querySelector('#stage video')?.currentTime > 0")


def test_a_clip_that_is_gone_can_only_be_skipped(serving: Open, visit: Open, films: Any) -> None:
    server = serving(missing=0)
    page = visit(server.links["ann"])
    until(page, "document.querySelector('.cannot')?.textContent.includes('cannot be shown')")
    page.keyboard.press("g")
    page.keyboard.press("6")
    page.keyboard.press("b")
    page.keyboard.press("s")
    until(page, "document.querySelector('#stage video')?.currentTime > 0")
    assert server.events() == [("verdict", IDS[0], "skip")]
