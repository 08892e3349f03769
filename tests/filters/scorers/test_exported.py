"""Exported networks: what they are shown, what they give, and what is wrong with those that cannot be used."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from filters.aesthetic import Aesthetic
from filters.scorers.checkpoint import Model
from filters.scorers.exported import ExportedClips, exported_clips, exported_pictures, load_exported
from filters.suitability import Suitability
from filters.video_quality import VideoQuality
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch
from pipeline.weights import WeightError

SHA = "c0ffee00" * 8


def level(value, height=90, width=160, count=1):
    """(count, height, width, 3) of one level."""
    return np.full((count, height, width, 3), value, np.uint8)


def frames(images):
    return FrameBatch(images, np.arange(len(images)) / 8, np.arange(len(images)))


def page(folder, old, new):
    path = folder / "scorer.toml"
    path.write_text(path.read_text().replace(old, new))
    return folder


def test_a_picture_is_scaled_normalised_and_scored(onnx_scorers, tmp_path):
    scorer = exported_pictures(Model(onnx_scorers.write(tmp_path / "m"), SHA))
    half = level(0)[0]
    half[:, 80:] = 255
    assert scorer.score([level(51)[0], level(255, 16, 16)[0], half]) == pytest.approx(
        [0.2, 1.0, 0.5], abs=1e-6
    )
    assert scorer.label == "onnx/mean/c0ffee00"


@pytest.mark.parametrize("size", [(16, 16), (16, 1920), (1920, 16), (179, 321), (4320, 7680)])
def test_pictures_of_any_size_have_a_score(onnx_scorers, tmp_path, studio, size):
    shown = level(51, *size)
    pictures = exported_pictures(Model(onnx_scorers.write(tmp_path / "p"), SHA))
    clips = exported_clips(Model(onnx_scorers.write(tmp_path / "c", "NCTHW", 8), SHA))
    assert pictures.score([shown[0]]) == pytest.approx([0.2], abs=1e-5)
    assert clips.score([studio.clip(1)], [frames(shown)]) == pytest.approx([0.2], abs=1e-5)


def test_levels_channels_scale_and_offset_are_those_of_the_page(onnx_scorers, tmp_path):
    folder = page(onnx_scorers.write(tmp_path / "m"), "mean = [0, 0, 0]", "mean = [10, 20, 30]")
    page(folder, "std = [255, 255, 255]", "std = [1, 2, 4]\nscale = -0.5\noffset = 7.0")
    colour = np.full((20, 20, 3), (40, 60, 80), np.uint8)
    mean = (30 / 1 + 40 / 2 + 50 / 4) / 3
    assert exported_pictures(Model(folder, SHA)).score([colour]) == pytest.approx([7 - mean / 2], abs=1e-5)


@pytest.mark.parametrize("layout", ["NCTHW", "NTCHW"])
def test_frames_are_spread_evenly_over_the_clip(onnx_scorers, tmp_path, studio, layout):
    scorer = exported_clips(Model(onnx_scorers.write(tmp_path / "m", layout, 4), SHA))
    rising = np.concatenate([level(10 * i) for i in range(8)])
    short = np.concatenate([level(0), level(255)])
    scores = scorer.score([studio.clip(1)] * 3, [frames(rising), frames(short), frames(level(51))])
    assert scores == pytest.approx(
        [30 / 255, 0.5, 0.2], abs=1e-6
    )  # frames 0 2 4 6; each twice; one four times


def test_what_goes_through_at_once_is_bounded_and_changes_nothing(onnx_scorers, tmp_path, studio):
    seen = []

    class Watched:
        def __init__(self, session):
            self.session = session

        def get_inputs(self):
            return self.session.get_inputs()

        def run(self, names, feeds):
            seen.append(len(feeds["x"]))
            return self.session.run(names, feeds)

    whole = load_exported(Model(onnx_scorers.write(tmp_path / "m", "NCTHW", 2), SHA))
    bounded = dataclasses.replace(whole, session=Watched(whole.session), at_once_px=3 * 2 * 16 * 16)
    clips = [frames(np.random.default_rng(i).integers(0, 256, (3, 20, 30, 3), np.uint8)) for i in range(7)]
    assert bounded.score_clips(clips) == pytest.approx(whole.score_clips(clips), abs=1e-6)
    assert seen == [3, 3, 1]


@pytest.mark.parametrize("stage", [VideoQuality, Suitability])
def test_a_batch_gives_what_one_by_one_gives_and_one_that_is_no_number_is_its_own_error(
    onnx_scorers, tmp_path, studio, stage
):
    """The network takes a logarithm: of a black clip it is minus infinity."""
    made = stage(engine="onnx", model=str(onnx_scorers.write(tmp_path / "m", "NCTHW", 2, 16, "Log")))
    scorer = made.load()
    shown = [frames(level(value, count=5)) for value in (255, 0, 51)]
    answers = made.measure_batch(scorer, [studio.clip(1)] * 3, shown)
    score, engine = made.columns.names
    assert isinstance(answers[1], ClipError)
    assert answers[1].reason == Reason.NOT_FINITE
    assert [answers[i][score] for i in (0, 2)] == pytest.approx([0, np.log(0.2)], abs=1e-5)
    assert answers[0][engine] == scorer.label
    alone = [made.measure_batch(scorer, [studio.clip(1)], [one])[0] for one in shown]
    assert [alone[i][score] for i in (0, 2)] == pytest.approx([answers[i][score] for i in (0, 2)], abs=1e-6)
    assert isinstance(alone[1], ClipError)


def test_pictures_of_several_clips_are_one_batch(onnx_scorers, tmp_path, studio):
    stage = Aesthetic(engine="onnx", model=str(onnx_scorers.write(tmp_path / "m")))
    scorer = stage.load()
    batches = [studio.batch([level(v)[0] for v in values], 2.0) for values in ((0, 255), (51,), (0, 51, 102))]
    clips = [studio.clip(seconds) for seconds in (4, 2, 6)]
    answers = stage.measure_batch(scorer, clips, batches)
    assert [answer["aesthetic_score"] for answer in answers] == pytest.approx([0.5, 0.2, 0.2], abs=1e-6)
    assert answers[0]["aesthetic_engine"].startswith("onnx/mean/")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('label = "mean"', "", "label: Field required"),
        ('label = "mean"', 'label = "a/b"', "label: String should match"),
        ("frames = 4", "frames = 0", "frames: Input should be greater"),
        ("frames = 4", "frames = 5", "does not take what scorer.toml says"),
        ("side_px = 16", "side_px = 17", "does not take what scorer.toml says"),
        ("NCTHW", "NCHW", "frames is 1 with layout NCHW"),
        ("NCTHW", "HWC", "layout: Input should be"),
        ("std = [255,", "std = [0,", "std must be above 0"),
        ("mean = [0, 0, 0]", "mean = [0, 0]", "mean.2: Field required"),
        ("mean = [0, 0, 0]", "mean = [0, 0, nan]", "mean and std must be numbers"),
        ("side_px", "size_px", "side_px: Field required"),
        ("std", "colour = 1\nstd", "colour: Extra inputs"),
        ("label", "label = ", "scorer.toml'"),
    ],
)
def test_a_page_that_cannot_be_is_one_sentence(onnx_scorers, tmp_path, old, new, sentence):
    folder = page(onnx_scorers.write(tmp_path / "m", "NCTHW", 4), old, new)
    with pytest.raises(WeightError) as error:
        load_exported(Model(folder, SHA))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_that_cannot_be_used_is_one_sentence(onnx_scorers, tmp_path):
    folder = onnx_scorers.write(tmp_path / "m")
    good = (folder / "model.onnx").read_bytes()
    for bytes_, sentence in (
        (b"", "cannot be loaded"),
        (b"this is no network", "cannot be loaded"),
        (good[: len(good) // 2], "cannot be loaded"),
        (onnx_scorers.model(["n", 3, 16, 16], "NoSuchOperator"), "cannot be loaded"),
        (onnx_scorers.model([1, 3, 16, 16]), "two at once"),
        (onnx_scorers.model(["n", 3, 32, 32]), "does not take what scorer.toml says"),
        (onnx_scorers.model(["n", 1, 16, 16]), "does not take what scorer.toml says"),
    ):
        (folder / "model.onnx").write_bytes(bytes_)
        with pytest.raises(WeightError, match=sentence) as error:
            load_exported(Model(folder, SHA))
        assert "\n" not in str(error.value)
    (folder / "model.onnx").unlink()
    with pytest.raises(WeightError, match=r"wants model\.onnx: docs/filters\.md"):
        load_exported(Model(folder, SHA))


def test_a_network_of_the_other_kind_is_refused(onnx_scorers, tmp_path):
    pictures, clips = onnx_scorers.write(tmp_path / "p"), onnx_scorers.write(tmp_path / "c", "NTCHW", 2)
    with pytest.raises(WeightError, match="scores clips"):
        exported_pictures(Model(clips, SHA))
    with pytest.raises(WeightError, match="scores pictures"):
        exported_clips(Model(pictures, SHA))


def test_a_gpu_that_is_not_there_is_one_sentence(onnx_scorers, tmp_path):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(WeightError, match="onnxruntime has no CUDA here"):
        load_exported(Model(onnx_scorers.write(tmp_path / "m"), SHA, "cuda"))


def test_more_answers_than_clips_are_an_error(onnx_scorers, tmp_path, studio):
    class Fewer:
        def get_inputs(self):
            return [type("Input", (), {"name": "x"})()]

        def run(self, names, feeds):
            return [np.zeros(len(feeds["x"]) + 1)]

    network = load_exported(Model(onnx_scorers.write(tmp_path / "m", "NCTHW", 2), SHA))
    scorer = ExportedClips(dataclasses.replace(network, session=Fewer()))
    with pytest.raises(ValueError, match="shape"):
        scorer.score([studio.clip(1)], [frames(level(3))])
