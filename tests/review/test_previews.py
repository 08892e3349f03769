"""Previews: every frame of the clip at its time, stills from around it, faults where they are planted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.frames import Decoder
from pipeline.reasons import MediaError, Reason
from pipeline.sources import Fetcher
from review.footage import Footage, Order
from review.plan import Plant
from review.previews import Studio, read_about


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as reader:
        yield reader


@pytest.fixture
def studio(decoder: Decoder, tmp_path: Path) -> Iterator[Studio]:
    fetcher = Fetcher()
    yield Studio(decoder, fetcher, tmp_path / "previews")
    fetcher.close()


def row(make_video: Any, decoder: Decoder, path: Path, **how: Any) -> dict[str, Any]:
    """The VIDEOS row of a new video."""
    from pipeline.clip import video_id
    from pipeline.sources import digest_of

    made = make_video(path, **how)
    return {"video_id": video_id(digest_of(str(made))[0]), "path": str(made)} | decoder.probe(str(made))


def frames(path: Path) -> tuple[list[np.ndarray], list[float], float]:
    """The pictures of a file, their times and its length."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        length = float(stream.duration * stream.time_base)
        found = [
            (frame.to_ndarray(format="rgb24"), float(frame.pts * frame.time_base))
            for frame in file.decode(stream)
        ]
    return [picture for picture, _ in found], [time for _, time in found], length


def order_of(studio: Studio, order: Order) -> Path:
    studio.preview(order)
    return studio.folder / order.key


def test_every_frame_of_a_variable_rate_is_there_at_its_time(
    studio: Studio, decoder: Decoder, make_video: Any, barcode: Any, tmp_path: Path
) -> None:
    steps = [0, 40, 60, 130, 150, 300, 320, 340, 420, 440, 500, 540]
    video = row(make_video, decoder, tmp_path / "a.mp4", frames=12, fps=25, vfr_pts=steps, size=(320, 256))
    about = studio.preview(Order(Footage(video, 2, 11)))
    pictures, times, length = frames(studio.folder / Order(Footage(video, 2, 11)).key / "clip.mp4")
    assert [barcode.read(picture) for picture in pictures] == list(range(2, 11))
    wanted = [(step - 60) / 1000 for step in steps[2:]]
    assert times == pytest.approx(wanted[:-1], abs=1e-4)
    assert about.times_s == pytest.approx(wanted, abs=1e-4)
    assert length == pytest.approx(wanted[-1], abs=1e-3)


def test_a_preview_starts_at_once_and_is_h264_of_half_the_size(
    studio: Studio, decoder: Decoder, make_video: Any, tmp_path: Path
) -> None:
    video = row(make_video, decoder, tmp_path / "a.mp4", frames=6, fps=10, size=(1282, 722), codec="mpeg4")
    about = studio.preview(Order(Footage(video, 0, 6)))
    path = studio.folder / Order(Footage(video, 0, 6)).key / "clip.mp4"
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (about.width, about.height) == (852, 480)
        assert all(packet.pts == packet.dts for packet in file.demux(stream) if packet.pts is not None)


def test_the_stills_are_the_frames_that_they_say(
    studio: Studio, decoder: Decoder, make_video: Any, barcode: Any, tmp_path: Path
) -> None:
    video = row(make_video, decoder, tmp_path / "a.mp4", frames=40, fps=20, size=(320, 256))
    order = Order(Footage(video, 10, 21, before=4, after=33))
    folder = order_of(studio, order)
    about = read_about(folder)
    assert about is not None
    wanted = {
        "shot_before": 4,
        "frame_before": 9,
        "first": 10,
        "middle": 15,
        "last": 20,
        "frame_after": 21,
        "shot_after": 33,
    }
    assert [still.where for still in about.stills] == list(wanted)
    shown = [cv2.cvtColor(cv2.imread(str(folder / still.file)), cv2.COLOR_BGR2RGB) for still in about.stills]
    assert {picture.shape for picture in shown} == {(180, 225, 3)}
    assert [barcode.read(picture) for picture in shown] == list(wanted.values())
    assert [still.time_s for still in about.stills] == pytest.approx([(n - 10) / 20 for n in wanted.values()])


def test_a_whole_video_has_nothing_around_it_and_one_frame_is_a_picture(
    studio: Studio, decoder: Decoder, make_video: Any, tmp_path: Path
) -> None:
    video = row(make_video, decoder, tmp_path / "a.mp4", frames=3, fps=20, size=(161, 97), pix_fmt="yuv444p")
    whole, one = studio.preview(Order(Footage(video, 0, 3))), studio.preview(Order(Footage(video, 1, 2)))
    assert [still.where for still in whole.stills] == ["first", "middle", "last"]
    assert (whole.file, whole.width, whole.height) == ("clip.mp4", 160, 96)
    assert (one.file, one.width, one.height, one.times_s) == ("clip.png", 161, 97, (0.0, 0.05))
    assert [still.where for still in one.stills] == ["frame_before", "first", "frame_after"]


def test_a_known_preview_is_not_made_again_and_a_damaged_one_is(
    studio: Studio, decoder: Decoder, make_video: Any, tmp_path: Path
) -> None:
    video = row(make_video, decoder, tmp_path / "a.mp4", frames=3, fps=20)
    order = Order(Footage(video, 0, 3))
    folder = order_of(studio, order)
    first = (folder / "clip.mp4").stat().st_mtime_ns
    studio.preview(order)
    assert (folder / "clip.mp4").stat().st_mtime_ns == first
    data = (folder / "clip.mp4").read_bytes()
    for damage in (lambda: (folder / "0.jpg").unlink(), lambda: (folder / "clip.mp4").write_bytes(b"")):
        damage()
        assert read_about(folder) is None
        studio.preview(order)
        assert (folder / "clip.mp4").read_bytes() == data, "the same bytes each time"
    (folder / "about.json").write_text("{}")
    assert read_about(folder) is None
    assert [path.name for path in studio.folder.iterdir()] == [order.key], "nothing half made is left"


def test_a_source_that_is_gone_or_another_is_a_media_error(
    studio: Studio, decoder: Decoder, make_video: Any, tmp_path: Path
) -> None:
    video = row(make_video, decoder, tmp_path / "a.mp4", frames=3, fps=20)
    make_video(tmp_path / "a.mp4", frames=4, fps=20)
    with pytest.raises(MediaError) as found:
        studio.preview(Order(Footage(video, 0, 3)))
    assert found.value.reason is Reason.CHANGED
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(MediaError):
        studio.preview(Order(Footage(video, 0, 3)))
    assert list(studio.folder.iterdir()) == []


# --- planted faults


@pytest.fixture(scope="module")
def flat(
    make_video: Any, decoder: Decoder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], ...]:
    """Two videos of 40 frames at 20 fps: one gray, one green and of another size."""
    folder = tmp_path_factory.mktemp("flat")
    colours = {"gray": ((320, 256), (120, 120, 120)), "green": ((256, 320), (20, 200, 20))}
    return tuple(
        row(
            make_video,
            decoder,
            folder / f"{name}.mp4",
            frames=40,
            fps=20,
            size=size,
            draw=lambda number, size=size, colour=colour: np.full((size[1], size[0], 3), colour, np.uint8),
        )
        for name, (size, colour) in colours.items()
    )


def shown(studio: Studio, order: Order) -> np.ndarray:
    """(n, height, width, 3) of a preview."""
    return np.stack(frames(order_of(studio, order) / "clip.mp4")[0]).astype(int)


@pytest.mark.slow
def test_a_black_run_is_black_in_its_place_alone(studio: Studio, flat: Any) -> None:
    pictures = shown(studio, Order(Footage(flat[0], 0, 40), Plant("black_run", at=0.25)))
    dark = np.flatnonzero(pictures.mean(axis=(1, 2, 3)) < 10)
    assert dark.tolist() == list(range(5, 15)), "half a second around a quarter of two"
    assert abs(pictures[20:].mean() - 120) < 4


@pytest.mark.slow
def test_a_logo_is_in_one_corner_of_every_frame(studio: Studio, flat: Any) -> None:
    places = set()
    for start in range(6):
        pictures = shown(studio, Order(Footage(flat[0], start, start + 3), Plant("logo")))
        marked = np.abs(pictures - 120).max(axis=(0, 3)) > 40
        assert marked.mean() < 0.03
        assert (np.abs(pictures - pictures[0]).max(axis=(1, 2, 3)) < 60).all()
        rows, columns = np.nonzero(marked)
        places.add((rows.mean() > 128, columns.mean() > 160))
        assert rows.max() - rows.min() < 0.2 * 256
    assert len(places) > 1, "not always the same corner"


@pytest.mark.slow
def test_a_cut_inside_leads_to_the_other_clip(studio: Studio, flat: Any) -> None:
    donor = Footage(flat[1], 0, 10)  # shorter than what is left: its last frame stays
    pictures = shown(studio, Order(Footage(flat[0], 0, 40), Plant("cut_inside", "other", 0.6), donor))
    green = pictures[..., 1].mean(axis=(1, 2)) - pictures[..., 0].mean(axis=(1, 2)) > 100
    assert np.flatnonzero(green).tolist() == list(range(24, 40))
    order = Order(Footage(flat[0], 0, 40), Plant("cut_inside", "other", 0.6), donor)
    last = cv2.imread(str(studio.folder / order.key / "2.jpg"))
    assert last[..., 1].mean() - last[..., 0].mean() > 100, "the stills show what the clip shows"


def test_a_wrong_caption_changes_no_picture_and_no_name(flat: Any) -> None:
    plain, planted = (
        Order(Footage(flat[0], 0, 40)),
        Order(Footage(flat[0], 0, 40), Plant("wrong_caption", "x")),
    )
    assert plain.key == planted.key
    others = [Order(Footage(flat[0], 0, 40), Plant("logo")), Order(Footage(flat[0], 0, 39))]
    others += [Order(Footage(flat[0], 0, 40), Plant("black_run", at=at)) for at in (0.3, 0.4)]
    assert len({plain.key, *(order.key for order in others)}) == 5
    assert len(plain.key) == 20
