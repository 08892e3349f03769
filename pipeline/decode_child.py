"""The decoding process: `python -m pipeline.decode_child PARENT_PID`, asked over its standard input.

A request is a pickled tuple (command, path, ...); the answer is a run of messages (pipeline.answers) on the standard
output: ("alive",) while it works, ("part", value) for each value, and ("done",) or ("error", reason, message) at the
end. Values are plain: a dataclass goes as its fields, an error as its reason and message.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from pipeline.answers import send
from pipeline.decoders import guard

if TYPE_CHECKING:
    from pipeline.frames import Limits
    from pipeline.reasons import Reason

Answer = Iterator[Any]
STARVED = "decoding needs more memory than it may have"


def main() -> None:
    """Serves requests until the standard input ends."""
    isolated = guard.isolate(int(sys.argv[1]))
    requests, answers = _pipes()
    limits, backend = pickle.load(requests)
    commands = _loaded(limits, backend, alive=partial(send, answers, "alive"))
    guard.bound_memory(limits.memory_bytes)
    send(answers, "part", isolated)
    send(answers, "done")
    while True:
        try:
            command, *args = pickle.load(requests)
        except EOFError:
            return
        _serve(answers, commands[command], args)


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The two pipes to the parent, moved away from where libraries read and print."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, answers


def _serve(answers: IO[bytes], command: Callable[..., Answer], args: list[Any]) -> None:
    import av

    from pipeline.reasons import MediaError, Reason

    try:
        for part in command(*args):
            send(answers, "part", part)
    except MediaError as error:
        send(answers, "error", *_judged(error.reason, error.message))
    except MemoryError:
        send(answers, "error", Reason.DECODER_MEMORY, STARVED)
    except av.FFmpegError as error:
        send(answers, "error", *_judged(Reason.DECODE_ERROR, f"the decoder reports: {error.strerror}"))
    except OSError as error:
        send(answers, "error", Reason.UNREADABLE, f"the storage failed: {error.strerror}")
    else:
        send(answers, "done")


def _judged(reason: Reason, message: str) -> tuple[Reason, str]:
    """The reason and the message of an error; damage that may be a want of memory is told as that."""
    from pipeline.reasons import Reason

    if reason is Reason.DECODE_ERROR and guard.was_short_of_memory():
        return Reason.DECODER_MEMORY, STARVED
    return reason, message


def _loaded(limits: Limits, backend: str, alive: Callable[[], None]) -> dict[str, Callable[..., Answer]]:
    """The commands, with every library loaded that they use."""
    import av
    import cv2

    from pipeline.decoders.desk import Desk

    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    desk = Desk(limits, backend, alive)
    return {"probe": desk.probe, "scan": desk.scan, "read": desk.read, "encode": desk.encode}


if __name__ == "__main__":
    main()
