"""Lies cut into the bytes of media: MP4 (ISO/IEC 14496-12), Matroska (RFC 8794, RFC 9559), PNG and GIF."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def box(kind: bytes, *parts: bytes) -> bytes:
    """An MP4 box around these bytes."""
    return struct.pack(">I", 8 + sum(map(len, parts))) + kind + b"".join(parts)


def full(kind: bytes, *numbers: int, more: bytes = b"") -> bytes:
    """A box with a version and flags of 0, then 32-bit numbers."""
    return box(kind, bytes(4), b"".join(struct.pack(">I", number) for number in numbers), more)


def patched(data: bytes, kind: bytes, offset: int, value: bytes, nth: int = 0) -> bytes:
    """The data with `value` written `offset` bytes after the nth name of this box."""
    place = -1
    for _ in range(nth + 1):
        place = data.index(kind, place + 1)
    place += len(kind) + offset
    return data[:place] + value + data[place + len(value) :]


def number(data: bytes, kind: bytes, offset: int, value: int) -> bytes:
    """As `patched`, with a 32-bit number."""
    return patched(data, kind, offset, struct.pack(">I", value))


def grown(data: bytes, path: tuple[bytes, ...], addition: bytes) -> bytes:
    """The data with bytes added at the end of the box at `path`, whose lengths and those around it are mended.

    What lies behind moves: the box that holds samples has to come before.
    """
    start, end, sizes = 0, len(data), []
    for kind in path:
        place = start
        while data[place + 4 : place + 8] != kind:
            place += int.from_bytes(data[place : place + 4], "big")
        sizes.append(place)
        end = place + int.from_bytes(data[place : place + 4], "big")
        start = place + 8 + INNER.get(kind, 0)
    out = bytearray(data[:end] + addition + data[end:])
    for place in sizes:
        length = int.from_bytes(out[place : place + 4], "big") + len(addition)
        out[place : place + 4] = length.to_bytes(4, "big")
    return bytes(out)


INNER = {b"stsd": 8, b"encv": 78, b"avc1": 78}
"""Bytes that come before the inner boxes of these."""


def ebml(name: str, *parts: bytes, length: int | None = None) -> bytes:
    """An element with this id (hex) around these bytes; `length` is a lie about them."""
    inner = b"".join(parts)
    size = len(inner) if length is None else length
    return bytes.fromhex(name) + (size | 1 << 56).to_bytes(8, "big") + inner


def unsigned(name: str, value: int) -> bytes:
    return ebml(name, value.to_bytes(8, "big"))


def matroska(tracks: bytes, blocks: list[tuple[int, int, bytes]]) -> bytes:
    """A file of these tracks with one cluster of (track, ms, data) blocks."""
    head = ebml("1a45dfa3", ebml("4282", b"matroska"), unsigned("4287", 4), unsigned("4285", 2))
    inner = [unsigned("e7", 0)]
    inner += [
        ebml("a3", bytes([0x80 | track]), struct.pack(">h", ms), b"\x80", data) for track, ms, data in blocks
    ]
    info = ebml("1549a966", unsigned("2ad7b1", 1_000_000), ebml("4d80", b"x"), ebml("5741", b"x"))
    return head + ebml("18538067", info, ebml("1654ae6b", tracks), ebml("1f43b675", *inner))


def track(number: int, kind: int, codec: bytes, *more: bytes, size: tuple[int, int] | None = None) -> bytes:
    """A track entry; `kind` is 1 for video, 2 for sound, 17 for subtitles."""
    shape = [ebml("e0", unsigned("b0", size[0]), unsigned("ba", size[1]))] if size else []
    return ebml(
        "ae",
        unsigned("d7", number),
        unsigned("73c5", number),
        unsigned("83", kind),
        ebml("86", codec),
        *shape,
        *more,
    )


def png(
    width: int, height: int, rows: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2
) -> bytes:
    """A black PNG of which only the first rows are there, with more chunks before the picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    samples = {0: 1, 2: 3, 6: 4}[colour]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    row = bytes(samples * width * depth // 8 + 1)
    packer = zlib.compressobj(9)
    data = b"".join([*(packer.compress(row) for _ in range(rows)), packer.flush()])
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunk(*c) for c in chunks)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF that claims this size and paints next to nothing in each frame."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    delay = b"\x21\xf9\x04" + struct.pack("<BHB", 0, 5, 0) + b"\0"
    paint = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return head + (delay + paint) * frames + b";"


def flipped(data: bytes, seed: int, bits: int, within: tuple[float, float] = (0.0, 1.0)) -> bytes:
    """The data with so many bits turned, at places of this share of it."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    places = rng.integers(int(len(data) * within[0]), max(1, int(len(data) * within[1])), bits)
    for place, bit in zip(places.tolist(), rng.integers(0, 8, bits).tolist(), strict=True):
        out[place] ^= 1 << bit
    return bytes(out)


def mutant(data: bytes, seed: int) -> bytes:
    """The data with one to six hurts of a seeded kind: bits, numbers of odd size, cuts, holes, repetitions."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        # Half of the hurts fall into the first or last 2,000 bytes, where headers and indices are.
        edge = min(2000, len(out))
        place = int(rng.integers(0, len(out)))
        if rng.random() < 0.5:
            place = (
                int(rng.integers(0, edge))
                if rng.random() < 0.5
                else len(out) - 1 - int(rng.integers(0, edge))
            )
        length = int(rng.integers(1, 64))
        match int(rng.integers(0, 6)):
            case 0:
                out[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                out[place : place + 4] = ODD[int(rng.integers(0, len(ODD)))]
            case 2:
                out[place : place + length] = bytes(length)
            case 3:
                del out[place : place + length]
            case 4:
                out[place:place] = out[place : place + length]
            case _:
                out[place : place + length] = rng.bytes(length)
        if len(out) < 16:
            break
    return bytes(out)


ODD = tuple(
    struct.pack(">I", number)
    for number in (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 100_000_000, 65535)
)
