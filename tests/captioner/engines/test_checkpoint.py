"""A checkpoint is whole, pinned, and never pickled: else one sentence that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captioner.engines.checkpoint import checked, digest, found
from pipeline.weights import MissingWeight, WeightError, WrongDigest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What looks like a checkpoint of two files of weights."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl", "vision_config": {}}))
    weights = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    for name in weights.values():
        (path / name).write_bytes(name.encode())
    (path / "tokenizer.json").write_text("{}")
    return path


def test_a_whole_one_is_found_with_its_digest(folder: Path) -> None:
    checkpoint = found(str(folder))
    assert checkpoint.family == "qwen2_5_vl"
    assert checkpoint.sees
    assert checkpoint.sha256 == digest(folder)
    assert checkpoint.label == f"qwen2_5_vl/{checkpoint.sha256[:8]}"
    assert found(str(folder), checkpoint.sha256.upper()) == checkpoint


def test_the_digest_is_of_what_the_model_is(folder: Path) -> None:
    before = digest(folder)
    (folder / "README.md").write_text("news")
    (folder / ".gitattributes").write_text("news")
    assert digest(folder) == before
    (folder / "model-2.safetensors").write_bytes(b"other weights")
    assert digest(folder) != before
    with pytest.raises(WrongDigest, match="not the pinned"):
        found(str(folder), before)


def test_one_that_only_reads_has_no_eyes(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    assert not found(str(folder)).sees


@pytest.mark.parametrize("name", ["", "no/such/folder"])
def test_no_folder_says_what_to_download_and_where_to_put_it(name: str) -> None:
    with pytest.raises(MissingWeight, match=r"download one .*SkyCaptioner-V1.*name the folder"):
        checked(name)


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("config.json", "has no config.json"),
        ("model-2.safetensors", "wants model-2.safetensors and 0 more"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_a_file_that_is_missing_is_named(folder: Path, gone: str, sentence: str) -> None:
    (folder / gone).unlink()
    with pytest.raises(MissingWeight, match=sentence):
        checked(str(folder))


def test_pickles_are_refused(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightError, match="can run code"):
        checked(str(folder))


@pytest.mark.parametrize("text", ["no json", "[]", "\ud800".encode("utf-8", "surrogatepass")])
def test_a_garbled_page_is_a_sentence(folder: Path, text: str | bytes) -> None:
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WeightError, match=r"config\.json"):
        checked(str(folder))
