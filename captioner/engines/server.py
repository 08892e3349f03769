"""A language model behind any OpenAI-compatible server: vLLM, SGLang, llama.cpp, a cloud's endpoint.

One POST to /chat/completions a prompt, `window` of them at once. What is the server's fault (429, 5xx, silence, half an
answer, another prompt's answer) is tried again, later each time; what is the prompt's fault (400, 413 ...) is its
error; a server that cannot be reached, refuses the key, fails prompt after prompt or takes none of the form that is
set ends the run (GeneratorDied).
No proxy of the environment is used and no redirect followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from captioner.engines.chat import ServerSettings as ServerSettings
from captioner.engines.chat import answer_in, asked_of
from captioner.engines.waits import after_s, wait_s
from captioner.generate import Answer, Finish, GeneratorDied, Prompt
from captioner.schema import clean
from pipeline.credentials import redacted
from pipeline.weights import WeightError

MAX_REPLY_BYTES = 4 << 20
"""Of a whole reply: a caption has some kilobytes."""
CONNECT_S = 10.0
GIVE_UP = 64
"""Prompts in a row that the server failed, whatever it refused in between: it is not the prompts' fault then."""
REFUSED = 16
"""Prompts that the server refuses before it has answered any, until a short one of the same form tells why: what it
refuses as well is refused for its form. Ours."""
SHORT = "Answer with one word."
"""What the short prompt asks."""
MINE = "rushes-"
"""What our request ids begin with."""
VIDEO_URL = "video_url"
"""The part of a message that only vLLM knows; a server that names it in a refusal is told of the way out."""
AS_IMAGES = 'stage.vlm.frames_as = "images" suits any server'
UNTRACED = "the server does not echo request ids"
"""Noted of an answer of which nothing but the connection says that it is this prompt's."""


@dataclass(frozen=True)
class _Reply:
    """A good reply's JSON object, and whether its header has our request id."""

    plain: Mapping[str, Any]
    echoed: bool


@dataclass(frozen=True)
class _Trouble:
    """Why one try gave no answer."""

    sentence: str
    kind: Literal["gone", "later", "never"]
    """gone: no connection; later: the server's fault; never: the prompt's."""
    after_s: float = 0.0
    """How long the server asks to wait."""


class ServerGenerator:
    """A Generator behind a server. WeightError: the settings name no server, no model, or a key that is not there."""

    def __init__(
        self, settings: ServerSettings, environment: Mapping[str, str] = MappingProxyType(os.environ)
    ) -> None:
        import urllib3

        self._settings = settings
        self._url = checked_url(settings)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._key = _key(settings.api_key_env, environment)
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._http = urllib3.PoolManager(num_pools=1, maxsize=settings.window, retries=False)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failed_in_row = 0
        self._refused: int | None = 0
        """Prompts that were refused before any was answered; None once their form is known to be good."""

    @property
    def name(self) -> str:
        """See Generator."""
        return f"server {self._settings.served_model}"

    def models(self) -> list[str]:
        """Names of the models that the server says it has; empty where it does not say. Raises GeneratorDied."""
        found = self._exchange("GET", "/models", None, {}, CONNECT_S)
        if isinstance(found, _Trouble):
            if found.kind == "gone":
                raise GeneratorDied(self._said(found.sentence))
            return []
        listed = found.plain.get("data")
        names = [one.get("id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        return [name for name in names if isinstance(name, str)]

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """See Generator. Raises GeneratorDied."""
        source = iter(prompts)
        more = True
        flights: set[Future[Answer]] = set()
        workers = ThreadPoolExecutor(self._settings.window, "server")
        try:
            while more or flights:
                while more and len(flights) < self._settings.window:
                    prompt = next(source, None)
                    if prompt is None:
                        more = False
                    else:
                        flights.add(workers.submit(self._answer, prompt))
                    if any(flight.done() for flight in flights):
                        break
                landed, flights = wait(flights, return_when=FIRST_COMPLETED)
                for flight in landed:
                    yield flight.result()
        finally:
            if flights:  # left in the middle: what still waits must not
                self._stop.set()
            workers.shutdown(wait=False, cancel_futures=True)
            self._stop = threading.Event()

    def close(self) -> None:
        """See Generator."""
        self._stop.set()
        self._http.clear()

    def _answer(self, prompt: Prompt) -> Answer:
        """The prompt's answer after as many tries as it takes or may take. Raises GeneratorDied."""
        body = json.dumps(asked_of(self._settings, prompt)).encode()
        stop = self._stop
        trouble = _Trouble("it was not asked", "later")
        for attempt in range(1, self._settings.retries + 2):
            found = self._try(prompt, attempt, body)
            if isinstance(found, Answer):
                self._note(None)
                return found
            trouble = found
            if found.kind == "never" or attempt > self._settings.retries:
                break
            if stop.wait(wait_s(prompt.key, attempt, self._settings.backoff_s, found.after_s)):
                break
        if trouble.kind == "gone":
            raise GeneratorDied(self._said(trouble.sentence))
        if trouble.kind == "later":  # what it refused says nothing of the prompts that come
            self._note(trouble)
        if trouble.kind == "never":
            self._check_form(prompt)
        message = trouble.sentence if attempt == 1 else f"{trouble.sentence} (tried {attempt} times)"
        return Answer(prompt.key, prompt.frames_sha256, "", Finish.ERROR, message=message)

    def _note(self, trouble: _Trouble | None) -> None:
        """Counts the prompts in a row that the server failed. Raises GeneratorDied when they are too many."""
        with self._lock:
            self._failed_in_row = 0 if trouble is None else self._failed_in_row + 1
            self._refused = None if trouble is None else self._refused
            too_many = self._failed_in_row >= GIVE_UP
        if too_many and trouble is not None:
            raise GeneratorDied(
                self._said(f"{GIVE_UP} prompts in a row failed, the last: {trouble.sentence}")
            )

    def _check_form(self, prompt: Prompt) -> None:
        """After REFUSED prompts that were refused and none that was answered, asks a short one of the same form.

        Raises GeneratorDied when that is refused too.
        """
        with self._lock:
            if self._refused is None:
                return
            self._refused += 1
            if self._refused < REFUSED:
                return
            self._refused = 0
        frames = prompt.frames
        if frames is not None:
            frames = replace(
                frames, images=frames.images[:2], times_s=frames.times_s[:2], frames=frames.frames[:2]
            )
        short = replace(prompt, key=f"{prompt.key}/short", user=SHORT, frames=frames, max_tokens=16)
        found = self._try(short, 1, json.dumps(asked_of(self._settings, short)).encode())
        if isinstance(found, Answer):
            with self._lock:
                self._refused = None
        elif found.kind == "never":
            now = f'frames_as (now "{self._settings.frames_as}") and guide (now "{self._settings.guide}")'
            both = f"{REFUSED} prompts of {REFUSED} and a short one of the same form"
            raise GeneratorDied(self._said(f"it refused {both}: {found.sentence}; {now} set another form"))

    def _try(self, prompt: Prompt, attempt: int, body: bytes) -> Answer | _Trouble:
        """One exchange. Raises GeneratorDied when no prompt can ever succeed there."""
        mine = (
            MINE + hashlib.sha256(f"{prompt.key}:{prompt.frames_sha256}:{attempt}".encode()).hexdigest()[:32]
        )
        headers = {"X-Request-Id": mine}
        found = self._exchange("POST", "/chat/completions", body, headers, self._settings.timeout_s)
        if isinstance(found, _Trouble):
            return found
        said = str(found.plain.get("id"))
        if MINE in said and mine not in said:
            return _Trouble("it answered another prompt", "later")
        try:
            answer = answer_in(prompt, found.plain)
        except (AttributeError, LookupError, TypeError, ValueError):
            return _Trouble("its reply is no chat completion", "later")
        return answer if found.echoed or mine in said else replace(answer, notes=(UNTRACED,))

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> _Reply | _Trouble:
        """A good reply. Raises GeneratorDied when the server is not for us."""
        import urllib3

        faults = urllib3.exceptions
        ends = time.monotonic() + timeout_s
        patience = urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s)
        try:
            reply = self._http.request(
                method,
                self._url + path,
                body=body,
                headers=self._headers | dict(headers),
                timeout=patience,
                redirect=False,
                preload_content=False,
            )
            try:
                data = _received(reply, ends)
            finally:
                reply.close()  # a reply that was read in full has its connection back already
        except (faults.ConnectTimeoutError, faults.NewConnectionError, faults.SSLError) as error:
            return _Trouble(f"no connection: {self._hidden(_cause(error))}", "gone")
        except (faults.TimeoutError, TimeoutError):
            return _Trouble(f"nothing came for {timeout_s:g} s", "later")
        except faults.HTTPError as error:
            return _Trouble(f"the connection broke off ({type(error).__name__})", "later")
        if data is None:
            return _Trouble(f"its reply has more than {MAX_REPLY_BYTES} bytes", "later")
        echoed, asked = reply.headers.get("X-Request-Id", ""), headers.get("X-Request-Id")
        if echoed.startswith(MINE) and echoed != asked:
            return _Trouble("it answered another prompt", "later")
        if reply.status != 200:
            return self._status(reply.status, reply.headers, data)
        plain = _object(data)
        if plain is None:
            return _Trouble("its reply is no JSON object", "later")
        return _Reply(plain, echoed == asked)

    def _status(self, status: int, headers: Mapping[str, str], data: bytes) -> _Trouble:
        """What a status other than 200 means (RFC 9110, 15). Raises GeneratorDied."""
        told = _told(data)
        sentence = f"it answered {status}{self._hidden(told)}"
        if VIDEO_URL in told and self._settings.frames_as == "video":
            sentence += f" ({AS_IMAGES})"
        if status in (408, 409, 425, 429) or status >= 500:
            return _Trouble(sentence, "later", after_s(headers))
        if 300 <= status < 400 or status in (401, 402, 403, 404, 405, 407):
            raise GeneratorDied(self._said(sentence))
        return _Trouble(sentence, "never")

    def _said(self, sentence: str) -> str:
        """A sentence about the server as a whole."""
        place = urlsplit(self._url)
        return f"the captioning server at {place.scheme}://{place.netloc}: {sentence}"

    def _hidden(self, text: str) -> str:
        """Words of others, cleaned, cut, and without the key."""
        text = text.replace(self._key, "***") if self._key else text
        return redacted(clean(text))[:300]


def checked_url(settings: ServerSettings) -> str:
    """The server's address without a slash at its end. Raises WeightError: there is none, or no model is named."""
    parts = urlsplit(settings.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise WeightError(
            "a captioning server needs `url`: an address such as http://127.0.0.1:8000/v1, with no key in it"
        )
    if not settings.served_model:
        raise WeightError("a captioning server needs `served_model`: its name for the model")
    return settings.url.rstrip("/")


def _key(variable: str, environment: Mapping[str, str]) -> str:
    """The key that a variable of the environment holds: read where the server is asked, and kept nowhere else."""
    if not variable:
        return ""
    key = environment.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise WeightError(f"api_key_env names {variable}, but the environment here holds no key by that name")
    return key


def _cause(error: Exception) -> str:
    """What the system said of a connection that was not made."""
    cause = error.__cause__ or error
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__


def _received(reply: Any, ends: float) -> bytes | None:
    """The reply's bytes; None when they are too many. Raises TimeoutError when they drip in past the deadline."""
    data = bytearray()
    while piece := reply.read1(
        1 << 16
    ):  # what has come, so that the deadline is looked at between two pieces
        data += piece
        if len(data) > MAX_REPLY_BYTES:
            return None
        if time.monotonic() > ends:
            raise TimeoutError
    return bytes(data)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _told(data: bytes) -> str:
    """What an error's body says, as OpenAI's servers and others put it; empty where it says nothing readable."""
    plain = _object(data) or {}
    error = plain.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    said = next(
        (one for one in (inner, plain.get("message"), plain.get("detail")) if isinstance(one, str)), ""
    )
    return f": {said}" if said else ""
