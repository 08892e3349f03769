"""The parent's side of the pipe, before children that lie, hang or talk without end."""

from __future__ import annotations

import os
import pickle
import resource
import textwrap
import time
from typing import Any

import pytest

from pipeline.answers import Bound
from pipeline.child import Child
from pipeline.frames import Limits
from pipeline.reasons import MediaError, Reason

GREETING = """
import os, pickle, struct, sys, time
from pipeline.answers import send
out = os.fdopen(1, "wb")
pickle.load(sys.stdin.buffer)  # its limits
send(out, "part", True)
send(out, "done")
pickle.load(sys.stdin.buffer)  # the question: a child that left without it would break the parent's pipe
"""


def asked(program: str, step_s: float = 20.0, whole_s: float = 20.0, build: Any = list) -> Any:
    """What comes of asking a child that greets and then runs this program."""
    child = Child(Limits(), "pyav", ("-c", GREETING + textwrap.dedent(program)))
    try:
        return child.ask(("probe", "x"), step_s, whole_s, Bound(2, 1 << 20, 1 << 16), build)
    finally:
        child.close()


def failure(program: str, **settings: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        asked(program, **settings)
    return caught.value


def test_parts_are_gathered_and_built() -> None:
    program = """
    send(out, "alive")
    send(out, "part", 1)
    send(out, "part", b"two")
    send(out, "done")
    """
    assert asked(program) == [1, b"two"]
    assert asked(program, build=len) == 2


def test_an_error_is_the_childs_own() -> None:
    error = failure('send(out, "error", "truncated", "half of it")')
    assert (error.reason, error.message) == (Reason.TRUNCATED, "half of it")


class Changed:
    """What a pickle would change: an object whose state sets an attribute of a class."""

    def __reduce__(self) -> Any:
        return (getattr, (Reason, "EMPTY"), {"harm": 1})


@pytest.mark.parametrize(
    "program",
    [
        'out.write(struct.pack(">QQ", 1 << 62, 1 << 62)); out.flush(); time.sleep(20)',
        'out.write(struct.pack(">QQ", 2, 2 << 20)); out.flush(); time.sleep(20)',
        f"out.write({pickle.dumps(('part', Changed()))!r}); out.flush(); time.sleep(20)",
        "send(out, 5); time.sleep(20)",
        'send(out, "error", "no such reason", "x"); time.sleep(20)',
        'send(out, "error"); time.sleep(20)',
        "os._exit(3)",
    ],
)
def test_a_lie_is_a_crash(program: str) -> None:
    began = time.monotonic()
    assert failure(program).reason is Reason.DECODER_CRASHED
    assert time.monotonic() - began < 15
    assert not hasattr(Reason, "harm")


def test_a_flood_of_parts_fills_no_memory() -> None:
    """Each part is as large as one may be; their sum is bounded too."""
    program = """
    for n in range(1000):
        send(out, "part", bytes(1 << 20))
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert failure(program).reason is Reason.DECODER_CRASHED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_an_answer_that_does_not_fit_is_a_crash() -> None:
    def build(parts: list[Any]) -> int:
        return int(parts[0]["frames"])

    for part in ("{}", "[]", "None", '{"frames": "x"}', '{"frames": 1e400}'.replace("1e400", "None")):
        program = f'send(out, "part", {part}); send(out, "done"); time.sleep(20)'
        assert failure(program, build=build).reason is Reason.DECODER_CRASHED


def test_silence_ends_at_the_steps_deadline() -> None:
    error = failure("time.sleep(20)", step_s=0.3)
    assert error.reason is Reason.DECODER_TIMEOUT
    assert "no sign of life" in error.message


def test_signs_of_life_do_not_last_for_ever() -> None:
    program = """
    while True:
        send(out, "alive")
        time.sleep(0.01)
    """
    error = failure(program, whole_s=0.5)
    assert error.reason is Reason.DECODER_TIMEOUT
    assert "not done" in error.message


def test_a_child_that_does_not_listen_is_late(tmp_path: Any) -> None:
    """A request larger than a pipe holds, which nobody takes."""
    child = Child(Limits(), "pyav", ("-c", GREETING + "time.sleep(20)"))
    try:
        with pytest.raises(MediaError) as caught:
            child.ask(("probe", os.urandom(1 << 20)), 20.0, 0.5, Bound(1, 0), list)
    finally:
        child.close()
    assert caught.value.reason is Reason.DECODER_TIMEOUT
