from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from filters.detectors.ocr import Line, PaddleEngine, Wanted, load_paddle, models_sha256
from filters.text import Text
from pipeline.weights import MissingWeight


@pytest.fixture(scope="module")
def engine():
    return Text().load()


def dark():
    return np.full((360, 640, 3), 60, np.uint8)


def corners(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def test_rendered_text_is_read_where_it_is(studio, engine):
    image = dark()
    left, top, right, bottom = studio.write(image, "RUSHES 2031", (120, 200), 2.0, 4)
    row = Text().measure(engine, studio.clip(1), studio.batch([image]))
    assert json.loads(row["text"]) == ["RUSHES 2031"]
    assert row["text_area_ratio"] == pytest.approx((right - left) * (bottom - top) / (640 * 360), rel=0.35)
    (found,) = row["text_boxes"]
    places = [found[name] for name in ("x0", "y0", "x1", "y1")]
    assert places == pytest.approx([left / 640, top / 360, right / 640, bottom / 360], abs=0.04)
    assert row["text_engine"].startswith("rapidocr/")


def test_a_small_subtitle_on_texture_is_read(studio, engine):
    image = (studio.colour(640, 360) // 4).astype(np.uint8)
    studio.write(image, "where are you going", (180, 335), 0.7, 2)
    row = Text().measure(engine, studio.clip(1), studio.batch([image]))
    assert json.loads(row["text"]) == ["where are you going"]
    assert 0.01 < row["text_area_ratio"] < 0.05


def test_pictures_without_text_have_none(studio, engine):
    images = [studio.colour(640, 360), studio.face(), dark(), studio.colour(640, 360, 3)]
    for image in images:
        row = Text().measure(engine, studio.clip(1), studio.batch([image]))
        assert (row["text_area_ratio"], row["text_box_count"], row["text"]) == (0, 0, "[]")


def test_mean_and_maximum_over_frames(studio, engine):
    written = dark()
    studio.write(written, "INTERMISSION", (80, 200), 2.0, 4)
    row = Text().measure(engine, studio.clip(8), studio.batch([dark()] * 4 + [written] * 4))
    assert row["text_frames"] == [48, 144]
    assert row["text_area_mean_ratio"] == pytest.approx(row["text_area_ratio"] / 2)
    assert {found["frame"] for found in row["text_boxes"]} == {144}


@dataclass
class Fake:
    lines: list[Line]
    asked: list[Wanted] = field(default_factory=list)
    label: str = "fake/1"

    def read(self, image, wanted):
        self.asked.append(wanted)
        return self.lines


def test_boxes_that_are_left_unread_count_as_much_as_those_that_were_read(studio):
    """Half of what was read is text, so half of the rest is taken for it."""
    read = [Line(corners(0, 0, 64, 36), "words", 0.9), Line(corners(0, 40, 64, 76), "noise", 0.1)]
    unread = [Line(corners(64 * i, 100, 64 * i + 64, 136), None, 0.0) for i in range(4)]
    row = Text().measure(Fake(read + unread), studio.clip(1), studio.batch([dark()]))
    assert row["text_area_ratio"] == pytest.approx(0.01 + 4 * 0.01 / 2)
    assert row["text_box_count"] == 1


def test_a_screen_full_of_lines_covers_more_than_the_lines_that_are_read(studio, engine):
    image = dark()
    boxes = [studio.write(image, f"line number {i} of twenty", (20, 16 + 17 * i), 0.5, 1) for i in range(20)]
    truth = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) / (640 * 360)
    row = Text().measure(engine, studio.clip(1), studio.batch([image]))
    assert row["text_box_count"] == Text().most_lines
    assert row["text_area_ratio"] == pytest.approx(truth, rel=0.35)


def test_single_letters_and_doubtful_lines_do_not_count(studio):
    good = Line(corners(64, 36, 128, 72), " two words ", 0.9)
    lines = [good, Line(corners(0, 0, 300, 300), "O", 0.99), Line(corners(0, 0, 300, 300), "doubt", 0.49)]
    fake = Fake(lines)
    row = Text().measure(fake, studio.clip(1), studio.batch([dark()]))
    assert json.loads(row["text"]) == ["two words"]
    assert row["text_area_ratio"] == pytest.approx(0.01)
    assert row["text_engine"] == "fake/1"
    assert fake.asked == [Wanted(7.2, 180, 8)]


def test_too_small_too_tall_and_too_many_boxes_are_not_read():
    boxes = [corners(0, 0, 100, 5), corners(0, 0, 640, 300), *(corners(0, 0, 100 + i, 10) for i in range(4))]
    assert Wanted(7, 180, 3).of(boxes) == ([3, 4, 5], [2])
    assert Wanted(7, 180, 9).of([corners(0, 0, 12, 200)]) == ([0], [])  # a vertical line


def test_the_paddle_engine_reads_through_the_same_stage(studio):
    seen = []

    def predict(image):
        seen.append(image)
        return [
            {
                "rec_polys": [corners(64, 36, 128, 72).astype(np.int16), corners(0, 0, 100, 4)],
                "rec_texts": ["你好世界", "tiny"],
                "rec_scores": [0.97, 0.99],
            }
        ]

    image = dark()
    image[..., 0] = 10
    row = Text(engine="paddle").measure(
        PaddleEngine(predict, "paddleocr/3"), studio.clip(1), studio.batch([image])
    )
    assert json.loads(row["text"]) == ["你好世界"]
    assert row["text_engine"] == "paddleocr/3"
    assert seen[0][0, 0].tolist() == [60, 60, 10]  # BGR


def test_paddle_without_its_models_says_where_to_put_them(tmp_path):
    with pytest.raises(MissingWeight, match=r"no PaddleOCR model in .*det: put"):
        load_paddle(tmp_path)


def test_other_paddle_models_are_another_fingerprint(tmp_path):
    for name in ("det", "rec"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "inference.yml").write_text("Global: {}\n")
    stage = Text(engine="paddle", paddle_models=str(tmp_path))
    first = stage.fingerprint({})
    assert stage.settings()["paddle_sha256"] == models_sha256(tmp_path)
    (tmp_path / "det" / "inference.pdiparams").write_bytes(b"other weights")
    assert stage.fingerprint({}) != first
    assert Text().fingerprint({}) != first
