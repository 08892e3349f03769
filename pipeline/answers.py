"""Answers of the decoding process on their way to its parent: JSON, and beside it bytes and arrays as they are.

A message is two lengths of 8 bytes (big-endian), of the text and of what lies beside it, then both. Reading makes plain
values and nothing else: the child reads hostile files, so the parent trusts its answers with no class and no code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, TypeVar, get_type_hints

import numpy as np

LENGTHS = struct.Struct(">QQ")
TEXT_BYTES = 4 << 20
"""The most text in a message: numbers about some thousands of frames fill less than a quarter of it. Ours."""
BYTES, PICTURE = "\0bytes", "\0picture"
"""Names that stand in the text for what lies beside it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Bound:
    """The most that a whole answer may be: `parts` of them, each with so many bytes of text and beside it."""

    parts: int
    beside_bytes: int
    text_bytes: int = TEXT_BYTES


def send(pipe: IO[bytes], *values: Any) -> None:
    """Writes one message: plain values, bytes and uint8 arrays, in tuples, lists and dicts with text keys."""
    beside: list[Any] = []

    def aside(value: Any) -> dict[str, Any]:
        if isinstance(value, bytes):
            beside.append(value)
            return {BYTES: len(value)}
        if isinstance(value, np.ndarray) and value.dtype == np.uint8:
            beside.append(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
            return {PICTURE: value.shape}
        raise TypeError(f"{type(value).__name__} has no place in an answer")

    text = json.dumps(values, default=aside, allow_nan=False).encode()
    pipe.write(LENGTHS.pack(len(text), sum(len(part) for part in beside)))
    for part in (text, *beside):
        pipe.write(part)
    pipe.flush()


def receive(pipe: IO[bytes], most_bytes: int, text_bytes: int = TEXT_BYTES) -> list[Any]:
    """The values of the next message; tuples come as lists.

    Raises EOFError when the pipe ends; ValueError, TypeError, RecursionError when it is no message, or one with more
    than `text_bytes` of text or `most_bytes` beside it.
    """
    said_bytes, beside_bytes = LENGTHS.unpack(_exactly(pipe, LENGTHS.size))
    if said_bytes > text_bytes or beside_bytes > most_bytes:
        raise ValueError(f"an answer of {said_bytes} + {beside_bytes} bytes")
    text, beside = _exactly(pipe, said_bytes), memoryview(_exactly(pipe, beside_bytes))
    place = 0

    def taken(count: int) -> memoryview:
        nonlocal place
        part = beside[place : place + count]
        if count < 0 or len(part) != count:
            raise ValueError("an answer refers to bytes that it does not have")
        place += count
        return part

    def placed(value: dict[str, Any]) -> Any:
        if set(value) == {BYTES}:
            return bytes(taken(value[BYTES]))
        if set(value) == {PICTURE}:
            shape = [int(side) for side in value[PICTURE]]
            count = 1
            for side in shape:
                count *= side
            return np.frombuffer(taken(count), np.uint8).reshape(shape)
        return value

    values = json.loads(text, object_hook=placed, parse_constant=_refused)
    if not isinstance(values, list) or not values:
        raise ValueError("an answer is a list")
    return values


def built(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass with these fields. Raises TypeError unless they are all there, each of its type."""
    hints = get_type_hints(kind)
    if not isinstance(values, dict) or set(values) != set(hints):
        raise TypeError(f"these are not the fields of {kind.__name__}")
    for name, hint in hints.items():
        if not isinstance(values[name], hint):
            raise TypeError(f"{name} is no {hint}")
    return kind(**values)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) != count:
        raise EOFError("the answer ends early")
    return data


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no plain number")
