"""The tiny checkpoint: whole, small, the same bytes each time, and readable by the libraries that real ones need."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from captioner.engines.checkpoint import found
from captioner.schema import dumps, loads

EXAMPLE = Path(__file__).parents[2] / "examples" / "tiny_captioner.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_captioner", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_captions_that_it_learns_are_captions(example: ModuleType) -> None:
    captions = example.captions()
    assert len(captions) == 24
    assert [dumps(loads(text)) for text in captions] == captions


def test_an_unknown_family_is_named(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown family 'llama'"):
        example.make(tmp_path / "x", "llama")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_it_is_a_checkpoint_and_the_same_each_time(example: ModuleType, tmp_path: Path, family: str) -> None:
    made = found(str(example.make(tmp_path / "a", family, steps=2)))
    assert made.family == family
    assert made.sees
    assert (made.folder / "model.safetensors").stat().st_size < 4 * 2**20
    assert made.sha256 == found(str(example.make(tmp_path / "b", family, steps=2))).sha256
    assert made.sha256 != found(str(example.make(tmp_path / "c", family, steps=0))).sha256
    wide = found(str(example.make(tmp_path / "d", family, 0, 192, 3))).config["text_config"]
    assert (wide["hidden_size"], wide["num_hidden_layers"], wide["num_attention_heads"]) == (192, 3, 6)
    page = json.loads((made.folder / "config.json").read_text())
    assert "auto_map" not in page  # no code of its own

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    asked = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Say."}]}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Say.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(tokenizer("A dog – 犬").input_ids) == "A dog – 犬"
