"""pyiqa's metrics behind the stage, with an injected one; the real ones where pyiqa is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from filters.image_quality import ImageQuality
from filters.scorers.checkpoint import Model
from filters.scorers.pyiqa_engine import METRICS, PyiqaMetric, pyiqa_metric
from pipeline.reasons import Reason
from pipeline.stage import ClipError
from pipeline.weights import WeightError

SHA = "c0ffee00" * 8


def metric(judge):
    return PyiqaMetric(judge, "pyiqa-musiq/c0ffee00", "cpu")


def level(value, side=32):
    return np.full((side, side, 3), value, np.uint8)


def test_pictures_of_one_size_go_together_in_bounded_steps_and_keep_their_order():
    seen = []

    def judge(cells):
        seen.append(tuple(cells.shape))
        return cells.mean((1, 2, 3), keepdim=True)[:, 0, 0]  # (n, 1), as pyiqa's do

    pictures = [level(5 * i, 32 if i % 3 else 16) for i in range(40)]
    assert metric(judge).score(pictures) == pytest.approx([5 * i / 255 for i in range(40)], abs=1e-6)
    assert seen == [(14, 3, 16, 16), (16, 3, 32, 32), (10, 3, 32, 32)]


def test_a_batch_of_clips_is_one_call_and_no_number_is_its_row_s_error(studio):
    stage = ImageQuality(engine="pyiqa")
    scorer = metric(
        lambda cells: torch.where(cells.mean((1, 2, 3)) > 0, 100 * cells.mean((1, 2, 3)), torch.nan)
    )
    clips = [studio.clip(4), studio.clip(2), studio.clip(2)]
    batches = [studio.batch([level(v) for v in levels], 2.0) for levels in ((51, 102), (0,), (255,))]
    good, bad, best = stage.measure_batch(scorer, clips, batches)
    assert good["iqa_frame_scores"] == pytest.approx([20, 40], abs=1e-4)
    assert good["iqa_score"] == pytest.approx(30, abs=1e-4)
    assert good["iqa_engine"] == "pyiqa-musiq/c0ffee00"
    assert isinstance(bad, ClipError)
    assert bad.reason == Reason.NOT_FINITE
    assert best["iqa_score"] == pytest.approx(100, abs=1e-4)


def available():
    try:
        from pyiqa.models.inference_model import InferenceModel  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return f"pyiqa cannot be imported: {error}".splitlines()[0]
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_the_real_metrics_are_read_from_a_file_and_nothing_is_fetched(tmp_path, name):
    if reason := available():
        pytest.skip(reason)
    from filters.scorers.pyiqa_engine import _made

    made = _made(name)
    torch.save({"params": made.net.state_dict()}, tmp_path / "m.pth")
    scorer = pyiqa_metric(Model(tmp_path / "m.pth", SHA), name)
    noise = [np.random.default_rng(i).integers(0, 256, (96, 96, 3), np.uint8) for i in range(3)]
    together = scorer.score(noise)
    assert together == pytest.approx([scorer.score([one])[0] for one in noise], abs=1e-4)
    other = next(one for one in METRICS if one != name)
    with pytest.raises(WeightError, match="of another model or version"):
        pyiqa_metric(Model(tmp_path / "m.pth", SHA), other)


def test_without_pyiqa_the_sentence_names_the_extra_and_the_licence(tmp_path):
    if not available():
        pytest.skip("pyiqa is installed")
    with pytest.raises(WeightError, match=r"'\.\[pyiqa\]'.*Noncommercial.*no commercial use") as error:
        pyiqa_metric(Model(tmp_path / "m.pth", SHA), "musiq")
    assert "\n" not in str(error.value)
