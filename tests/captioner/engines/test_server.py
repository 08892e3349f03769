"""The server engine against a real HTTP server: good answers, every misdeed, and what is sent."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from captioner.engine import frames_digest
from captioner.engines.chat import ServerSettings, asked_of
from captioner.engines.server import GIVE_UP, REFUSED, SHORT, UNTRACED, ServerGenerator, checked_url
from captioner.engines.waits import LONGEST_WAIT_S, after_s, wait_s
from captioner.generate import Answer, Finish, Generator, GeneratorDied, Prompt
from pipeline.stage import FrameBatch
from pipeline.weights import WeightError

ROOT = Path(__file__).parents[3]
SCHEMA: Mapping[str, Any] = {"type": "object"}


def frames(count: int = 3, width: int = 640, height: int = 360) -> FrameBatch:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (count, height // 20, width // 20, 3), dtype=np.uint8)
    images = coarse.repeat(20, axis=1).repeat(20, axis=2)
    return FrameBatch(images, np.arange(count) / 2, np.arange(count) * 12)


def prompt(key: str = "a/1", shown: FrameBatch | None = None, **changes: Any) -> Prompt:
    digest = frames_digest(shown) if shown is not None else ""
    return replace(Prompt(key, "Say what.", "You see.", shown, digest, 24.0), **changes)


def settings(server: Any, **changes: Any) -> ServerSettings:
    quick = ServerSettings(server.url, "tiny", retries=2, backoff_s=0.01, timeout_s=5.0, window=8)
    return replace(quick, **changes)


def ask(found: ServerSettings, *prompts: Prompt) -> list[Answer]:
    generator: Generator = ServerGenerator(found)
    try:
        return list(generator.generate(prompts))
    finally:
        generator.close()


def test_an_answer_has_its_key_its_frames_digest_and_tokens(chat_server: Any, chat_reply: Any) -> None:
    chat_server.reply = lambda asked: chat_reply("a caption", finish="length")
    shown = frames()
    (answer,) = ask(settings(chat_server), prompt("clip/1", shown))
    assert answer == Answer("clip/1", frames_digest(shown), "a caption", Finish.LENGTH, 70, 30)


def test_what_is_sent(chat_server: Any) -> None:
    shown = frames()
    ask(
        settings(chat_server, frame_times=True),
        prompt("a/1", shown, schema=SCHEMA, temperature=0.3, max_tokens=77, seed=5, stop=("\n\n",)),
    )
    (asked,) = chat_server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert "Authorization" not in asked.headers
    body = dict(asked.body)
    system, user = body.pop("messages")
    assert system == {"role": "system", "content": "You see."}
    video, text = user["content"]
    assert text == {"type": "text", "text": "Say what."}
    kind, _, data = video["video_url"]["url"].partition(",")
    assert kind == "data:video/jpeg;base64"
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR_RGB)
        for one in data.split(",")
    ]
    assert len(pictures) == 3
    height, width = pictures[0].shape[:2]
    assert height % 28 == width % 28 == 0
    assert 0.85 * 360 * 420 < height * width <= 360 * 420
    assert abs(width / height - 640 / 360) < 0.15  # as near as sides of whole patches allow
    small = cv2.resize(shown.images[1], (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - pictures[1]).mean() < 9  # a JPEG with a quarter of the colour
    assert body == {
        "model": "tiny",
        "temperature": 0.3,
        "max_tokens": 77,
        "seed": 5,
        "stop": ["\n\n"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
        "media_io_kwargs": {
            "video": {
                "fps": 24.0,
                "total_num_frames": 36,
                "duration": 1.5,
                "frames_indices": [0, 12, 24],
                "do_sample_frames": False,
            }
        },
    }


def test_other_ways_to_ask(chat_server: Any) -> None:
    def body(shown: FrameBatch | None = None, **changes: Any) -> Any:
        ask(settings(chat_server, **changes), prompt("a/1", shown, schema=SCHEMA, system=""))
        return chat_server.asked[-1].body

    assert body(guide="structured_outputs")["structured_outputs"] == {"json": SCHEMA}
    assert body(guide="guided_json")["guided_json"] == SCHEMA
    assert body()["messages"] == [{"role": "user", "content": "Say what."}]
    parts = body(frames(2), frames_as="images")["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "image_url", "text"]
    assert parts[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_the_same_prompt_is_the_same_bytes(chat_server: Any) -> None:
    found = settings(chat_server)
    assert asked_of(found, prompt("a/1", frames())) == asked_of(found, prompt("a/1", frames()))


@pytest.mark.parametrize(
    ("width", "height", "count"), [(2160, 3840, 1), (16, 16, 1), (1920, 16, 2), (320, 180, 16)]
)
def test_any_size_of_frames_is_fitted_to_the_budget(
    chat_server: Any, width: int, height: int, count: int
) -> None:
    shown = FrameBatch(np.zeros((count, height, width, 3), np.uint8), np.arange(count) / 2, np.arange(count))
    ask(settings(chat_server, frame_px=28 * 28 * 40), prompt("a/1", shown))
    url = chat_server.asked[0].body["messages"][1]["content"][0]["video_url"]["url"]
    pictures = url.partition(",")[2].split(",")
    assert len(pictures) == max(2, count)  # a video has two frames at least
    sent = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert sent.shape[0] * sent.shape[1] <= 28 * 28 * 40
    assert sent.shape[0] % 28 == sent.shape[1] % 28 == 0


def test_no_more_than_the_window_is_at_work_and_the_source_is_taken_as_there_is_room(
    chat_server: Any, chat_reply: Any
) -> None:
    chat_server.reply = lambda asked: chat_reply("x", delay_s=0.02)
    taken = Counter[str]()

    def source() -> Iterator[Prompt]:
        for number in range(20):
            taken["prompts"] += 1
            yield prompt(f"{number}/1")

    generator = ServerGenerator(settings(chat_server, window=4))
    keys = []
    for answer in generator.generate(source()):
        keys.append(answer.key)
        assert taken["prompts"] <= len(keys) + 2 * 4
    generator.close()
    assert sorted(keys) == sorted(f"{number}/1" for number in range(20))
    assert 1 < chat_server.most <= 4


def test_a_slow_answer_holds_nobody_up(chat_server: Any, chat_reply: Any) -> None:
    chat_server.reply = lambda asked: chat_reply("x", delay_s=0.3 if asked.body["seed"] == 0 else 0.0)
    answers = ask(settings(chat_server), *(prompt(f"{n}/1", seed=n) for n in range(6)))
    assert answers[-1].key == "0/1"


MISDEEDS: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "body": b'{"error": {"message": "slow down"}}'},
    "429 with Retry-After": {"status": 429, "headers": {"Retry-After": "0"}},
    "500": {"status": 500, "body": b"<html>oops</html>"},
    "503": {"status": 503},
    "half a body": {"cut": True},
    "no JSON": {"body": b"<html>502 Bad Gateway</html>"},
    "a list": {"body": b"[]"},
    "no choices": {"body": b'{"choices": []}'},
    "another form": {"body": b'{"choices": [{"message": "x"}]}'},
    "deep": {"body": b"[" * 100_000},
    "no UTF-8": {"body": b"\xff\xfe\x00"},
    "nothing": {"body": b""},
    "another's answer": {"request_id": "rushes-" + "0" * 32},
    "another's header": {"headers": {"X-Request-Id": "rushes-" + "0" * 32}},
    "a silence": {"delay_s": 0.6},
    "a drip": {"drip_s": 0.05},
    "five megabytes": {"body": b'{"a": "' + b"x" * (5 << 20) + b'"}'},
    "compressed nonsense": {"headers": {"Content-Encoding": "gzip"}, "body": b"not gzip at all"},
}


@pytest.mark.parametrize("name", MISDEEDS)
def test_a_misdeed_once_is_tried_again(chat_server: Any, chat_reply: Any, name: str) -> None:
    seen = Counter[str]()

    def reply(asked: Any) -> Any:
        seen["all"] += 1
        return chat_reply(**MISDEEDS[name]) if seen["all"] == 1 else chat_reply("good")

    chat_server.reply = reply
    (answer,) = ask(settings(chat_server, timeout_s=0.3), prompt())
    assert (answer.text, answer.finish) == ("good", Finish.STOP)
    assert seen["all"] == 2


@pytest.mark.parametrize("name", ["500", "half a body", "no JSON", "another's answer"])
def test_a_misdeed_every_time_is_the_clips_error_and_its_neighbours_go_on(
    chat_server: Any, chat_reply: Any, name: str
) -> None:
    def reply(asked: Any) -> Any:
        return chat_reply(**MISDEEDS[name]) if asked.body["seed"] == 1 else chat_reply("good")

    chat_server.reply = reply
    answers = {
        one.key: one for one in ask(settings(chat_server), *(prompt(f"{n}/1", seed=n) for n in range(4)))
    }
    assert [answers[f"{n}/1"].text for n in range(4)] == ["good", "", "good", "good"]
    assert answers["1/1"].finish is Finish.ERROR
    assert answers["1/1"].message.endswith("(tried 3 times)")


def test_an_answer_whose_request_id_comes_back_nowhere_says_so(chat_server: Any, chat_reply: Any) -> None:
    def reply(asked: Any) -> Any:
        mine = asked.headers["X-Request-Id"]
        headers = {"X-Request-Id": mine} if asked.body["seed"] == 1 else {}
        return chat_reply("x", request_id=mine if asked.body["seed"] == 2 else "own", headers=headers)

    chat_server.reply = reply
    answers = {
        one.key: one for one in ask(settings(chat_server), *(prompt(f"{n}", seed=n) for n in range(3)))
    }
    assert {key: one.notes for key, one in answers.items()} == {"0": (UNTRACED,), "1": (), "2": ()}


def test_what_the_prompt_is_at_fault_for_is_not_tried_again(chat_server: Any, chat_reply: Any) -> None:
    said = b'{"error": {"message": "prompt is too long\\u202e \\u001b[2J", "type": "BadRequest"}}'
    chat_server.reply = lambda asked: chat_reply(status=400, body=said)
    (answer,) = ask(settings(chat_server), prompt())
    assert (answer.finish, answer.message) == (Finish.ERROR, "it answered 400: prompt is too long [2J")
    assert len(chat_server.asked) == 1


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "it answered 401"), (403, "it answered 403"), (404, "it answered 404"), (302, "302")],
)
def test_what_no_prompt_can_pass_ends_the_run(
    chat_server: Any, chat_reply: Any, status: int, says: str
) -> None:
    chat_server.reply = lambda asked: chat_reply(status=status, headers={"Location": "http://127.0.0.1:9/"})
    with pytest.raises(GeneratorDied, match=rf"the captioning server at http://127\.0\.0\.1:\d+: .*{says}"):
        ask(settings(chat_server), prompt())
    assert len(chat_server.asked) == 1


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_not_there_ends_the_run_with_one_sentence() -> None:
    nowhere = ServerSettings(f"http://127.0.0.1:{closed_port()}/v1", "tiny", retries=2, backoff_s=0.01)
    with pytest.raises(
        GeneratorDied, match=r"^the captioning server at http://127.*: no connection: Connection refused$"
    ):
        ask(nowhere, prompt())
    with pytest.raises(GeneratorDied, match="no connection"):
        ServerGenerator(nowhere).models()
    unnamed = replace(nowhere, url="http://nowhere.invalid/v1", retries=0)
    with pytest.raises(GeneratorDied, match="no connection"):
        ask(unnamed, prompt())


def test_a_server_that_fails_prompt_after_prompt_ends_the_run(chat_server: Any, chat_reply: Any) -> None:
    chat_server.reply = lambda asked: chat_reply(status=500)
    generator = ServerGenerator(settings(chat_server, window=1, retries=0))
    stream = generator.generate(prompt(f"{n}/1") for n in range(3 * GIVE_UP))
    for _ in range(GIVE_UP - 1):
        assert next(stream).finish is Finish.ERROR
    with pytest.raises(GeneratorDied, match=f"{GIVE_UP} prompts in a row failed, the last: it answered 500"):
        next(stream)
    generator.close()


def test_prompts_that_it_refuses_are_their_own_errors_however_many(chat_server: Any, chat_reply: Any) -> None:
    def reply(asked: Any) -> Any:
        short = asked.body["messages"][-1]["content"] == SHORT
        return chat_reply(
            "yes" if short else "", status=200 if short else 413 if asked.body["seed"] % 2 else 400
        )

    chat_server.reply = reply
    answers = ask(settings(chat_server), *(prompt(f"{n}/1", seed=n) for n in range(GIVE_UP + 2)))
    assert Counter(one.finish for one in answers) == {Finish.ERROR: GIVE_UP + 2}
    assert len(chat_server.asked) == GIVE_UP + 3  # with the short one, once


@pytest.mark.parametrize("first", [0, 1])
def test_a_form_that_the_server_does_not_take_ends_the_run_unless_it_took_it_before(
    chat_server: Any, chat_reply: Any, first: int
) -> None:
    said = b'{"error": {"message": "Invalid content type \'video_url\'"}}'

    def reply(asked: Any) -> Any:
        return chat_reply("x") if len(chat_server.asked) <= first else chat_reply(status=400, body=said)

    chat_server.reply = reply
    generator = ServerGenerator(settings(chat_server, window=1))
    stream = generator.generate(prompt(f"{n}/1", frames(), schema=SCHEMA) for n in range(2 * REFUSED))
    answers = [next(stream) for _ in range(REFUSED - 1 + first)]
    assert answers[-1].message == (
        "it answered 400: Invalid content type 'video_url' (stage.vlm.frames_as = \"images\" suits any server)"
    )
    if first:
        assert len([*answers, *stream]) == len(chat_server.asked) == 2 * REFUSED
        return
    with pytest.raises(GeneratorDied, match=r"it refused 16 prompts of 16 and .* 'video_url'") as died:
        next(stream)
    assert str(died.value).endswith(
        '; frames_as (now "video") and guide (now "response_format") set another form'
    )
    assert len(chat_server.asked) == REFUSED + 1
    short = chat_server.asked[-1].body
    assert short["messages"][-1]["content"][-1]["text"] == SHORT
    assert "response_format" in short
    generator.close()


def test_a_lone_frame_is_a_video_of_two_and_one_image(chat_server: Any) -> None:
    ask(settings(chat_server, frame_times=True), prompt("a/1", frames(1)))
    body = chat_server.asked[-1].body
    first, second = body["messages"][1]["content"][0]["video_url"]["url"].partition(",")[2].split(",")
    assert first == second
    assert body["media_io_kwargs"]["video"]["frames_indices"] == [0, 2]  # a tenth of a second at 24 frames
    ask(settings(chat_server, frames_as="images"), prompt("a/1", frames(1)))
    parts = chat_server.asked[-1].body["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["image_url", "text"]


def test_what_it_refuses_in_between_hides_no_failing_server(chat_server: Any, chat_reply: Any) -> None:
    def reply(asked: Any) -> Any:
        short = asked.body["messages"][-1]["content"] == SHORT
        return chat_reply("yes") if short else chat_reply(status=500 if asked.body["seed"] % 2 else 400)

    chat_server.reply = reply
    generator = ServerGenerator(settings(chat_server, window=1, retries=0))
    with pytest.raises(GeneratorDied, match="in a row failed, the last: it answered 500"):
        list(generator.generate(prompt(f"{n}/1", seed=n) for n in range(2 * GIVE_UP)))
    generator.close()


def test_one_good_answer_in_between_is_enough_to_go_on(chat_server: Any, chat_reply: Any) -> None:
    def reply(asked: Any) -> Any:
        return chat_reply("x") if asked.body["seed"] % GIVE_UP == 0 else chat_reply(status=500)

    chat_server.reply = reply
    found = settings(chat_server, window=1, retries=0)
    answers = ask(found, *(prompt(f"{n}/1", seed=n) for n in range(2 * GIVE_UP)))
    assert Counter(one.finish for one in answers) == {Finish.ERROR: 2 * GIVE_UP - 2, Finish.STOP: 2}


def test_retry_after_is_obeyed(chat_server: Any, chat_reply: Any) -> None:
    times: list[float] = []

    def reply(asked: Any) -> Any:
        times.append(time.monotonic())
        return (
            chat_reply(status=429, headers={"Retry-After": "0.4"}) if len(times) == 1 else chat_reply("good")
        )

    chat_server.reply = reply
    (answer,) = ask(settings(chat_server), prompt())
    assert answer.text == "good"
    assert times[1] - times[0] >= 0.4


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "-7"}, 0.0),
        ({"Retry-After": "1e9"}, LONGEST_WAIT_S),
        ({"Retry-After": "nan"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        (
            {"Retry-After": "Fri, 20 Nov 2026 10:00:09 GMT", "Date": "Fri, 20 Nov 2026 10:00:00 GMT"},
            9.0,
        ),
        ({"Retry-After": "Fri, 20 Nov 2026 10:00:09 GMT"}, 0.0),
    ],
)
def test_what_retry_after_says(headers: Mapping[str, str], seconds: float) -> None:
    assert after_s(headers) == seconds


def test_waits_grow_are_spread_by_the_key_alone_and_end() -> None:
    waits = [wait_s("a/1", attempt, 1.0) for attempt in range(1, 12)]
    bounds = [(min(0.5 * 2**n, LONGEST_WAIT_S), min(1.5 * 2**n, LONGEST_WAIT_S)) for n in range(11)]
    assert all(least <= wait <= most for wait, (least, most) in zip(waits, bounds, strict=True))
    assert waits == [wait_s("a/1", attempt, 1.0) for attempt in range(1, 12)]
    assert len({wait_s(f"{n}/1", 1, 1.0) for n in range(50)}) == 50
    assert wait_s("a/1", 1, 1.0, asked_s=20.0) >= 20.0
    assert wait_s("a/1", 1, 1.0, asked_s=1e9) == LONGEST_WAIT_S


def test_an_unfinished_answer_of_another_kind_is_an_error(chat_server: Any, chat_reply: Any) -> None:
    chat_server.reply = lambda asked: chat_reply("x", finish="content_filter")
    (answer,) = ask(settings(chat_server), prompt())
    assert (answer.finish, answer.message) == (Finish.ERROR, "the server ended it: content_filter")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": "x", "reasoning_content": "y"}, "x"),
    ],
)
def test_forms_of_content(chat_server: Any, chat_reply: Any, message: Any, text: str) -> None:
    body = json.dumps({"choices": [{"message": message, "finish_reason": None}]}).encode()
    chat_server.reply = lambda asked: chat_reply(body=body)
    (answer,) = ask(settings(chat_server), prompt())
    assert (answer.text, answer.finish, answer.prompt_tokens) == (text, Finish.STOP, 0)


def test_the_key_is_sent_and_never_said(chat_server: Any, chat_reply: Any) -> None:
    found = settings(chat_server, api_key_env="CAPTION_KEY", retries=0)
    generator = ServerGenerator(found, {"CAPTION_KEY": " sk-SECRET-123\n"})
    assert [answer.finish for answer in generator.generate([prompt()])] == [Finish.STOP]
    assert chat_server.asked[0].headers["Authorization"] == "Bearer sk-SECRET-123"
    leak = json.dumps({"error": {"message": "bad key sk-SECRET-123"}}).encode()
    chat_server.reply = lambda asked: chat_reply(status=400, body=leak)
    (answer,) = generator.generate([prompt()])
    assert answer.message == "it answered 400: bad key ***"
    chat_server.reply = lambda asked: chat_reply(status=401, body=leak)
    with pytest.raises(GeneratorDied) as died:
        list(generator.generate([prompt()]))
    assert "SECRET" not in str(died.value)
    assert "SECRET" not in repr(found)
    generator.close()


def test_a_key_that_is_not_there_is_a_sentence(chat_server: Any) -> None:
    with pytest.raises(
        WeightError, match="api_key_env names NO_SUCH_KEY, but the environment here holds no key"
    ):
        ServerGenerator(settings(chat_server, api_key_env="NO_SUCH_KEY"))


PROXIED = """
import sys
from captioner.engines.server import ServerGenerator, ServerSettings
from captioner.generate import Prompt
generator = ServerGenerator(ServerSettings(sys.argv[1], "tiny", retries=0))
print(*(answer.finish for answer in generator.generate([Prompt("a/1", "Say what.")])))
"""


@pytest.mark.slow
def test_proxies_of_the_environment_are_not_used(chat_server: Any) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}"
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), nowhere)
    command = [sys.executable, "-c", PROXIED, chat_server.url]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **proxies}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "stop\n"


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000/v1", "ftp://a/v1", "http:///v1", "http://me:pw@host/v1", "http://h/v1?api_key=x"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(WeightError, match="needs `url`"):
        checked_url(ServerSettings(url, "tiny"))


def test_a_server_needs_the_models_name(chat_server: Any) -> None:
    assert checked_url(ServerSettings("https://host/v1/", "m")) == "https://host/v1"
    with pytest.raises(WeightError, match="needs `served_model`"):
        checked_url(ServerSettings("https://host/v1", ""))


def test_the_models_of_a_server(chat_server: Any) -> None:
    chat_server.models = ("tiny", "other")
    generator = ServerGenerator(settings(chat_server))
    assert generator.models() == ["tiny", "other"]
    assert generator.name == "server tiny"
    generator.close()
    generator.close()


def test_an_iterator_that_is_left_leaves_nothing_at_work(chat_server: Any, chat_reply: Any) -> None:
    chat_server.reply = lambda asked: chat_reply(status=503, headers={"Retry-After": "100"})
    generator = ServerGenerator(settings(chat_server, window=2, retries=5))
    chat_server.reply = lambda asked: (
        chat_reply("x") if asked.body["seed"] == 0 else chat_reply(status=503, headers={"Retry-After": "100"})
    )
    stream = generator.generate(prompt(f"{n}/1", seed=n) for n in range(50))
    assert next(stream).key == "0/1"
    began = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    generator.close()
    assert time.monotonic() - began < 2.0
    assert len(chat_server.asked) < 10


def test_a_fault_of_the_source_is_the_callers(chat_server: Any) -> None:
    def source() -> Iterator[Prompt]:
        yield prompt()
        raise KeyError("no more")

    generator = ServerGenerator(settings(chat_server))
    with pytest.raises(KeyError):
        list(generator.generate(source()))
    generator.close()
