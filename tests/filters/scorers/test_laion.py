"""LAION's predictor: what it shows to CLIP, and how its folder is read."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from filters.aesthetic import Aesthetic
from filters.scorers.checkpoint import Model
from filters.scorers.laion import CLIP_MEAN, CLIP_STD, LaionAesthetic, laion_aesthetic
from filters.scorers.networks.heads import AestheticHead
from pipeline.weights import WeightError

SHA = "c0ffee00" * 8


def drawn(module, seed):
    """The module's state with every parameter drawn."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=dice) * 0.2)
    return module.state_dict()


class Tower(nn.Module):
    """Stands in for CLIP: an embedding of the means of the colours."""

    def forward(self, pixel_values):
        return SimpleNamespace(image_embeds=pixel_values.mean((2, 3)))


def test_a_picture_is_scaled_cut_and_normalised_as_clip_wants_it():
    scorer = LaionAesthetic(Tower(), nn.Identity(), "cpu", 16, "x")
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = (255, 128, 0)  # the middle, all that is kept
    cells = scorer._prepared(wide)
    assert cells.shape == (3, 16, 16)
    wanted = [(v / 255 - m) / s for v, m, s in zip((255, 128, 0), CLIP_MEAN, CLIP_STD, strict=True)]
    assert cells[:, 8, 8].tolist() == pytest.approx(wanted, abs=1e-5)
    assert scorer._prepared(wide[:1, :1]).shape == scorer._prepared(wide[:, :5]).shape == (3, 16, 16)


def test_the_head_sees_embeddings_of_length_one_and_pictures_go_in_bounded_steps():
    seen = []

    class Watched(Tower):
        def forward(self, pixel_values):
            seen.append(len(pixel_values))
            return super().forward(pixel_values)

    class Length(nn.Module):
        def forward(self, embeddings):
            return embeddings.norm(dim=-1)

    scorer = LaionAesthetic(Watched(), Length(), "cpu", 16, "x")
    pictures = [np.full((20, 20 + i, 3), i, np.uint8) for i in range(70)]
    assert scorer.score(pictures) == pytest.approx([1.0] * 70, abs=1e-6)
    assert seen == [32, 32, 6]


@pytest.mark.slow  # the import of transformers takes seconds
def test_laion_s_predictor_is_read_from_a_folder_in_the_hub_s_layout(tmp_path, studio):
    from safetensors.torch import load_file, save_file
    from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = small | {"image_size": 28, "patch_size": 14, "projection_dim": 16}
    torch.manual_seed(1)
    whole = CLIPModel(CLIPConfig(text_config=small, vision_config=vision, projection_dim=16))
    folder = tmp_path / "whole"
    whole.save_pretrained(folder)
    head = AestheticHead(16)
    torch.save(drawn(head, 3), folder / "head.pth")
    stage = Aesthetic(engine="laion", model=str(folder))
    stage.ready(here=True)
    scorer = stage.load()
    batches = [studio.batch([studio.colour(64, 48, seed) for seed in seeds], 2.0) for seeds in ((1, 2), (3,))]
    clips = [studio.clip(4), studio.clip(2)]
    rows = stage.measure_batch(scorer, clips, batches)
    assert rows[0]["aesthetic_engine"].startswith("laion/")
    (alone,) = stage.measure_batch(scorer, clips[1:], batches[1:])
    assert alone["aesthetic_score"] == pytest.approx(rows[1]["aesthetic_score"], abs=1e-4)
    # What the library's own loading and the plain formula give.
    tower = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    cells = scorer.scorer._prepared(studio.colour(64, 48, 3))[None]
    with torch.inference_mode():
        embedded = tower(pixel_values=cells).image_embeds
        wanted = head(embedded / embedded.norm(dim=-1, keepdim=True))
    assert rows[1]["aesthetic_score"] == pytest.approx(float(wanted[0]), abs=1e-4)
    # A tower by itself, and what is wrong with a folder.
    tower.save_pretrained(tmp_path / "tower")
    (tmp_path / "tower" / "head.pth").write_bytes((folder / "head.pth").read_bytes())
    other = Aesthetic(engine="laion", model=str(tmp_path / "tower"))
    row = other.measure(other.load(), clips[1], batches[1])
    assert row["aesthetic_score"] == pytest.approx(alone["aesthetic_score"], abs=1e-6)
    good = load_file(folder / "model.safetensors")
    for name in ("vision_model.post_layernorm.bias", "visual_projection.weight"):
        save_file({key: value for key, value in good.items() if key != name}, folder / "model.safetensors")
        with pytest.raises(WeightError, match=f"Missing key.*{name}"):
            laion_aesthetic(Model(folder, SHA))
    save_file(good, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    for broken in (
        "{",
        "[]",
        json.dumps(config | {"vision_config": vision | {"num_attention_heads": 5}}),
        json.dumps(config | {"vision_config": vision | {"hidden_act": "no"}}),
    ):
        (folder / "config.json").write_text(broken)
        with pytest.raises(WeightError, match=r"config\.json' describes no CLIP") as error:
            laion_aesthetic(Model(folder, SHA))
        assert "\n" not in str(error.value)


def test_a_folder_without_its_parts_says_which(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightError, match=r"wants model\.safetensors"):
        laion_aesthetic(Model(tmp_path, SHA))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightError, match=r"wants one of head\.pth and head\.safetensors"):
        laion_aesthetic(Model(tmp_path, SHA))
