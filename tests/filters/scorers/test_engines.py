"""Stages whose score may come from a model: what counts as a setting, and what is said when it cannot be used."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from filters.aesthetic import Aesthetic
from filters.image_quality import ImageQuality
from filters.scorers.checkpoint import sha256_of
from filters.scorers.scorer import SCALES, unit
from filters.scorers.torch_scorers import FRAGMENTS, WHOLE
from filters.suitability import Suitability
from filters.video_quality import VideoQuality
from pipeline.frames import DETAIL, VIEW
from pipeline.stage import ClipError
from pipeline.weights import MissingWeight, WeightError, WrongDigest

STAGES = (Aesthetic, ImageQuality, VideoQuality, Suitability)
WITH_MODEL = [
    *((Aesthetic, engine) for engine in ("laion", "dover", "onnx")),
    *((ImageQuality, engine) for engine in ("pyiqa", "onnx")),
    *((VideoQuality, engine) for engine in ("dover", "fast_vqa", "onnx")),
    (Suitability, "onnx"),
]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"a model")
    return path


@pytest.mark.parametrize("stage", STAGES)
def test_the_embedded_engine_has_no_model(stage):
    plain = stage()
    other = stage(model="/nowhere", model_sha256="0" * 64, device="cuda")
    assert other.fingerprint({}) == plain.fingerprint({})
    assert plain.gpus == other.gpus == 0
    assert not {"model", "model_sha256", "device", "metric"} & set(plain.settings())
    other.ready(here=True)


@pytest.mark.parametrize(("stage", "engine"), WITH_MODEL)
def test_a_model_counts_by_its_digest_alone(stage, engine, model, tmp_path):
    here = stage(engine=engine, model=str(model))
    assert here.settings()["model_sha256"] == sha256_of(model, "")
    before = here.fingerprint({})
    elsewhere = model.rename(tmp_path / "elsewhere.pth")
    there = dataclasses.replace(here, model=str(elsewhere), device="cuda")
    assert there.fingerprint({}) == before
    elsewhere.write_bytes(b"another")
    assert there.fingerprint({}) != before
    assert (there.gpus, there.weights) == (1, ())


@pytest.mark.parametrize(("stage", "engine"), WITH_MODEL)
def test_a_worker_that_finds_another_file_refuses_it(stage, engine, model):
    """On two machines, one path may hold two models."""
    planned = stage(engine=engine, model=str(model)).pinned()
    assert planned.fingerprint({}) == stage(engine=engine, model=str(model)).fingerprint({})
    model.write_bytes(b"another")
    with pytest.raises(WrongDigest, match="not the pinned"):
        planned.load()
    assert stage().pinned() == stage()


@pytest.mark.parametrize(("stage", "engine"), WITH_MODEL)
def test_a_pinned_model_need_not_be_there_to_look_at_what_it_measured(stage, engine):
    pinned = stage(engine=engine, model="/nowhere", model_sha256="AB" * 32)
    assert pinned.settings()["model_sha256"] == "ab" * 32
    with pytest.raises(MissingWeight, match="there is no model at '/nowhere'"):
        pinned.load()


@pytest.mark.parametrize(("stage", "engine"), WITH_MODEL)
def test_a_model_that_cannot_be_used_is_one_sentence_before_any_work(stage, engine, model):
    with pytest.raises(
        MissingWeight, match=rf'engine = "{engine}" needs stage\.{stage.name}\.model: '
    ) as error:
        stage(engine=engine).ready(here=True)
    with pytest.raises(WrongDigest, match="not the pinned"):
        stage(engine=engine, model=str(model), model_sha256="0" * 64).ready(here=True)
    with pytest.raises(WeightError) as garbled:
        stage(engine=engine, model=str(model)).ready(here=True)
    assert not any("\n" in str(one.value) for one in (error, garbled))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(("stage", "engine"), WITH_MODEL)
def test_a_gpu_is_wanted_where_the_work_is_done(stage, engine, model):
    made = stage(engine=engine, model=str(model), device="cuda")
    with pytest.raises(WeightError, match="there is no GPU here"):
        made.ready(here=True)
    with pytest.raises(WeightError, match=r"pyiqa|checkpoint|wants"):  # it looks at the model itself
        made.ready(here=False)


def test_what_a_stage_looks_at_and_reads_is_up_to_its_engine():
    assert [Aesthetic(engine=e).frames for e in ("rules", "laion", "dover")] == [VIEW, VIEW, WHOLE]
    assert [VideoQuality(engine=e).frames for e in ("pooled", "dover", "fast_vqa")] == [
        None,
        FRAGMENTS,
        FRAGMENTS,
    ]
    assert (ImageQuality().frames, Suitability().frames) == (DETAIL, None)
    assert "image_quality" in VideoQuality().requires
    assert VideoQuality(engine="fast_vqa").requires == Suitability(engine="onnx").requires == ()
    assert Suitability(engine="dover").requires == ("video_quality", "aesthetic")
    assert (ImageQuality().weights, ImageQuality(engine="onnx").weights) == (("iqa.brisque",), ())


def test_a_metric_is_a_setting_of_pyiqa_alone(model):
    prints = {
        ImageQuality(engine="pyiqa", model=str(model), metric=m).fingerprint({})
        for m in ("musiq", "topiq_nr")
    }
    assert len(prints) == 2
    assert ImageQuality(metric="topiq_nr").fingerprint({}) == ImageQuality().fingerprint({})


def test_scales_are_by_the_part_of_the_label_before_the_slash():
    assert unit(5.5, "laion/0011aabb") == 0.5
    assert unit(0.25, "onnx/koala/0011aabb") == 0.25
    assert unit(0.1107, "dover-technical/0") == pytest.approx(0.5)
    assert unit(0.08285 + 0.03774, "dover-aesthetic/0") == pytest.approx(0.75)
    assert unit(-5.0, "dover-technical/0") == 0
    assert unit(-0.110198185, "fast-vqa/0") == pytest.approx(0.5)
    assert all(worst < best for worst, best in SCALES.values())


def fused(studio, technical, aesthetic, engines=("dover-technical/1", "dover-aesthetic/1")):
    rows = {
        "video_quality": {"vqa_score": technical, "vqa_engine": engines[0]},
        "aesthetic": {"aesthetic_score": aesthetic, "aesthetic_engine": engines[1]},
    }
    stage = Suitability(engine="dover")
    (answer,) = stage.measure_batch(stage.load(), [studio.clip(5, upstream=rows)], [None])
    return answer


def test_the_fusion_is_the_authors(studio):
    assert fused(studio, 0.1107, 0.08285) == {"vtss_score": 0.5, "vtss_engine": "dover-fused/1"}
    both = (0.2 - 0.1107) / 0.07355 * 0.6104 + (0.05 - 0.08285) / 0.03774 * 0.3896
    assert fused(studio, 0.2, 0.05)["vtss_score"] == pytest.approx(1 / (1 + math.exp(-both)))


@pytest.mark.parametrize("engines", [("pooled/1", "dover-aesthetic/1"), ("dover-technical/1", "rules/1")])
def test_other_engines_are_not_fused(studio, engines):
    answer = fused(studio, 0.1, 0.1, engines)
    assert isinstance(answer, ClipError)
    assert "fuses its own two branches" in answer.message


def test_extreme_scores_are_fused_too(studio):
    assert fused(studio, -1e3, -1e3)["vtss_score"] == 0
    assert fused(studio, 1e3, 1e3)["vtss_score"] == 1
