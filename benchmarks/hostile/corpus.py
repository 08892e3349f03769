"""The corpus: over a hundred hostile or odd files, each with the outcomes that it may have.

    python -m benchmarks.hostile.corpus FOLDER

writes them all (8 MB, half a minute) and a manifest `list.jsonl` that names those whose suffix a folder is not searched
for. Nothing is downloaded, and the same seed gives the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

from benchmarks.hostile.films import changing, film, sound, still, streams
from benchmarks.hostile.surgery import (
    box,
    ebml,
    flipped,
    full,
    gif,
    grown,
    matroska,
    number,
    patched,
    png,
    track,
    unsigned,
)

USED = frozenset({"used"})
TEXT = frozenset({"not_media"})
NO_FILE = frozenset({"not_a_file"})
LARGE = frozenset({"too_large"})
CLOCK = frozenset({"bad_timestamps"})
MEMORY = frozenset({"decoder_memory"})
CUT = frozenset({"truncated", "not_media", "decode_error", "no_frames", "no_video"})
HURT = CUT | CLOCK | {"unsupported_codec", "too_large", "too_small", "size_changes"}
"""Whatever damage may look like."""


@dataclass(frozen=True)
class Entry:
    """One file, or what stands in the place of one."""

    name: str
    """May hold any byte but a slash and a null, by surrogates those that are not UTF-8."""
    write: Callable[[Path], object]
    """Makes it; an OSError says that this system cannot."""
    ends: frozenset[str]
    """How a whole run may end for it: "used", or the reasons that it may be refused or fail with."""
    probed: frozenset[str] | None = None
    """What ingest may say of it, where only decoding shows the rest; None: as `ends`."""


def _data(
    name: str, ends: frozenset[str], make: Callable[[], bytes], probed: frozenset[str] | None = None
) -> Entry:
    return Entry(name, lambda path: path.write_bytes(make()), ends, probed)


GOOD = ("good-1.mp4", "good-2.mkv", "good-3.webm")
"""Innocent neighbours: nothing that stands beside them may change their rows."""


def entries(canary: str = "http://127.0.0.1:9", secret: str = "/etc/passwd") -> list[Entry]:
    """The corpus. What would fetch or read another file names `canary` (a URL, no slash at its end) or `secret`."""
    found = [*good(), *names(), *odd(), *texts(canary, secret), *places(), *wrong_streams(canary)]
    found += [*lies(), *bombs(), *clocks(), *cuts(), *flips()]
    assert len({entry.name for entry in found}) == len(found), "two entries have one name"
    return found


def write(folder: Path, chosen: list[Entry]) -> list[Entry]:
    """Makes the entries in `folder` and gives those that this system could make; writes `list.jsonl` beside them."""
    made = []
    for entry in chosen:
        try:
            entry.write(folder / entry.name)
        except (OSError, UnicodeEncodeError) as error:
            print(f"left out {entry.name!r}: {error}", file=sys.stderr)
            continue
        made.append(entry)
    rows = [json.dumps({"path": entry.name}) for entry in made if _is_text(entry.name)]
    (folder / "list.jsonl").write_text("\n".join(rows) + "\n")
    return made


def _is_text(name: str) -> bool:
    return name.isprintable() or "\n" in name or "\t" in name


# --- what is good


@cache
def base(container: str) -> bytes:
    """A plain valid video of 48 frames that others are made from by surgery."""
    match container:
        case "mp4":
            return film(seed=1, frames=48, bframes=2)
        case "fast.mp4":
            return film(seed=2, frames=48, bframes=2, flags="faststart")
        case "frag.mp4":
            return film(seed=3, frames=48, flags="frag_keyframe+empty_moov", options={"g": "12"})
        case "mkv":
            return film(seed=4, frames=48, container="matroska")
        case "webm":
            return film(seed=5, frames=48, container="webm", codec="libvpx-vp9")
        case "avi":
            return film(seed=6, frames=48, container="avi", codec="mpeg4")
        case "ts":
            return film(seed=7, frames=48, container="mpegts", options={"g": "12"})
        case "mpg":
            return film(seed=8, frames=48, container="mpeg", codec="mpeg2video", fps=25)
        case "flv":
            return film(seed=9, frames=48, container="flv")
        case "mov":
            return film(seed=10, frames=24, container="mov", codec="prores_ks", pix_fmt="yuv422p10le")
        case "ogg":
            return film(seed=11, frames=48, container="ogg", codec="libvpx")
        case "wmv":
            return film(seed=12, frames=48, container="asf", codec="wmv2")
        case "mxf":
            return film(seed=13, frames=24, container="mxf", codec="mpeg2video", fps=25, size=(320, 240))
        case "ivf":
            return film(seed=14, frames=48, container="ivf", codec="libvpx")
        case "av1.mp4":
            return film(seed=15, frames=24, codec="libsvtav1")
        case "hevc.mp4":
            return film(seed=16, frames=24, codec="libx265")
        case "gif":
            return film(seed=17, frames=24, container="gif", codec="gif", pix_fmt="rgb8", fps=25)
    raise ValueError(container)


BASES = (
    "mp4", "fast.mp4", "frag.mp4", "mkv", "webm", "avi", "ts", "mpg", "flv", "mov", "ogg", "wmv", "mxf", "ivf",
    "av1.mp4", "hevc.mp4", "gif",
)  # fmt: skip


def good() -> Iterator[Entry]:
    size = (320, 256)
    yield _data(GOOD[0], USED, partial(film, seed=21, frames=30, fps=20, size=size, tone=True))
    yield _data(
        GOOD[1], USED, partial(film, seed=22, frames=30, fps=20, size=size, container="matroska", bframes=2)
    )
    make = partial(film, seed=23, frames=30, fps=20, size=size, container="webm", codec="libvpx-vp9")
    yield _data(GOOD[2], USED, make)


NAMES = (
    "new\nline.mp4", "tab\there.mp4", "-dash.mp4", "--out=x.mp4", "%d-%03d-%s.mp4", "a:b.mp4", "C:\\film.mp4",
    "映画 🎬.mp4", "مشاهد.mp4", "e\u0301 and \u00e9.mp4", "quote'\";$(reboot)`x`.mp4",
    "star*[x]?.mp4", "#frag?q=1&r.mp4", " lead.mp4",
    "nul%00.mp4", "..mp4.mp4", "concat:a|b.mp4", "data:,x.mp4", "subfile,,start,0,end,0,,:x.mp4", "<script>.mp4",
    "\u202egpj.mp4", "\x1b[31mred.mp4", "=cmd|x!A1.mp4", "CON.mp4", "n" * 251 + ".mp4", "UPPER.MP4",
)  # fmt: skip


def names() -> Iterator[Entry]:
    for seed, name in enumerate(NAMES, start=100):
        yield _data(name, USED, partial(film, seed=seed, frames=4, size=(64, 48), fps=4))
    unreadable = frozenset({"unreadable"})
    yield _data("caf\udce9.mp4", unreadable, partial(film, seed=98, frames=4, size=(64, 48), fps=4))
    yield _data("\udcff\udcfe.mp4", unreadable, partial(film, seed=99, frames=4, size=(64, 48), fps=4))


def odd() -> Iterator[Entry]:
    """Rare, but valid."""
    yield _data("odd-size.mp4", USED, partial(film, seed=30, size=(163, 97), pix_fmt="yuv444p"))
    yield _data("16x16.mp4", USED, partial(film, seed=31, size=(16, 16)))
    yield _data("wide.mp4", USED, partial(film, seed=32, frames=6, fps=6, size=(8192, 64)))
    yield _data(
        "tall.mkv", USED, partial(film, seed=33, frames=6, fps=6, size=(64, 4320), container="matroska")
    )
    yield _data("ten-bit.mp4", USED, partial(film, seed=34, codec="libx265", pix_fmt="yuv420p10le"))
    hdr = {
        "x265-params": "log-level=none:pools=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    }
    make = partial(film, seed=35, codec="libx265", pix_fmt="yuv420p10le", options=hdr)
    yield _data("hdr.mp4", USED, make)
    yield _data(
        "alpha.mov", USED, partial(film, seed=36, codec="qtrle", pix_fmt="argb", container="mov", frames=8)
    )
    yield _data(
        "alpha.webm", USED, partial(film, seed=37, codec="libvpx-vp9", pix_fmt="yuva420p", container="webm")
    )
    yield _data("interlaced.mp4", USED, partial(film, seed=38, options={"x264-params": "tff=1"}))
    yield _data("one-fps.mp4", USED, partial(film, seed=39, frames=5, fps=1))
    yield _data("240-fps.mp4", USED, partial(film, seed=40, frames=60, fps=240))
    yield _data("slow-show.mp4", USED, partial(film, seed=41, frames=4, fps=Fraction(1, 60)))
    yield _data("vfr.mp4", USED, partial(film, seed=42, frames=6, stamps_ms=[0, 40, 80, 900, 1000, 2000]))
    yield _data("rotated.mp4", USED, partial(film, seed=43, rotation=90))
    yield _data("anamorphic.mp4", USED, partial(film, seed=44, sar=Fraction(16, 11)))
    yield _data("one-frame.mp4", USED, partial(film, seed=45, frames=1))
    yield _data("no-motion.mkv", USED, lambda: film(seed=46, container="matroska", codec="ffv1", frames=6))
    yield _data(
        "late-start.ts",
        USED,
        lambda: film(seed=47, container="mpegts", stamps_ms=[10**8 + 40 * k for k in range(24)]),
    )
    yield _data("negative-start.mkv", USED, lambda: film(seed=48, container="matroska", bframes=3))
    yield _data(
        "many-frames.avi",
        USED,
        partial(film, seed=49, frames=3000, size=(16, 16), fps=100, container="avi", codec="mpeg4"),
    )
    yield _data(
        "second-is-default.mkv",
        USED,
        partial(streams, "matroska", ((96, 64), 50, False), ((160, 96), 51, True)),
    )
    yield _data("fragments.mp4", USED, partial(base, "frag.mp4"))
    yield _data("animation.gif", USED, partial(base, "gif"))
    yield _data("prores.mov", USED, partial(base, "mov"))
    yield _data(
        "mjpeg.avi",
        USED,
        partial(
            film,
            seed=52,
            codec="mjpeg",
            container="avi",
            pix_fmt="yuvj420p",
            options={"strict": "unofficial"},
        ),
    )
    yield _data("mpeg2.mpg", USED, partial(base, "mpg"))
    yield _data("mpeg2.mxf", USED, partial(base, "mxf"))
    yield _data("wmv.wmv", USED, partial(base, "wmv"))
    yield _data("vp8.ogv", USED | HURT, partial(base, "ogg"))
    yield _data("av1.mp4", USED, partial(base, "av1.mp4"))
    yield _data("jpeg.mp4", USED, partial(still, "mjpeg", "yuvj420p", 53))
    yield _data("png.mkv", USED, partial(still, "png", "rgb24", 54))
    yield _data("tiff.tiff", USED, partial(still, "tiff", "rgb24", 55))
    yield _data("bmp.bmp", USED, partial(still, "bmp", "bgr24", 56))
    yield _data("webp.jpg", USED, partial(still, "libwebp", "yuv420p", 57))
    yield _data("film.webm", USED, partial(film, seed=58))  # MP4 by another name
    edit = number(number(base("mp4"), b"elst", 8, 900), b"mvhd", 12, 1000)
    yield _data("edit-ends-early.mp4", USED, lambda: edit)
    yield _data(
        "edit-hides-start.mp4",
        USED,
        lambda: number(film(seed=59, frames=48, options={"g": "12"}), b"elst", 12, 12288),
    )
    yield _data(
        "size-changes.ts",
        frozenset({"size_changes"}),
        partial(changing, "mpegts", (160, 96), (192, 128)),
        USED,
    )
    yield _data(
        "size-changes.mkv",
        frozenset({"size_changes"}),
        partial(changing, "matroska", (192, 128), (96, 64), (192, 128)),
        USED,
    )
    # Joined in the middle of a group of pictures: what leans on the missing frames does not exist.
    yield _data("joined.ts", USED | HURT, lambda: base("ts")[188 * 40 :], USED | HURT)


# --- what is no media


def texts(canary: str, secret: str) -> Iterator[Entry]:
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    remote, local = playlist.format(f"{canary}/segment.ts"), playlist.format(secret)
    concat = f"ffconcat version 1.0\nfile '{secret}'\n"
    dash = f"<?xml version='1.0'?><MPD><Period><BaseURL>{canary}/a.mp4</BaseURL></Period></MPD>"
    session = f"v=0\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=control:{canary}\n"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{canary}/a.png'/></svg>"
    texts = {
        "playlist-http.m3u8": remote,
        "playlist-http.mp4": remote + "#\n",
        "playlist-file.m3u8": local,
        "playlist-file.ts": local + "#\n",
        "master.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{canary}/low.m3u8\n",
        "key.m3u8": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{canary}/key"\n#EXTINF:1,\ngood-1.mp4\n#EXT-X-ENDLIST\n',
        "list.ffconcat": concat,
        "list.mp4": concat + f"file '{canary}/a.mp4'\n",
        "dash.mpd": dash,
        "dash.mp4": dash + "\n",
        "session.mp4": session,
        "picture.svg": svg,
        "avisynth.avi": f'AviSource("{secret}")\n',
        "subtitles.mp4": "1\n00:00:00,000 --> 00:00:02,000\nHello\n\n",
        "ass.mkv": "[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:02.00,,,,,,,x\n",
        "page.mp4": "<!doctype html><title>404</title><h1>Not Found</h1>\n" * 40,
        "error.webm": '{"error": "quota exceeded"}\n',
        "pointer.mp4": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "imf.mp4": f"<AssetMap><Path>{canary}/x.mxf</Path></AssetMap>",
        "image%03d.png": f"{canary}/image%03d.png",
        "rtsp.mov": "RTSPtext\nrtsp://127.0.0.1:9/a\n",
        "shortcut.url.mp4": f"[InternetShortcut]\nURL={canary}/a.mp4\n",
        "empty-lines.mp4": "\n" * 5000,
    }
    for name, text in texts.items():
        yield _data(name, TEXT, partial(str.encode, text))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(zipfile.ZipInfo("film.mp4"), b"x" * 1000)
    yield _data("archive.mp4", TEXT, zipped.getvalue)
    yield _data("pickle.mp4", TEXT, partial(pickle.dumps, {"path": Path("/")}))
    yield _data("program.mp4", TEXT, lambda: b"\x7fELF\x02\x01\x01" + bytes(4000))
    yield _data("empty.mp4", frozenset({"empty"}), bytes)
    yield _data("one-byte.mp4", TEXT, lambda: b"\0")
    yield _data("zeros.mp4", TEXT, lambda: bytes(1 << 20))
    yield _data("ones.mp4", TEXT, lambda: b"\xff" * 70_000)
    yield _data("noise.mp4", HURT, lambda: flipped(bytes(50_000), 1, 200_000))
    yield _data("sync-bytes.ts", HURT, lambda: (b"\x47" + bytes(187)) * 400)
    yield _data("start-codes.mpg", HURT, lambda: b"\0\0\1\xba" * 4000)


def places() -> Iterator[Entry]:
    """Other things than files, and links to them."""
    yield Entry("pipe.mp4", os.mkfifo, NO_FILE)
    yield Entry("socket.mp4", _socket, NO_FILE)
    yield Entry("zero.mp4", lambda path: path.symlink_to("/dev/zero"), NO_FILE)
    yield Entry("null.mp4", lambda path: path.symlink_to("/dev/null"), NO_FILE)
    yield Entry("terminal.mp4", lambda path: path.symlink_to("/dev/tty"), NO_FILE)
    yield Entry("device.mp4", lambda path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)), NO_FILE)
    yield Entry(
        "loop.mp4",
        lambda path: path.symlink_to(path.name),
        frozenset({"not_a_file", "unreadable", "not_found"}),
    )
    yield Entry("nowhere.mp4", lambda path: path.symlink_to("none/here.mp4"), frozenset({"not_found"}))
    yield Entry("folder.mp4", Path.mkdir, NO_FILE)
    yield Entry("environment.mp4", lambda path: path.symlink_to("/proc/self/environ"), frozenset({"empty"}))
    # Endless to read, though the system calls it a plain file of no bytes.
    yield Entry("pages.mp4", lambda path: path.symlink_to("/proc/self/pagemap"), frozenset({"empty"}))
    yield Entry(
        "log.mp4", lambda path: path.symlink_to("/proc/kmsg"), frozenset({"empty", "unreadable", "not_found"})
    )
    yield Entry("core.mp4", _core, LARGE | {"not_media"})
    yield Entry("link.mp4", lambda path: path.symlink_to("/etc/passwd"), TEXT)
    yield Entry("holes.mp4", partial(_sparse, size=1 << 43), LARGE)
    yield Entry("sparse.mp4", partial(_sparse, size=1 << 36), TEXT)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _core(path: Path) -> None:
    with open("/proc/kcore", "rb"):
        path.symlink_to("/proc/kcore")


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


# --- what is not the video that it seems


def wrong_streams(canary: str) -> Iterator[Entry]:
    no_video = frozenset({"no_video"})
    art = png(64, 64, 64)
    yield _data("sound.mp4", no_video, partial(sound, "mp4", "aac"))
    yield _data("sound.mkv", no_video, partial(sound, "matroska", "libopus"))
    yield _data("wave.mp4", TEXT | no_video, partial(sound, "wav", "pcm_s16le"))
    yield _data("song.mp4", TEXT | no_video, partial(sound, "mp3", "libmp3lame"))
    yield _data("cover.mp4", no_video, partial(sound, "mp4", "aac", art))
    text = [(1, 40 * k, b"Hello") for k in range(20)]
    yield _data("subtitles.mkv", no_video, lambda: matroska(track(1, 17, b"S_TEXT/UTF8"), text))
    yield _data(
        "unknown-codec.mkv",
        frozenset({"unsupported_codec"}),
        lambda: matroska(track(1, 1, b"V_NONE", size=(64, 64)), text),
    )
    yield _data(
        "asus.avi",
        frozenset({"unsupported_codec"}),
        partial(film, seed=60, codec="asv1", container="avi", frames=4),
    )
    yield _data(
        "snow.avi",
        frozenset({"unsupported_codec"}),
        partial(film, seed=61, codec="snow", container="avi", frames=4, options={"strict": "-2"}),
    )
    yield _data(
        "jpeg2000.mov",
        frozenset({"unsupported_codec"}),
        partial(film, seed=62, codec="jpeg2000", container="mov", frames=3, pix_fmt="yuv420p"),
    )
    yield _data(
        "no-codec.mp4",
        frozenset({"unsupported_codec"}),
        lambda: patched(base("mp4"), b"avc1", -4, b"zzzz", _last(base("mp4"), b"avc1")),
    )
    yield _data("locked.mp4", HURT, _locked, HURT | USED)
    yield _data("raw.h264", CLOCK, partial(film, seed=63, container="h264"))
    yield _data("raw.mp4", CLOCK, partial(film, seed=64, container="hevc", codec="libx265"))
    yield _data("elsewhere.mov", USED | HURT, lambda: _elsewhere(f"{canary}/a.mp4".encode()))
    attached = ebml(
        "1941a469", ebml("61a7", ebml("466e", b"../../x.ttf"), ebml("465c", bytes(500)), unsigned("46ae", 1))
    )
    yield _data("attachment.mkv", USED | HURT, lambda: base("mkv")[:-1] + base("mkv")[-1:] + attached)


def _last(data: bytes, kind: bytes) -> int:
    return data.count(kind) - 1


def _locked() -> bytes:
    """H.264 under common encryption (ISO/IEC 23001-7): boxes that say so, and samples that are noise."""
    plain = film(seed=65)
    start, end = plain.index(b"mdat") + 4, plain.index(b"moov") - 4
    body = bytearray(plain[start:end])
    noise = flipped(bytes(len(body)), 3, 8 * len(body))
    for place in range(40, len(body)):
        body[place] ^= noise[place]
    data = plain[:start] + bytes(body) + plain[end:]
    data = patched(data, b"avc1", -4, b"encv", _last(data, b"avc1"))
    key = box(b"schi", full(b"tenc", 0x00000108, more=bytes(range(16))))
    scheme = box(b"sinf", box(b"frma", b"avc1"), full(b"schm", more=b"cenc" + bytes(4)), key)
    return grown(data, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"encv"), scheme)


def _elsewhere(url: bytes) -> bytes:
    """A film whose samples are said to lie in another file: QuickTime's alias data reference with a path."""
    data = film(seed=66, container="mov")
    path = url + bytes(len(url) % 2)
    alias = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12) + b"\5a.mp4".ljust(64, b"\0") + bytes(16)
    alias += struct.pack(">hh", 1, 1) + bytes(16) + struct.pack(">hH", 2, len(url)) + path
    alias += struct.pack(">hH", 0, 2) + b"a\0" + struct.pack(">hh", -1, 0)
    data = grown(
        data,
        (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"),
        full(b"alis", more=alias.ljust(160, b"\0")),
    )
    data = number(data, b"dref", 4, 2)
    return patched(data, b"avc1", 6, struct.pack(">H", 2), _last(data, b"avc1"))


def lies() -> Iterator[Entry]:
    """Headers that claim what is not there."""
    mp4, frag, fast = base("mp4"), base("frag.mp4"), base("fast.mp4")
    claims = CUT | LARGE | CLOCK | MEMORY
    for samples in (10**8, 10**9, 2**32 - 1):
        yield _data(
            f"claims-{samples}.mp4",
            claims,
            partial(number, number(mp4, b"stsz", 4, 100), b"stsz", 8, samples),
        )
    yield _data("stts-count.mp4", claims, partial(number, mp4, b"stts", 8, 2**31 - 1))
    yield _data("stts-entries.mp4", claims | {"no_video"}, partial(number, mp4, b"stts", 4, 2**32 - 1))
    yield _data("ctts-count.mp4", USED | claims, partial(number, mp4, b"ctts", 8, 2**32 - 1))
    yield _data("stsc-chunks.mp4", USED | claims, partial(number, mp4, b"stsc", 12, 2**31 - 1))
    yield _data("stco-entries.mp4", USED | claims, partial(number, mp4, b"stco", 4, 2**28))
    yield _data("stco-beyond.mp4", claims, partial(number, mp4, b"stco", 8, 2**31 - 1))
    yield _data("trun-1e8.mp4", claims, partial(number, frag, b"trun", 4, 10**8))
    yield _data("trun-3e9.mp4", claims, partial(number, frag, b"trun", 4, 3 * 10**9))
    yield _data("trex-size.mp4", claims | USED, partial(number, frag, b"trex", 16, 2**32 - 1))
    yield _data(
        "avc1-size.mp4",
        LARGE | USED,
        lambda: patched(mp4, b"avc1", 24, b"\xff\xff\xff\xff", _last(mp4, b"avc1")),
    )
    yield _data("tkhd-size.mp4", USED | LARGE, lambda: patched(mp4, b"tkhd", 76, b"\xff\xff\0\0\xff\xff\0\0"))
    yield _data(
        "aspect.mp4",
        frozenset({"too_small"}),
        lambda: grown(mp4, _SAMPLE, box(b"pasp", struct.pack(">II", 1, 60000))),
    )
    yield _data(
        "aspect-wide.mp4",
        LARGE | USED,
        lambda: grown(mp4, _SAMPLE, box(b"pasp", struct.pack(">II", 2**31 - 1, 1))),
    )
    yield _data("edit-rate.mp4", USED | HURT, partial(number, mp4, b"elst", 16, 0))
    yield _data("edit-far.mp4", USED | HURT, partial(number, mp4, b"elst", 12, 2**31 - 2))
    yield _data("edit-count.mp4", USED | HURT, partial(number, mp4, b"elst", 4, 2**32 - 1))
    yield _data("edit-long.mp4", USED | HURT, partial(number, mp4, b"elst", 8, 2**32 - 1))
    yield _data("box-negative.mp4", USED | HURT, partial(number, fast, b"free", -8, 7))
    yield _data(
        "box-huge.mp4", HURT, lambda: fast + struct.pack(">I", 1) + b"free" + struct.pack(">Q", 2**63 - 1)
    )
    yield _data("box-nested.mp4", TEXT | {"no_video"}, lambda: _nested(b"moov", 20_000))
    yield _data("only-ftyp.mp4", TEXT | {"no_video"}, lambda: mp4[: mp4.index(b"mdat") - 12])
    yield _data("no-samples.mp4", HURT, lambda: _emptied(mp4))
    yield _data("no-moov.mp4", TEXT, lambda: mp4[: mp4.index(b"moov") - 4])
    yield _data(
        "seven-hundred.mkv",
        USED | HURT,
        lambda: matroska(b"".join(track(k, 1, b"V_VP8", size=(64, 64)) for k in range(1, 700)), []),
    )
    yield _data(
        "many-tracks.mkv",
        HURT,
        lambda: matroska(b"".join(track(k % 127 + 1, 17, b"S_TEXT/UTF8") for k in range(5000)), []),
    )
    yield _data("segment-endless.mkv", USED | HURT, lambda: base("mkv") + ebml("1f43b675", length=2**56 - 2))
    yield _data("ebml-huge.mkv", TEXT, lambda: ebml("1a45dfa3", b"\x42\x82", length=2**55))
    yield _data(
        "avi-claims.avi",
        USED | claims,
        partial(patched, base("avi"), b"avih", 4 + 16, struct.pack("<I", 2**31 - 1)),
    )
    yield _data(
        "avi-rate.avi",
        USED | claims,
        partial(patched, base("avi"), b"strh", 4 + 20, struct.pack("<II", 0, 0)),
    )


_SAMPLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")


def _nested(kind: bytes, levels: int) -> bytes:
    heads = (struct.pack(">I", 8 * (levels - level)) + kind for level in range(levels))
    return box(b"ftyp", b"isom", bytes(4)) + b"".join(heads)


def _emptied(data: bytes) -> bytes:
    """Every table of samples says that it has none."""
    for kind in (b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"stss"):
        data = number(data, kind, 8 if kind == b"stsz" else 4, 0)
    return data


def bombs() -> Iterator[Entry]:
    """A few bytes that would be a lot of memory or time."""
    yield _data("gif-65535.gif", LARGE, partial(gif, 65535, 65535, 1))
    yield _data("gif-16000.gif", LARGE, partial(gif, 16000, 16000, 64))
    yield _data("gif-5900.gif", USED | HURT, partial(gif, 5900, 5900, 3), USED)
    yield _data("png-100000.png", LARGE, partial(png, 100_000, 100_000, 1))
    yield _data("png-tall.png", LARGE, partial(png, 16, 2**31 - 1, 1))
    yield _data("png-deep.png", USED | HURT | MEMORY, partial(png, 5900, 5900, 5900, depth=16, colour=6))
    profile = b"x\0\0" + zlib.compress(bytes(300 << 20), 9)
    yield _data("png-profile.png", USED | HURT | MEMORY, lambda: png(32, 32, 32, (b"iCCP", profile)))
    text = b"x\0\0" + zlib.compress(bytes(200 << 20), 9)
    yield _data("png-text.png", USED | HURT | MEMORY, lambda: png(32, 32, 32, (b"zTXt", text)))
    yield _data("png-in.mov", LARGE | CUT, lambda: _single("mov", "png", png(16000, 16000, 1)))
    yield _data(
        "jpeg-65500.jpg", LARGE | CUT, lambda: _jpeg_size(still("mjpeg", "yuvj420p", 71), 65500, 65500)
    )
    yield _data("tiff-huge.tiff", LARGE | CUT, lambda: _tiff_size(still("tiff", "rgb24", 72), 1_000_000))
    yield _data("bmp-huge.bmp", LARGE, lambda: _bmp_size(still("bmp", "bgr24", 73), 100_000))
    yield _data("webp-huge.webp", LARGE | CUT, lambda: _webp_size())
    yield _data("black-8k.mp4", USED | MEMORY, _eight_k, USED)
    packed = ebml("6d80", ebml("6240", ebml("5034", unsigned("4254", 0))))
    bomb = zlib.compress(bytes(100 << 20), 9)
    yield _data(
        "packed.mkv",
        HURT,
        lambda: matroska(
            track(1, 1, b"V_VP8", packed, size=(64, 64)), [(1, 40 * k, bomb) for k in range(20)]
        ),
    )
    yield _data(
        "metadata.mkv",
        USED | HURT,
        lambda: (
            base("mkv")
            + ebml(
                "1254c367",
                *[
                    ebml("7373", ebml("67c8", ebml("45a3", b"k%d" % k), ebml("4487", b"v" * 100)))
                    for k in range(20_000)
                ],
            )
        ),
    )
    yield _data("rows.avi", USED | LARGE, lambda: _avi_size(base("avi"), 60000))


def _single(container: str, codec: str, data: bytes) -> bytes:
    """One packet as a video of one frame."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        output.start_encoding()
        packet = av.Packet(data)
        packet.stream, packet.pts, packet.dts, packet.duration, packet.is_keyframe = stream, 0, 0, 512, True
        packet.time_base = stream.time_base
        output.mux(packet)
    return file.getvalue()


def _eight_k() -> bytes:
    """The largest pictures that are allowed, black, with as many of them kept for reference as the codec knows."""
    import numpy as np

    black = np.zeros((4320, 8192, 3), np.uint8)
    black[::64, ::64] = 200
    settings = {"x264-params": "ref=16:bframes=0:threads=1:rc-lookahead=0:sync-lookahead=0", "qp": "40"}
    return film(seed=0, frames=10, fps=10, size=(8192, 4320), options=settings, draw=lambda _: black)


def _jpeg_size(data: bytes, width: int, height: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def _bmp_size(data: bytes, side: int) -> bytes:
    return data[:18] + struct.pack("<ii", side, side) + data[26:]


def _tiff_size(data: bytes, side: int) -> bytes:
    """The width (tag 256) and height (257) of its first directory."""
    out = bytearray(data)
    place = struct.unpack_from("<I", out, 4)[0]
    for entry in range(struct.unpack_from("<H", out, place)[0]):
        at = place + 2 + 12 * entry
        if struct.unpack_from("<H", out, at)[0] in (256, 257):
            struct.pack_into("<HII", out, at + 2, 4, 1, side)
    return bytes(out)


def _webp_size() -> bytes:
    """A lossy WebP whose frame header says 16383 x 16383."""
    data = still("libwebp", "yuv420p", 74)
    place = data.index(b"\x9d\x01\x2a") + 3
    return data[:place] + struct.pack("<HH", 16383, 16383) + data[place + 4 :]


def _avi_size(data: bytes, side: int) -> bytes:
    place = data.index(b"strf") + 12
    return data[:place] + struct.pack("<II", side, side) + data[place + 8 :]


def clocks() -> Iterator[Entry]:
    mp4 = base("mp4")
    years = 34 * 365 * 86_400_000
    yield _data(
        "34-years.mkv",
        CLOCK | LARGE,
        partial(film, seed=80, frames=2, stamps_ms=[0, years], container="matroska"),
    )
    yield _data("34-years.mp4", USED | CLOCK | LARGE, lambda: number(mp4, b"mdhd", 12, 1))
    yield _data("timescale-0.mp4", USED | HURT, lambda: number(mp4, b"mdhd", 12, 0))
    yield _data("movie-scale-0.mp4", USED | HURT, lambda: number(mp4, b"mvhd", 12, 0))
    yield _data("timescale-max.mp4", CLOCK | HURT, lambda: number(mp4, b"mdhd", 12, 2**31 - 1))
    yield _data(
        "all-equal.mp4",
        CLOCK | CUT,
        lambda: number(base("fast.mp4"), b"stts", 12, 0).replace(b"ctts", b"free"),
    )
    yield _data("all-equal.mkv", CLOCK, lambda: retimed(base("mkv"), lambda k: 0))
    yield _data("backward.mkv", CLOCK, lambda: retimed(base("mkv"), lambda k: 2000 - 40 * k))
    yield _data(
        "jumps.mkv", USED | CLOCK | {"decode_error"}, lambda: retimed(base("mkv"), lambda k: 40 * (k ^ 5))
    )
    yield _data("delta-max.mp4", CLOCK | LARGE, lambda: number(mp4, b"stts", 12, 2**31 - 1))
    yield _data("delta-negative.mp4", USED | HURT, lambda: number(mp4, b"stts", 12, 2**32 - 1))
    yield _data("2000-fps.mp4", CLOCK, partial(film, seed=81, frames=40, fps=2000))


def retimed(data: bytes, clock: Callable[[int], int]) -> bytes:
    """Matroska whose kth block has the timestamp clock(k), in ms from the cluster's."""
    out, place, count = bytearray(data), data.index(b"\x1f\x43\xb6\x75"), 0
    while (place := data.find(b"\xa3", place + 1)) >= 0:
        used = 9 - data[place + 1].bit_length() if data[place + 1] else 9
        at = place + 1 + used
        if used <= 4 and data[at : at + 1] == b"\x81" and data[at + 3 : at + 4] in (b"\x80", b"\0"):
            out[at + 1 : at + 3] = struct.pack(">h", clock(count))
            count += 1
    return bytes(out)


def cuts() -> Iterator[Entry]:
    for container in ("fast.mp4", "mp4", "mkv", "webm", "avi", "flv"):
        for share in (0.02, 0.3, 0.6, 0.95):
            data = base(container)
            ends = CUT if container not in ("flv", "avi") else HURT
            yield _data(f"cut-{share}-{container}", ends, partial(_start, data, share))
    for container in ("frag.mp4", "ts", "mpg"):  # these say nowhere how long they are
        data = base(container)
        yield _data(f"cut-0.6-{container}", USED | HURT, partial(_start, data, 0.6), USED | HURT)
    mkv = base("mkv")
    yield _data(
        "hole.mkv",
        USED | HURT,
        lambda: mkv[: len(mkv) // 2] + bytes(3000) + mkv[len(mkv) // 2 + 3000 :],
        USED | HURT,
    )
    yield _data("headless.mkv", HURT, lambda: mkv[200:])


def _start(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def flips() -> Iterator[Entry]:
    for container in BASES:
        data = base(container)
        yield _data(f"flip-{container}", USED | HURT, partial(flipped, data, 5, 60, (0.2, 0.8)), USED | HURT)
    yield _data(
        "flip-head-fast.mp4", USED | HURT, partial(flipped, base("fast.mp4"), 6, 20, (0.0, 0.1)), USED | HURT
    )


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    print(f"{len(write(folder, entries()))} entries in {folder}")


if __name__ == "__main__":
    main()
