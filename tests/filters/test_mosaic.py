from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.mosaic import Mosaic


def pixelate(image, cell, corners=None, phase=0):
    """Cells of their mean colour inside (left, top, right, bottom), the first ones cut by `phase` pixels."""
    left, top, right, bottom = corners or (0, 0, image.shape[1], image.shape[0])
    result = image.copy()
    for y in range(top - phase, bottom, cell):
        for x in range(left - phase, right, cell):
            own = slice(max(top, y), min(bottom, y + cell)), slice(max(left, x), min(right, x + cell))
            if result[own].size:
                result[own] = image[own].mean(axis=(0, 1))
    return result


def coded(image, quality=85):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def measure(studio, images, width=1920, height=1080):
    stage = Mosaic()
    return stage.measure(stage.load(), studio.clip(len(images), width, height), studio.batch(images))


NONE = {"mosaic_ratio": 0.0, "mosaic_frame_ratio": 0.0, "mosaic_cell_px": None, "mosaic_boxes": []}


@pytest.fixture(scope="module")
def scene(studio):
    return studio.colour(640, 360, 3)


@pytest.mark.parametrize(("cell", "phase"), [(4, 1), (5, 3), (8, 0), (8, 5), (13, 7), (20, 11), (36, 17)])
def test_a_whole_picture_of_cells(studio, scene, cell, phase):
    row = measure(studio, [coded(pixelate(scene, cell, phase=phase))])
    assert row["mosaic_ratio"] > 0.9
    assert row["mosaic_cell_px"] == pytest.approx(3 * cell, rel=0.05)


@pytest.mark.parametrize(("cell", "side"), [(6, 110), (8, 110), (12, 140), (20, 200)])
def test_a_pixelated_region_is_found_where_it_is(studio, scene, cell, side):
    left, top = 301, 97
    corners = left, top, left + side, top + side
    row = measure(
        studio, [scene, coded(pixelate(scene, cell, corners)), coded(pixelate(scene, cell, corners))]
    )
    assert row["mosaic_frame_ratio"] == pytest.approx(2 / 3)
    assert row["mosaic_ratio"] == pytest.approx(side * side / 640 / 360, rel=0.6)
    assert row["mosaic_cell_px"] == pytest.approx(3 * cell, rel=0.08)
    boxes = row["mosaic_boxes"]
    assert {box["frame"] for box in boxes} == {24, 48}
    for box in boxes:
        assert box["x0"] * 640 >= left - 40
        assert box["x1"] * 640 <= left + side + 40
        assert box["y0"] * 360 >= top - 40
        assert box["y1"] * 360 <= top + side + 40


@pytest.mark.slow
def test_a_mosaic_survives_h264(studio, scene, make_video, tmp_path):
    import av

    cells = pixelate(cv2.resize(scene, (1280, 720)), 24, phase=9)
    make_video(tmp_path / "a.mp4", frames=3, size=(1280, 720), options={"crf": "28"}, draw=lambda _: cells)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    shown = [cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA) for frame in frames]
    row = measure(studio, shown, 1280, 720)
    assert row["mosaic_ratio"] > 0.9
    assert row["mosaic_frame_ratio"] == 1
    assert row["mosaic_cell_px"] == pytest.approx(24, rel=0.03)


def tiles(studio, cell, joint):
    """Tiles of the texture's colours with dark joints."""
    image = pixelate(studio.colour(640, 360, 5), cell)
    for at in range(joint):
        image[at::cell] = image[:, at::cell] = 40
    return image


def checks(cell):
    y, x = np.indices((360, 640)) // cell
    return np.where((x + y) % 2, 60, 190)[..., None].repeat(3, axis=2).astype(np.uint8)


def windows(studio):
    """Dark windows in a wall."""
    image = studio.colour(640, 360, 6) // 4 + 150
    for y in range(10, 350, 24):
        for x in range(10, 630, 24):
            image[y : y + 12, x : x + 12] = 40
    return image


@pytest.mark.parametrize("kind", ["scene", "tiles", "checks", "windows", "blocks", "noise", "plain", "edges"])
@pytest.mark.slow
def test_what_is_no_mosaic(studio, scene, kind):
    edges = np.full((360, 640, 3), 60, np.uint8)
    edges[100:250, 180:400] = 180
    pictures = {
        "scene": scene,
        "tiles": tiles(studio, 16, 2),
        "checks": checks(12),
        "windows": windows(studio),
        "blocks": coded(scene, 15),
        "noise": np.random.default_rng(0).integers(0, 255, (360, 640, 3), dtype=np.uint8),
        "plain": np.full((360, 640, 3), 128, np.uint8),
        "edges": edges,
    }
    assert measure(studio, [coded(pictures[kind])]) == NONE


def test_portrait_gray_and_pictures_too_small_for_a_window(studio):
    tall = studio.texture(360, 640, 7)[..., None].repeat(3, axis=2)
    row = measure(studio, [coded(pixelate(tall, 9))], 1080, 1920)
    assert row["mosaic_ratio"] > 0.8
    assert row["mosaic_cell_px"] == pytest.approx(27, rel=0.05)
    assert measure(studio, [pixelate(tall[:16, :16], 4)], 16, 16) == NONE
