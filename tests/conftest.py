"""Media that tests make for themselves, and small runs over them.

Frames are numbered with bars that survive lossy coding, in any container. A small run has tiny videos with texture,
few stages and one pool, and takes seconds.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from benchmarks.hostile.films import ordinary_thread

if TYPE_CHECKING:
    from jobs.account import Account
    from jobs.config import Config
    from jobs.run import Run
    from pipeline.runner import Pool
    from pipeline.store import Store

# How long an example takes depends on the machine and what else it does: no test is about that.
settings.register_profile("rushes", deadline=None)
settings.load_profile("rushes")

Picture = npt.NDArray[np.uint8]
BITS = 16
DARK, LIGHT = 48, 208
SMPTE170M = 6
"""ITU-T H.273, MatrixCoefficients."""
ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "h264": {"preset": "ultrafast", "crf": "14"},
    "hevc": {"preset": "ultrafast", "crf": "14"},
    "vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
    "av1": {"preset": "10", "crf": "10"},
    "mpeg4": {"qscale": "3"},
    "mpeg2video": {"qscale": "3"},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--promises-record",
        type=Path,
        metavar="FILE",
        help="append each promise's measured figure to this file, one JSON object a line",
    )


@dataclass(frozen=True)
class Barcode:
    """Pictures that carry their number as 16 light or dark columns, and the reader of such pictures."""

    def draw(self, number: int, width: int, height: int) -> Picture:
        """(height, width, 3) RGB showing `number` (0..65535), highest bit at the left."""
        bits = (number >> np.arange(BITS - 1, -1, -1)) & 1
        columns = bits[np.arange(width) * BITS // width]
        row = np.where(columns == 1, LIGHT, DARK).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))

    def read(self, picture: Picture) -> int:
        """The number in a picture of any size, (h, w, 3) or (h, w)."""
        gray = picture.mean(axis=2) if picture.ndim == 3 else picture
        centres = ((np.arange(BITS) + 0.5) * gray.shape[1] / BITS).astype(int)
        middle = gray[gray.shape[0] // 4 : max(gray.shape[0] * 3 // 4, 1)].mean(axis=0)
        bits = middle[centres] > (DARK + LIGHT) / 2
        return int((bits * (1 << np.arange(BITS - 1, -1, -1))).sum())


@pytest.fixture(scope="session")
def barcode() -> Barcode:
    return Barcode()


def video(
    path: Path,
    *,
    frames: int = 24,
    fps: int | Fraction = 24,
    size: tuple[int, int] = (160, 96),
    codec: str = "h264",
    bframes: int = 0,
    gop: int = 12,
    vfr_pts: Sequence[int] | None = None,
    rotation: int = 0,
    sar: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    audio: bool = False,
    options: Mapping[str, str] | None = None,
    draw: Callable[[int], Picture] | None = None,
    container: str | None = None,
) -> Path:
    """Writes a video and returns its path; every frame shows its number unless `draw` says otherwise.

    `size` is (width, height) as coded. `vfr_pts` are milliseconds, one a frame. `rotation` is the clockwise turn in
    degrees that shows it upright. `container` names the muxer when the suffix does not. `audio` adds a 440 Hz tone.
    """
    import av

    width, height = size
    paint = draw or (lambda number: Barcode().draw(number, width, height))
    rate = Fraction(fps)
    with ordinary_thread(), av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(ENCODERS.get(codec, codec), rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        if codec in ("h264", "hevc", "mpeg4", "mpeg2video"):
            stream.codec_context.max_b_frames = bframes
        time_base = Fraction(1, 1000) if vfr_pts is not None else 1 / rate
        stream.codec_context.time_base = time_base
        chosen: dict[str, str] = {**OPTIONS.get(codec, {}), **(options or {})}
        if codec == "hevc":
            chosen["x265-params"] = ":".join(
                filter(None, ["log-level=none:pools=none", chosen.get("x265-params")])
            )
        stream.options = chosen
        if pix_fmt.startswith("yuv"):
            stream.codec_context.colorspace = SMPTE170M
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation:
            stream.set_display_rotation(-rotation)
        sound = output.add_stream("aac", rate=48000, layout="mono") if audio else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace="ITU601", threads=1)
            frame.time_base = time_base
            frame.pts = vfr_pts[number] if vfr_pts is not None else number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            seconds = float((vfr_pts[-1] / 1000) if vfr_pts is not None else frames / rate)
            _write_tone(output, sound, seconds)
    return path


def _write_tone(output: Any, stream: Any, seconds: float) -> None:
    import av

    samples = np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48000)) / 48000).astype(np.float32) * 0.5
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """The function `video`: make_video(path, frames=24, fps=24, size=(160, 96), codec="h264", ...) -> Path."""
    return video


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray of this machine's own with two CPUs, for the whole session."""
    from pipeline.cluster import connect, disconnect

    with warnings.catch_warnings():
        # Ray leaves a socket open when its usual port is taken.
        warnings.simplefilter("ignore", ResourceWarning)
        connect(None, 2)
    yield
    disconnect()


RECIPE = """
about = "Anything that is not black"
[keep]
duplicate_rank = { max = 0 }
[keep.video]
black_ratio = { max = 0.5 }
[shard]
resolution = "256p"
frame_counts = [1, 17]
fps = [16]
max_upscale_ratio = 1.5
"""
NOT_COMPARED = ("timings", "report.html", ".lock", ".tmp-files")


def texture(seed: int, width: int = 320, height: int = 256) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Pictures of one shot: a coloured pattern of its own that moves a little from frame to frame."""
    coarse = np.random.default_rng(seed).integers(30, 226, (height // 16, width // 16 + 8, 3), dtype=np.uint8)
    whole = coarse.repeat(16, axis=0).repeat(16, axis=1)

    def draw(number: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(whole[:, number % 64 : number % 64 + width])

    return draw


def shots(*lengths_and_seeds: tuple[int, int]) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Several shots on end: (frames, seed) each."""
    pictures = [(length, texture(seed)) for length, seed in lengths_and_seeds]

    def draw(number: int) -> npt.NDArray[np.uint8]:
        for length, picture in pictures:
            if number < length:
                return picture(number)
            number -= length
        raise IndexError(number)

    return draw


@dataclass(frozen=True)
class Small:
    """Runs over a folder of tiny media, in process unless told otherwise."""

    media: Path
    recipe: Path
    said: list[StringIO] = field(default_factory=list)

    def config(self, **changes: object) -> Config:
        from jobs.config import Config

        plain = {
            "sources": [str(self.media)],
            "stages": ["black"],
            "precision": "fp32",
            "recipes": [str(self.recipe)],
            "segment": {"min_clip_s": 0.7, "max_clip_s": 3.0},
            "shard": {"pools": ["tiny"], "rows": 2, "preset": "ultrafast"},
            "max_failed": {"videos": 100, "clips": 100},
        }
        return Config.model_validate(plain | changes)

    def run(self, out: Path, pool: Pool | None = None, store: Store | None = None, **changes: object) -> Run:
        from jobs import chain
        from jobs.progress import Progress
        from jobs.run import Run
        from pipeline.runner import Pool
        from pipeline.store import Store

        stream = StringIO()
        self.said.append(stream)
        found = self.config(**changes)
        chain.check(found)
        return Run(store or Store(str(out)), found, pool or Pool(), Progress(stream))

    def done(self, out: Path, pool: Pool | None = None, **changes: object) -> Run:
        """The whole chain, held as the command holds it."""
        from jobs import chain
        from jobs.config import dump

        made = self.run(out, pool, **changes)
        with made.store.locked():
            made.store.put_text("run.toml", dump(made.config))
            chain.everything(made)
        return made

    def account(self, out: Path, **changes: object) -> Account:
        from jobs import chain

        return chain.account_of(self.run(out, **changes))


def digests(out: Path) -> dict[str, str]:
    """The sha256 of every file of a run but timings and the report that shows them."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in NOT_COMPARED
    }


@pytest.fixture(scope="session")
def digests_of() -> Callable[[Path], dict[str, str]]:
    return digests


@pytest.fixture(scope="session")
def shots_of() -> Callable[..., Callable[[int], npt.NDArray[np.uint8]]]:
    return shots


@pytest.fixture(scope="session")
def _tiny_media(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Three videos (one with a cut, one black), a picture, a copy, and a file that is no video."""
    import cv2

    folder = tmp_path_factory.mktemp("tiny") / "media"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=40, fps=20, size=(320, 256), draw=texture(1), audio=True)
    make_video(folder / "b.mp4", frames=60, fps=20, size=(320, 256), draw=shots((30, 2), (30, 3)))
    make_video(
        folder / "black.mp4",
        frames=24,
        fps=20,
        size=(320, 256),
        draw=lambda number: np.zeros((256, 320, 3), np.uint8),
    )
    cv2.imwrite(str(folder / "c.png"), texture(4)(0))
    shutil.copyfile(folder / "a.mp4", folder / "z-copy.mp4")
    (folder / "notes.mp4").write_text("this is no video")
    return folder


@pytest.fixture
def small(_tiny_media: Path, tmp_path: Path) -> Small:
    """A folder of media of its own, and what runs over it."""
    media = tmp_path / "media"
    shutil.copytree(_tiny_media, media)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    return Small(media, recipe)


@pytest.fixture(scope="session")
def whole(_tiny_media: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, Path]:
    """A run that was done once without any disturbance; to be read, not changed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(RECIPE)
    made = Small(_tiny_media, folder / "tiny.toml")
    made.done(folder / "run")
    return made, folder / "run"


def _field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer: a varint, or text, bytes or a message with its length."""

    def varint(rest: int) -> bytes:
        return bytes([rest & 127 | 128]) + varint(rest >> 7) if rest > 127 else bytes([rest])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    plain = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(plain)) + plain


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """An ONNX ValueInfoProto of floats; a dimension that is a text is free."""
    dims = b"".join(_field(1, _field(1, d) if isinstance(d, int) else _field(2, d)) for d in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def onnx_mean(shape: Sequence[int | str], *after: str) -> bytes:
    """An ONNX model (opset 13): the mean over all dimensions but the first, then the operators of `after` in turn."""
    axes = b"".join(_field(8, axis) for axis in range(1, len(shape)))
    attributes = [
        _field(1, "axes") + axes + _field(20, 7),
        _field(1, "keepdims") + _field(3, 0) + _field(20, 2),
    ]
    mean = (
        _field(1, "x")
        + _field(2, "y0")
        + _field(4, "ReduceMean")
        + b"".join(_field(5, a) for a in attributes)
    )
    nodes = [mean]
    nodes += [_field(1, f"y{i}") + _field(2, f"y{i + 1}") + _field(4, name) for i, name in enumerate(after)]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "mean")
    graph += _field(11, _value("x", shape)) + _field(12, _value(f"y{len(after)}", shape[:1]))
    return _field(1, 8) + _field(8, _field(2, 13)) + _field(7, graph)


PAGE = """
label = "mean"
layout = "{layout}"
frames = {frames}
side_px = {side_px}
mean = [0, 0, 0]
std = [255, 255, 255]
"""


@dataclass(frozen=True)
class OnnxScorers:
    """Makes folders for the engine `onnx` whose network gives the mean level of what it is shown, 0 to 1."""

    def write(
        self, folder: Path, layout: str = "NCHW", frames: int = 1, side_px: int = 16, *after: str
    ) -> Path:
        """`after` are operators that follow the mean: "Log" gives no number for a black picture."""
        sides: dict[str, int | str] = {"N": "n", "C": 3, "T": frames, "H": side_px, "W": side_px}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(onnx_mean([sides[axis] for axis in layout], *after))
        page = PAGE.format(layout=layout, frames=frames, side_px=side_px)
        (folder / "scorer.toml").write_text(page)
        return folder

    def model(self, shape: Sequence[int | str], *after: str) -> bytes:
        """The network alone, for any shape of its input."""
        return onnx_mean(shape, *after)


@pytest.fixture(scope="session")
def onnx_scorers() -> OnnxScorers:
    return OnnxScorers()


@dataclass(frozen=True)
class Reply:
    """What a chat server does with one request: a body (of a completion around `text` by default), or a misdeed."""

    text: str = "{}"
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    finish: str = "stop"
    delay_s: float = 0.0
    cut: bool = False
    """Half of the body, then the end."""
    drip_s: float = 0.0
    """Between one byte and the next."""
    request_id: str | None = None
    """In place of the one that was asked with."""


@dataclass(frozen=True)
class Asked:
    """One request that a chat server got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass
class ChatServer:
    """An OpenAI-compatible server of this process, on a port of its own: it does what `reply` says."""

    reply: Callable[[Asked], Reply] = lambda asked: Reply()
    asked: list[Asked] = field(default_factory=list)
    models: tuple[str, ...] = ("tiny",)
    url: str = ""
    at_work: int = 0
    most: int = 0
    """As many requests as it was at together."""

    def _do(self, handler: Any) -> None:
        import json

        size = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(size)) if size else {}
        asked = Asked(handler.command, handler.path, dict(handler.headers), body)
        with self._lock:
            self.asked.append(asked)
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        try:
            listing = asked.path == "/v1/models"
            reply = (
                Reply(body=json.dumps({"data": [{"id": m} for m in self.models]}).encode())
                if listing
                else None
            )
            self._send(handler, asked, reply or self.reply(asked))
        finally:
            with self._lock:
                self.at_work -= 1

    def _send(self, handler: Any, asked: Asked, reply: Reply) -> None:
        import json

        self._stop.wait(reply.delay_s)
        choice = {"message": {"role": "assistant", "content": reply.text}, "finish_reason": reply.finish}
        number = reply.request_id or asked.headers.get("X-Request-Id", "")
        usage = {"prompt_tokens": 70, "completion_tokens": 30}
        plain = {"id": f"chatcmpl-{number}", "choices": [choice], "usage": usage}
        body = json.dumps(plain).encode() if reply.body is None else reply.body
        with suppress(OSError):  # the other side may have gone
            handler.send_response(reply.status)
            for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            if reply.cut:
                handler.wfile.write(body[: len(body) // 2])
                handler.close_connection = True
            elif reply.drip_s:
                for place in range(len(body)):
                    handler.wfile.write(body[place : place + 1])
                    if self._stop.wait(reply.drip_s):
                        break
            else:
                handler.wfile.write(body)

    def __post_init__(self) -> None:
        import threading

        self._lock = threading.Lock()
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                server._do(self)

            def do_POST(self) -> None:
                server._do(self)

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:
                """A connection that the other side left is no fault here."""

        with Quiet(("127.0.0.1", 0), Handler) as http:
            self.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
            thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._stop.set()
                http.shutdown()
                thread.join()


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A chat server at work; set its `reply`, whose answers are `chat_reply(...)`."""
    with ChatServer().running() as server:
        yield server


@pytest.fixture(scope="session")
def chat_reply() -> Callable[..., Reply]:
    return Reply
