"""The child's side of the pipe: what its faults are told as."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from typing import Any

import av
import pytest

from pipeline.answers import receive
from pipeline.decode_child import _serve
from pipeline.reasons import MediaError, Reason


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), Reason.UNREADABLE),
        (MemoryError(), Reason.DECODER_MEMORY),
        (av.error.MemoryError(errno.ENOMEM, "no memory"), Reason.DECODER_MEMORY),
        (av.error.InvalidDataError(errno.EINVAL, "damaged"), Reason.DECODE_ERROR),
        (MediaError(Reason.SIZE_CHANGES, "it grows"), Reason.SIZE_CHANGES),
    ],
)
def test_a_fault_is_a_reason(fault: Exception, reason: Reason) -> None:
    def command() -> Iterator[Any]:
        yield 1
        raise fault

    pipe = io.BytesIO()
    _serve(pipe, command, [])
    pipe.seek(0)
    assert receive(pipe, 100) == ["part", 1]
    kind, said, message = receive(pipe, 100)
    assert (kind, said, bool(message)) == ("error", reason, True)
