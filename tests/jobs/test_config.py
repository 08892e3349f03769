"""One file of settings: every key known, every value checked, flags over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from jobs import chain
from jobs.config import Config, ConfigError, dump, load, parse, sentence


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "sources": ["/a/b.mp4", "s3://bucket/c"],
            "seed": 7,
            "segment": {"min_clip_s": 3.0},
            "stage": {"black": {"black_luma": 0.2}},
            "shard": {"pools": ["360p"], "crf": 20},
        }
    )
    (tmp_path / "run.toml").write_text(dump(config))
    assert load(tmp_path / "run.toml") == config
    assert dump(load(tmp_path / "run.toml")) == dump(config)


def test_paths_of_a_file_are_taken_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'sources = ["m/x", "/abs", "s3://b/k", "../up"]\nrecipes = ["256p", "own.toml"]\n[ingest]\nroots = ["r"]\n'
    )
    config = load(tmp_path / "s.toml")
    assert config.sources == (f"{tmp_path}/m/x", "/abs", "s3://b/k", f"{tmp_path.parent}/up")
    assert config.recipes == ("256p", f"{tmp_path}/own.toml")
    assert config.ingest.roots == (f"{tmp_path}/r",)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"nope": 1}, "unknown key 'nope'"),
        ({"shard": {"nope": 1}}, "unknown key 'shard.nope'"),
        ({"shard": {"crf": 99}}, "shard.crf"),
        ({"shard": {"rows": 0}}, "shard.rows"),
        ({"seed": "x"}, "seed"),
        ({"captioner": "magic"}, "captioner"),
        ({"sources": "one"}, "sources"),
    ],
)
def test_a_wrong_value_names_its_key(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        parse(plain, "s.toml")


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"segment": {"nope": 1}}, r"unknown key 'segment\.nope'"),
        ({"segment": {"min_clip_s": -1}}, "min_clip_s"),
        ({"stage": {"nope": {}}}, "unknown stage 'nope'"),
        ({"stage": {"black": {"black_luma": "dark"}}}, r"stage\.black"),
        ({"ingest": {"limits": {"nope": 1}}}, r"unknown key 'ingest\.limits\.nope'"),
        ({"stages": ["nope"]}, "unknown stage 'nope'"),
        ({"shard": {"pools": ["nope"]}}, "none of the run's recipes"),
        ({"recipes": ["256p", "256p"], "shard": {"pools": ["256p"]}}, "same name"),
    ],
)
def test_what_no_table_knows_is_found_before_any_work(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chain.check(parse(plain, "s.toml"))


def test_flags_stand_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("seed = 1\nsources = ['a']\n[shard]\ncrf = 20\nrows = 5\n")
    found = chain.resolve(
        str(tmp_path / "run"),
        tmp_path / "s.toml",
        ["shard.crf=25", "seed=2", "shard.preset=fast"],
        {"seed": 3, "sources": ("/b",), "ingest.roots": ()},
    )
    assert (found.seed, found.sources) == (3, ("/b",))
    assert (found.shard.crf, found.shard.rows, found.shard.preset) == (25, 5, "fast")


def test_a_run_keeps_its_settings(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(dump(Config(sources=("/m",), seed=9)))
    assert chain.resolve(str(tmp_path), None, [], {}).seed == 9
    assert chain.resolve(str(tmp_path), None, ["seed=4"], {}).sources == ("/m",)
    (tmp_path / "run.toml").write_text("seed = ")
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML"):
        chain.resolve(str(tmp_path), None, [], {})


def test_stages_bring_those_that_they_and_dedup_need() -> None:
    from jobs.run import chosen_stages

    names = [stage.name for stage in chosen_stages(Config(stages=("motion",)))]
    assert "flow" in names
    assert {"phash", "blur"} <= set(names)
    assert names.index("flow") < names.index("motion")
    assert "text" not in names


@pytest.mark.parametrize(("asked", "found"), [("auto", "bf16"), ("fp32", "fp32")])
def test_another_settings_file_leaves_a_runs_precision(tmp_path: Path, asked: str, found: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.toml").write_text('precision = "bf16"\n')
    (tmp_path / "s.toml").write_text(f'precision = "{asked}"\n')
    assert chain.resolve(str(tmp_path / "run"), tmp_path / "s.toml", (), {}).precision == found
    assert chain.resolve(str(tmp_path / "new"), tmp_path / "s.toml", (), {}).precision == asked


def test_a_refusal_shows_the_beginning_of_a_long_value_and_no_empty_place() -> None:
    class Whole(BaseModel):
        name: int

    with pytest.raises(ValidationError) as caught:
        Whole.model_validate_json('{"a": ' + "[" * 5_000)
    words = sentence(caught.value)
    assert words.startswith("Invalid JSON: ")
    assert words.endswith("[[ ...)")
    assert len(words) < 200
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"name": "x" * 61})
    assert sentence(caught.value).endswith(f"(got '{'x' * 59} ...)")
