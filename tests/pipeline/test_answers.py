"""What crosses the pipe from the decoding process: plain values, whole, and nothing that is more."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import numpy as np
import pytest

from pipeline.answers import TEXT_BYTES, built, receive, send
from pipeline.frames import Sample


def sent(*values: Any) -> bytes:
    pipe = io.BytesIO()
    send(pipe, *values)
    return pipe.getvalue()


def received(message: bytes, most_bytes: int = 1 << 20) -> list[Any]:
    return receive(io.BytesIO(message), most_bytes)


def test_values_come_as_they_went() -> None:
    pictures = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    row = {"pts": b"\0\xff", "duration_s": 0.1, "fps_num": 2**62, "codec": None, "vfr": True, "empty": b""}
    turned = np.rot90(pictures[0])
    kind, got, *rest = received(sent("part", row, (1, "é"), pictures, turned, np.zeros((0, 5), np.uint8)))
    assert (kind, got, rest[0]) == ("part", row, [1, "é"])
    np.testing.assert_array_equal(rest[1], pictures)
    np.testing.assert_array_equal(rest[2], turned)
    assert rest[3].shape == (0, 5)


def test_two_messages_stand_one_after_the_other() -> None:
    pipe = io.BytesIO(sent("a", b"one") + sent("b", b"two"))
    assert [receive(pipe, 9), receive(pipe, 9)] == [["a", b"one"], ["b", b"two"]]
    with pytest.raises(EOFError):
        receive(pipe, 9)


@pytest.mark.parametrize(
    "value", [object(), np.zeros(3, np.float32), float("nan"), Sample(0, 0, 0.0, None, b"", None)]
)
def test_only_plain_values_are_sent(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        sent(value)


def raw(text: bytes, beside: bytes = b"") -> bytes:
    return struct.pack(">QQ", len(text), len(beside)) + text + beside


@pytest.mark.parametrize(
    "message",
    [
        struct.pack(">QQ", 1 << 62, 0),
        struct.pack(">QQ", TEXT_BYTES + 1, 0),
        struct.pack(">QQ", 2, 1 << 62),
        raw(b"[1]", bytes(1001)),
        raw(b"{}"),
        raw(b"[]"),
        raw(b"[NaN]"),
        raw(b'[{"\\u0000bytes": 5}]', b"four"),
        raw(b'[{"\\u0000bytes": -1}]', b"four"),
        raw(b'[{"\\u0000bytes": "4"}]', b"four"),
        raw(b'[{"\\u0000picture": [2, 3]}]', b"four"),
        raw(b'[{"\\u0000picture": [-2, -2]}]', b"four"),
        raw(b'[{"\\u0000picture": 4}]', b"four"),
        raw(b"[" * 200_000 + b"]" * 200_000),
        raw(b"[" + b"9" * 10_000 + b"]"),
        raw(pickle.dumps([1])),
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises((ValueError, TypeError, RecursionError)):
        received(message, 1000)


@pytest.mark.parametrize("message", [b"", b"\0" * 15, raw(b"[1, 2]")[:-1], raw(b"[1]", b"four")[:-2]])
def test_what_ends_early_is_the_end(message: bytes) -> None:
    with pytest.raises(EOFError):
        received(message)


def test_a_dataclass_is_built_from_its_fields_alone() -> None:
    fields = {"layer": 1, "frame": 24, "time_s": 1.0, "step_s": None, "data": b"j", "following": b"k"}
    assert built(Sample, fields) == Sample(1, 24, 1.0, None, b"j", b"k")
    for wrong in (
        {**fields, "data": "j"},
        {**fields, "more": 1},
        {"layer": 1},
        {**fields, "frame": None},
        [1],
    ):
        with pytest.raises(TypeError):
            built(Sample, wrong)  # type: ignore[arg-type]
