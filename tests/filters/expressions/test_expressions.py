"""The square around a face, the packaged network, and networks that the user brings."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from filters.emotions import Emotions
from filters.expressions.crop import face_square
from filters.expressions.exported import load_expressions
from filters.expressions.fer import EMOTIONS, FerEngine
from filters.scorers.checkpoint import Model
from pipeline.weights import MissingWeight, WeightError

SHA = "c0ffee00" * 8
PAGE = """
label = "columns"
labels = ["contempt", "neutral", "surprise", "sad", "happy", "fear", "disgust", "angry"]
channels = 1
side_px = 8
face_scale = 1.0
mean = 0.0
std = 255.0
softmax = false
"""


def field(number, value):
    """One field of a protocol buffer of less than 128 bytes a part."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    plain = value.encode() if isinstance(value, str) else value
    size = bytes([len(plain)]) if len(plain) < 128 else bytes([len(plain) & 127 | 128, len(plain) >> 7])
    return bytes([number << 3 | 2]) + size + plain


def network(side_px=8):
    """An ONNX model (opset 13): (1, 1, side, side) to the means of its columns, (1, side)."""

    def value(name, shape):
        dims = b"".join(field(1, field(1, size)) for size in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    axes = field(1, "axes") + field(8, 1) + field(8, 2) + bytes([20 << 3 & 127 | 128, 20 << 3 >> 7, 7])
    flat = field(1, "keepdims") + field(3, 0) + bytes([20 << 3 & 127 | 128, 20 << 3 >> 7, 2])
    mean = field(1, "x") + field(2, "y") + field(4, "ReduceMean") + field(5, axes) + field(5, flat)
    graph = field(1, mean) + field(2, "g")
    graph += field(11, value("x", (1, 1, side_px, side_px))) + field(12, value("y", (1, side_px)))
    return field(1, 8) + field(8, field(2, 13)) + field(7, graph)


def folder_of(folder, page=PAGE, model=None):
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model or network())
    (folder / "expression.toml").write_text(page)
    return folder


def face(x0=0.25, y0=0.25, x1=0.75, y1=0.75, turn_deg=0.0):
    """A face on a square picture, whose eyes lie on a line that is turned."""
    half = 0.1 * math.cos(math.radians(turn_deg)), 0.1 * math.sin(math.radians(turn_deg))
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    eyes = [x - half[0], y - half[1], x + half[0], y + half[1]]
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "landmarks": [*eyes, x, y, x, y, x, y]}


def test_the_square_is_the_faces_and_its_mean_is_kept():
    image = np.zeros((200, 200, 3), np.uint8)
    image[50:150, 50:150] = 100
    image[:, :100, 0] += 50
    square = face_square(image, face(), 32, 1.0, 0.0)
    assert square.shape == (32, 32, 3)
    assert square[2:-2, 2:-2, 1].min() == 100
    assert square[16, 4, 0] == 150
    assert square[16, -4, 0] == 100
    assert face_square(image, face(), 32, 2.0, 0.0)[..., 1].mean() == pytest.approx(25, abs=2)
    assert face_square(image, face(0.9, 0.9, 1.2, 1.2), 32, 1.0, 0.0).shape == (32, 32, 3)


def test_the_eyes_come_to_lie_on_a_level():
    image = np.zeros((200, 200, 3), np.uint8)
    for i in range(-40, 41):  # a line along the eyes
        image[round(100 + i * math.sin(math.radians(30))), round(100 + i * math.cos(math.radians(30)))] = 255
    rows = face_square(image, face(turn_deg=30), 64, 1.0, 0.0)[..., 0].sum(axis=1)
    assert rows[30:34].sum() > 0.95 * rows.sum()


def test_the_packaged_network_gives_probabilities_that_hardly_change_in_a_mirror(studio):
    detector, engine = Emotions().load()
    assert isinstance(engine, FerEngine)
    image = studio.face(scale=1.5)
    (found,) = detector.detect(image)
    told = engine.tell(image, found)
    assert told.shape == (7,)
    assert float(told.sum()) == pytest.approx(1, abs=1e-4)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    (other,) = detector.detect(mirrored)
    assert engine.tell(mirrored, other) == pytest.approx(told, abs=0.1)


def test_a_users_network_is_shown_the_face_and_its_labels_are_put_in_order(tmp_path):
    engine = load_expressions(Model(folder_of(tmp_path / "m"), SHA))
    ramp = np.repeat(np.arange(8, dtype=np.uint8) * 30, 25)
    image = np.repeat(np.repeat(ramp[None], 200, axis=0)[..., None], 3, axis=2)
    square = face_square(image, face(0, 0, 1, 1), 8, 1.0, 0.0)
    told = engine.probabilities(square)
    by_name = dict(zip(EMOTIONS, told.tolist(), strict=True))
    assert by_name["neutral"] == pytest.approx(30 / 255, abs=0.01)
    assert by_name["angry"] == pytest.approx(210 / 255, abs=0.01)
    both = engine.tell(image, face(0, 0, 1, 1))
    assert both == pytest.approx(  # its mirror image counts as much
        [(told[i] + engine.probabilities(square[:, ::-1])[i]) / 2 for i in range(7)], abs=1e-4
    )
    assert engine.label == "onnx/columns/c0ffee00"


def test_logits_become_probabilities(tmp_path):
    page = PAGE.replace("softmax = false", "")
    engine = load_expressions(Model(folder_of(tmp_path / "m", page), SHA))
    told = engine.probabilities(np.zeros((8, 8, 3), np.uint8))
    assert told == pytest.approx([1 / 8] * 7)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"happy", ', "", "labels"),
        ('"contempt"', '"happy"', "happy"),
        ("side_px = 8", "side_px = 16", "expression.toml"),
        ("std = 255.0", "std = 0.0", "std"),
        ('label = "columns"', "label = ", "not TOML"),
        ("channels = 1", "channels = 2", "channels"),
        ("channels = 1", "colour = true", "colour"),
    ],
)
def test_a_page_that_cannot_be_is_one_sentence(tmp_path, old, new, says):
    with pytest.raises(WeightError, match=says):
        load_expressions(Model(folder_of(tmp_path / "m", PAGE.replace(old, new)), SHA))


def test_a_network_that_cannot_be_used_is_one_sentence(tmp_path):
    folder = folder_of(tmp_path / "m")
    (folder / "expression.toml").unlink()
    with pytest.raises(WeightError, match=r"wants expression\.toml"):
        load_expressions(Model(folder, SHA))
    with pytest.raises(WeightError, match="cannot be loaded"):
        load_expressions(Model(folder_of(tmp_path / "n", PAGE, b"no network"), SHA))


def test_a_stage_without_its_model_says_what_to_bring(tmp_path):
    with pytest.raises(MissingWeight, match=r"stage\.emotions\.model: a folder with .*expression\.toml"):
        Emotions(engine="onnx").load()
    stage = Emotions(engine="onnx", model=str(folder_of(tmp_path / "m")))
    assert stage.load()[1].label.startswith("onnx/columns/")
    pinned = stage.pinned()
    assert len(pinned.model_sha256) == 64
    folder_of(tmp_path / "m", PAGE + "# changed\n")
    with pytest.raises(WeightError):
        pinned.load()


class Marked:
    """An engine that gives the picture's mean as its surety of happy."""

    label = "marked"

    def tell(self, image, face):
        return np.array([0, 0, 0, image.mean() / 255, 0, 0, 0], np.float32)


class Detector:
    def __init__(self, *heights):
        self.heights = heights

    def detect(self, image):
        return [{**face(y0=0.1, y1=0.1 + height), "score": 0.9} for height in self.heights]


def test_more_frames_are_looked_at_than_faces_had_and_small_faces_are_left_out(studio):
    clip = studio.clip(8, upstream={"faces": {"faces": [{"frame": 72}], "face_frames": [24, 72, 120, 168]}})
    batch = studio.batch([np.full((360, 360, 3), 20 * i, np.uint8) for i in range(8)])
    stage = Emotions(most_frames=2, most_faces=2)
    row = stage.measure((Detector(0.5, 0.2, 0.3, 0.05), Marked()), clip, batch)
    assert row["emotion_frames"] == [24, 48, 72, 120, 144, 168]
    assert row["emotion_engine"] == "marked"
    assert [one["frame"] for one in row["emotions"]] == [
        frame for frame in row["emotion_frames"] for _ in "12"
    ]
    assert row["emotions"][2]["time_s"] == 2.0
    assert row["emotions"][2]["probabilities"][3] == pytest.approx(40 / 255)
    none = stage.measure((Detector(0.05), Marked()), clip, batch)
    assert none["emotions"] == []


def test_a_clip_without_faces_is_not_looked_at(studio):
    clip = studio.clip(8, upstream={"faces": {"faces": [], "face_frames": [24, 72]}})
    row = Emotions().measure((None, Marked()), clip, studio.batch([np.zeros((36, 64, 3), np.uint8)] * 8))
    assert (row["emotion_frames"], row["emotions"]) == ([], [])


def test_a_users_network_answers_for_clips_in_a_row(studio, tmp_path):
    stage = Emotions(engine="onnx", model=str(folder_of(tmp_path / "m")), most_frames=1)
    image = studio.face()
    state = stage.load()
    (known,) = state[0].detect(image)
    faces = {"faces": [{"frame": 0, **known}], "face_frames": [0]}
    clips = [studio.clip(1, upstream={"faces": faces})] * 2
    one, other = stage.measure_batch(state, clips, [studio.batch([image])] * 2)
    assert one == other
    assert one["emotion_engine"].startswith("onnx/columns/")
    assert len(one["emotions"][0]["probabilities"]) == 7


def test_a_network_on_the_gpu_asks_for_one():
    stage = Emotions(engine="onnx", model="m", device="cuda")
    assert (stage.gpus, dataclasses.replace(stage, device="cpu").gpus, Emotions().gpus) == (1.0, 0.0, 0.0)
