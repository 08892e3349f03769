"""A run with scores from models that are brought along: what is refused before any work, and what it says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jobs import chain
from jobs.cli import cli
from jobs.config import ConfigError, dump, load
from jobs.run import chosen_stages
from pipeline.annotate import Annotate, Planned
from pipeline.runner import Pool, actor_options
from pipeline.store import Store
from pipeline.stream import Stream

RECIPE = """
about = "Anything that has a score"
[keep]
aesthetic_score = { min = 0.0 }
[shard]
resolution = "256p"
frame_counts = [1, 17]
fps = [16]
max_upscale_ratio = 1.5
"""


def rushes(*args: object) -> Result:
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def scored(tmp_path: Path, onnx_scorers: Any) -> dict[str, Any]:
    """Settings of a run whose pool goes by an exported network's score."""
    onnx_scorers.write(tmp_path / "model")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    aesthetic = {"engine": "onnx", "model": str(tmp_path / "model"), "every_s": 0.5}
    recipes = [str(tmp_path / "tiny.toml")]
    return {"stages": ["aesthetic"], "stage": {"aesthetic": aesthetic}, "recipes": recipes}


def rows(run: Any) -> list[dict[str, Any]]:
    return [row for table in chain.Pools(run).measured() for row in table.to_pylist()]


def test_a_run_says_which_model_gave_its_scores(
    whole: tuple[Any, Path], tmp_path: Path, scored: dict[str, Any]
) -> None:
    small, run, model = whole[0], tmp_path / "run", tmp_path / "model" / "model.onnx"
    shutil.copytree(whole[1], run)
    made = small.done(run, **scored)
    found = rows(made)
    (page,) = (run / "annotations").glob("aesthetic@*/stage.json")
    settings = json.loads(page.read_text())["settings"]
    digest = settings["model_sha256"]
    assert settings == {"engine": "onnx", "every_s": 0.5, "most_frames": 4, "model_sha256": digest}
    assert {row["aesthetic_engine"] for row in found} == {f"onnx/mean/{digest[:8]}"}
    scores = sorted(row["aesthetic_score"] for row in found)
    assert scores[0] == pytest.approx(0, abs=0.01)  # the black video
    assert all(0.3 < score < 0.7 for score in scores[1:])
    said = chain.explain(made, found[0]["clip_id"])
    assert "aesthetic_score" in said
    assert f"aesthetic@{page.parent.name.split('@')[1]} by onnx" in said
    assert "onnx, fingerprint" in (run / "report.html").read_text()
    # With its pin the run can be gone on with and looked at where the model is not.
    good = model.read_bytes()
    model.unlink()
    pinned = scored["stage"]["aesthetic"] | {"model_sha256": digest}
    assert not small.done(run, **scored | {"stage": {"aesthetic": pinned}}).did
    # Another file is another stage, and one that cannot be loaded is said before anything is done.
    model.write_bytes(good[:40])
    before = sorted(run.rglob("*.parquet"))
    result = rushes("annotate", run, "--set", "stage.aesthetic.model_sha256=''", "--workers", 0)
    assert result.exit_code == 2
    assert "model.onnx' cannot be loaded" in result.stderr
    assert sorted(run.rglob("*.parquet")) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("model=''", "needs stage.aesthetic.model"),
        ("model='{tmp}/none'", "there is no model at"),
        (f"model_sha256='{'0' * 64}'", "not the pinned"),
        ("model='{tmp}/media'", "wants model.onnx and scorer.toml"),
        ("engine=nope", "stage.aesthetic"),
        ("device=tpu", "stage.aesthetic"),
    ],
)
def test_a_model_that_cannot_be_used_stops_the_run_before_any_work(
    small: Any, tmp_path: Path, scored: dict[str, Any], change: str, sentence: str
) -> None:
    (tmp_path / "run.toml").write_text(dump(small.config(**scored)))
    args = ["--config", tmp_path / "run.toml", "--out", tmp_path / "run", "--workers", 0]
    result = rushes("run", *args, "--set", f"stage.aesthetic.{change.format(tmp=tmp_path)}")
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not {path.name for path in (tmp_path / "run").glob("*")} - {"run.toml", ".lock", ".tmp-files"}


def test_a_model_in_a_settings_file_is_taken_from_the_file_s_folder(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.toml"
    path.parent.mkdir()
    path.write_text('[stage.aesthetic]\nengine = "onnx"\nmodel = "../model"\n')
    assert load(path).stage["aesthetic"]["model"] == str(tmp_path / "model")
    path.write_text('[stage.aesthetic]\nmodel = ""\n')
    assert load(path).stage["aesthetic"]["model"] == ""
    path.write_text("[stage.aesthetic]\nmodel = 3\n")
    with pytest.raises(ConfigError, match=r"stage\.aesthetic"):
        chosen_stages(load(path))


def test_a_stage_s_engine_decides_what_it_requires(small: Any, tmp_path: Path) -> None:
    def names(engine: str) -> set[str]:
        stage = {"video_quality": {"engine": engine, "model": "m"}}
        return {one.name for one in chosen_stages(small.config(stages=["video_quality"], stage=stage))}

    assert names("pooled") - names("fast_vqa") == {"image_quality", "artifacts", "flicker", "cadence"}


def test_a_stage_on_a_gpu_asks_ray_for_one(small: Any, tmp_path: Path) -> None:
    def options(device: str) -> dict[str, Any]:
        stage = {"video_quality": {"engine": "dover", "model": "m", "device": device}}
        stages = chosen_stages(small.config(stages=["video_quality"], stage=stage))
        planned = tuple(Planned(one, "0") for one in stages if one.name == "video_quality")
        task = Annotate(Store(str(tmp_path)), planned)
        return actor_options(Stream(task) if planned[0].stage.streams else task, 16)

    assert options("cpu") == {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
    assert options("cuda") == options("cpu") | {"num_gpus": 1.0}


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_laion_s_predictor_in_process_and_on_ray(
    small: Any, tmp_path: Path, ray_here: None, digests_of: Any
) -> None:
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from filters.scorers.networks.heads import AestheticHead

    small.recipe.write_text(RECIPE.replace("min = 0.0", "min = -1000.0"))
    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=16,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "laion")
    torch.save(AestheticHead(16).state_dict(), tmp_path / "laion" / "head.pth")
    stage = {"aesthetic": {"engine": "laion", "model": str(tmp_path / "laion")}}
    here, there = (
        small.done(tmp_path / name, pool, stages=["aesthetic"], stage=stage)
        for name, pool in (("here", None), ("there", Pool(1)))
    )
    assert digests_of(tmp_path / "here") == digests_of(tmp_path / "there")
    found = rows(there)
    assert len({row["aesthetic_score"] for row in found}) > 2
    assert {row["aesthetic_engine"].split("/")[0] for row in found} == {"laion"}
    assert "by laion" in chain.explain(there, found[0]["clip_id"])
    assert chain.status(chain.account_of(here)) == 0
