"""What a file's own first bytes claim: where it ends, and how large its pictures are."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.decoders.guard import Source


def claimed_bytes(container: str, file: Source) -> int | None:
    """The size in bytes that the outermost headers claim; None when the format or this file does not say.

    `container` is "mov", "matroska" or "avi". Formats: ISO/IEC 14496-12 section 4.2, RFC 9559 section 4 (Segment),
    and RIFF (chunks of four letters and a 32-bit length).
    """
    readers: dict[str, Callable[[Source], int | None]] = {
        "mov": _boxes,
        "matroska": _segment,
        "avi": _riff,
    }
    reader = readers.get(container)
    return reader(file) if reader else None


def _boxes(file: Source) -> int | None:
    place = 0
    while place + 8 <= file.size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end of the file, whatever that is
            return file.size
        if length < 8:
            return None
        place += length
    return place


def _riff(file: Source) -> int | None:
    place = 0
    while place + 8 <= file.size:
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF":  # whatever some writers append after the list
            return place
        length = int.from_bytes(head[4:8], "little")
        if length in (0, 0xFFFFFFFF):  # a writer that never came back to fill it in
            return None
        place += 8 + length + length % 2
    return place


def _segment(file: Source) -> int | None:
    file.seek(0)
    head = file.read(4096)
    if head[:4] != b"\x1a\x45\xdf\xa3":
        return None
    length, used = _vint(head[4:])
    if length is None or 4 + used + length > len(head):
        return None
    place = 4 + used + length
    if head[place : place + 4] != b"\x18\x53\x80\x67":
        return None
    length, used = _vint(head[place + 4 :])
    return None if length is None else place + 4 + used + length


def _vint(data: bytes) -> tuple[int | None, int]:
    """An EBML length and how many bytes it took; None for "unknown" or nonsense."""
    if not data or data[0] == 0:
        return None, 0
    used = 9 - data[0].bit_length()
    value = int.from_bytes(data[:used], "big") & ((1 << 7 * used) - 1)
    return (None if value == (1 << 7 * used) - 1 else value), used


def claimed_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels by the first 32 bytes of a PNG, GIF or BMP; None for anything else.

    Of these formats the decoder itself, once it has refused a size, no longer tells it.
    """
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head[:2] == b"BM" and len(head) >= 26:
        height = int.from_bytes(head[22:26], "little", signed=True)
        return int.from_bytes(head[18:22], "little"), abs(height)
    return None
