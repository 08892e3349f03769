"""The learned scorers on checkpoints of random weights: what they look at, and that batches change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from filters.aesthetic import Aesthetic
from filters.scorers.checkpoint import Model, sha256_of
from filters.scorers.networks import convnext3d, swin3d
from filters.scorers.networks.heads import VideoHead
from filters.scorers.torch_scorers import (
    aesthetic_dover,
    fast_vqa,
    spread_frames,
    spread_spans,
    technical_dover,
)
from filters.video_quality import VideoQuality
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch
from pipeline.weights import WeightError

SHA = "c0ffee00" * 8
SWIN = swin3d.Shape(width=8, depths=(1, 2), heads=(1, 2), window=(2, 4, 4), gated=(True, False))
CONVNEXT = convnext3d.Shape(depths=(1, 1, 1, 1), widths=(4, 4, 8, 8))


def drawn(module: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """The module's state with every parameter drawn."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=dice) * 0.2)
    return module.state_dict()


def checkpoint(path: Path, parts: dict[str, nn.Module]) -> Model:
    state = {
        prefix + name: value
        for seed, (prefix, module) in enumerate(parts.items())
        for name, value in drawn(module, seed).items()
    }
    torch.save({"state_dict": state}, path)
    return Model(path, SHA)


@pytest.fixture
def dover(tmp_path):
    parts = {
        "technical_backbone.": swin3d.Swin3d(SWIN),
        "technical_head.": VideoHead(16),
        "aesthetic_backbone.": convnext3d.ConvNext3d(CONVNEXT),
        "aesthetic_head.": VideoHead(8),
    }
    return checkpoint(tmp_path / "DOVER.pth", parts)


def frames(count, seed, side=32):
    images = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
    return FrameBatch(images, np.arange(count) / 12, np.arange(count) * 2)


def numbered(count):
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def numbers(spans):
    return [span[:, 0, 0, 0].tolist() for span in spans]


def test_spans_are_frames_in_a_row_evenly_spread():
    assert numbers(spread_spans(numbered(96), 3)) == [[*range(s, s + 32)] for s in (0, 32, 64)]
    assert [span[0] for span in numbers(spread_spans(numbered(120), 4))] == [0, 29, 59, 88]
    assert [span[0] for span in numbers(spread_spans(numbered(33), 3))] == [0, 1]
    assert numbers(spread_spans(numbered(5), 3)) == [[i % 5 for i in range(32)]]
    assert numbers(spread_spans(numbered(32), 3)) == [[*range(32)]]


def test_spread_frames_cover_the_clip_and_are_squares():
    (long,), (short,), (one,) = (spread_frames(numbered(count)) for count in (80, 4, 1))
    assert long.shape == (32, 224, 224, 3)
    assert long[:, 0, 0, 0].tolist() == [i * 80 // 32 for i in range(32)]
    assert short[:, 0, 0, 0].tolist() == [i // 8 for i in range(32)]
    assert not one.any()


@pytest.mark.parametrize("load", [technical_dover, fast_vqa])
def test_clips_of_several_lengths_score_as_one_by_one(tmp_path, studio, load, dover):
    if load is fast_vqa:
        parts = {"fragments_backbone.": swin3d.Swin3d(SWIN), "vqa_head.": VideoHead(16)}
        dover = checkpoint(tmp_path / "FAST.pth", parts)
    scorer = load(dover, SWIN)
    clips = [frames(count, seed) for seed, count in enumerate((3, 40, 120, 33))]
    together = scorer.score([studio.clip(1)] * 4, clips)
    alone = [scorer.score([studio.clip(1)], [one])[0] for one in clips]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 5) for score in together}) == 4
    assert scorer.score([studio.clip(1)] * 4, clips) == together


def test_a_clip_s_score_is_the_mean_of_its_spans(studio, dover):
    scorer = technical_dover(dover, SWIN)
    shown = frames(100, 1)
    spans = [scorer.network.score([span])[0] for span in spread_spans(shown.images, 3)]
    assert scorer.score([studio.clip(1)], [shown]) == pytest.approx([np.mean(spans)], abs=1e-5)
    assert len(spans) == 3


def test_the_aesthetic_branch_sees_the_whole_clip(studio, dover):
    scorer = aesthetic_dover(dover, CONVNEXT)
    one, other = frames(40, 1), frames(40, 1)
    other.images[-3:] = 255 - other.images[-3:]
    scores = scorer.score([studio.clip(5)] * 2, [one, other])
    assert scores[0] != scores[1]
    assert scorer.score([studio.clip(5)], [one]) == pytest.approx(scores[:1], abs=1e-5)


def test_labels_say_which_branch_of_which_file(dover):
    assert technical_dover(dover, SWIN).label == "dover-technical/c0ffee00"
    assert aesthetic_dover(dover, CONVNEXT).label == "dover-aesthetic/c0ffee00"


def test_the_checkpoint_of_another_network_is_refused(dover, tmp_path):
    for load, sentence in (
        (lambda: fast_vqa(dover, SWIN), "Missing key"),
        (lambda: technical_dover(dover), "size mismatch|Missing key"),
        (lambda: aesthetic_dover(dover), "size mismatch|Missing key"),
    ):
        with pytest.raises(WeightError, match=sentence):
            load()


def test_no_number_is_the_row_s_error_and_no_other_s(studio, dover):
    @dataclass(frozen=True)
    class Sometimes:
        label: str = "dover-technical/0"

        def score(self, clips, frames):
            return [0.1, float("nan"), 0.2]

    stage = VideoQuality(engine="dover", model=str(dover.path))
    answers = stage.measure_batch(Sometimes(), [studio.clip(1)] * 3, [frames(3, 1)] * 3)
    assert [isinstance(answer, ClipError) for answer in answers] == [False, True, False]
    assert answers[1].reason == Reason.NOT_FINITE
    assert answers[2] == {"vqa_score": 0.2, "vqa_engine": "dover-technical/0"}


@pytest.mark.slow  # networks of the published size
def test_checkpoints_of_the_published_size_go_through_their_stages(tmp_path, studio):
    from safetensors.torch import save_file

    parts = {
        "technical_backbone.": swin3d.Swin3d(),
        "technical_head.": VideoHead(),
        "aesthetic_backbone.": convnext3d.ConvNext3d(),
        "aesthetic_head.": VideoHead(),
    }
    state = {p + n: v.contiguous() for p, m in parts.items() for n, v in m.state_dict().items()}
    torch.save(state, tmp_path / "DOVER.pth")
    save_file(state, tmp_path / "DOVER.safetensors")
    for stage, file, count, shape in (
        (VideoQuality, "DOVER.pth", 20, (224, 224)),
        (Aesthetic, "DOVER.safetensors", 40, (224, 398)),
    ):
        made = stage(engine="dover", model=str(tmp_path / file))
        images = np.random.default_rng(1).integers(0, 256, (count, *shape, 3), np.uint8)
        shown = FrameBatch(images, np.arange(count) / 12, np.arange(count))
        (row,) = made.measure_batch(made.load(), [studio.clip(2)], [shown])
        score, engine = made.columns.names
        assert np.isfinite(row[score])
        assert row[engine].split("/")[1] == sha256_of(tmp_path / file, "").lower()[:8]
