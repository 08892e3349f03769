from __future__ import annotations

import dataclasses
import hashlib
import pickle

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from filters.dedup import COLUMNS, find_duplicates
from filters.descriptors.encoded import Encoded
from filters.descriptors.sscd import load_sscd
from filters.embedding import Embedding
from filters.phash import PHash
from pipeline.stage import ClipError
from pipeline.weights import MissingWeight, WeightError, WrongDigest

NO_BARS = {f"border_{side}_ratio": 0.0 for side in ("left", "right", "top", "bottom")}
UPSTREAM = {"border": NO_BARS}


@pytest.fixture(scope="module")
def lite0():
    stage = Embedding()
    return stage, stage.load()


def vectors(row):
    return np.array(row["embedding"], np.float64)


def measured(loaded, studio, images, seconds=None):
    stage, state = loaded
    clip = studio.clip(seconds or len(images), upstream=UPSTREAM)
    return stage.measure(state, clip, studio.batch(images))


def test_vectors_have_length_one_and_tell_pictures_apart(studio, lite0):
    images = [studio.colour(320, 180, seed) for seed in range(4)] + [studio.face()[::2, ::2]]
    row = measured(lite0, studio, images[:4])
    found = vectors(row)
    assert found.shape == (3, 128)
    assert row["embedding_frames"] == [0, 48, 72]
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=2e-3)
    face = vectors(measured(lite0, studio, [images[4]]))[0]
    assert (found @ face).max() < 0.6
    assert row["embedding_engine"] == "lite0/1"


@pytest.mark.parametrize("edit", ["mirror", "crop", "codec", "small"])
def test_an_edited_picture_keeps_its_vector(studio, lite0, edit):
    image = studio.stop_sign()
    copy = {
        "mirror": np.ascontiguousarray(image[:, ::-1]),
        "crop": np.ascontiguousarray(image[36:324, 64:576]),
        "codec": cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 1),
        "small": cv2.resize(image, (213, 120), interpolation=cv2.INTER_AREA),
    }[edit]
    one, two = (vectors(measured(lite0, studio, [each]))[0] for each in (image, copy))
    assert one @ two > 0.7


def test_bars_are_cut_off_before_anything_is_measured(studio, lite0):
    stage, state = lite0
    image = studio.colour(320, 180, 1)
    boxed = cv2.copyMakeBorder(image, 60, 60, 0, 0, cv2.BORDER_CONSTANT)
    border = NO_BARS | {"border_top_ratio": 0.2, "border_bottom_ratio": 0.2}
    clip = studio.clip(1, 320, 300, upstream={"border": border})
    plain = measured(lite0, studio, [image])
    cut = stage.measure(state, clip, studio.batch([boxed]))
    assert cut["embedding"] == plain["embedding"]
    assert cut["embedding_thumbs"] == plain["embedding_thumbs"]


def test_flat_frames_are_marked(studio, lite0):
    row = measured(
        lite0, studio, [np.full((90, 160, 3), 7, np.uint8), studio.colour(160, 90), studio.colour(160, 90)]
    )
    assert row["embedding_flat"] == [True, *[False] * (len(row["embedding_flat"]) - 1)]


def test_classes_are_named_by_the_same_network_over_the_frames_that_show_something(studio, lite0):
    sign, grey = studio.stop_sign(), np.full((360, 640, 3), 7, np.uint8)
    row = measured(lite0, studio, [sign, grey, sign], seconds=4)
    assert row["embedding_flat"].count(True) == 1
    assert row["class_labels"][0] == "street sign"
    assert row["class_scores"][0] > 0.25
    assert row["class_scores"] == sorted(row["class_scores"], reverse=True)
    assert len(row["class_labels"]) == 10
    blank = measured(lite0, studio, [grey])
    assert (blank["class_labels"], blank["class_scores"]) == (None, None)


# --- with the search


def clip_row(name, loaded, studio, images):
    upstream = {"border": NO_BARS}
    clip = studio.clip(len(images), 640, 360, upstream=upstream)
    phash = PHash()
    values = phash.measure(phash.load(), clip, studio.batch(images))
    shape = {"shot_id": name, "is_image": False, "width": 640, "height": 360, "clean_area_ratio": 1.0}
    rest = {"clip_id": name, "duration_s": float(len(images)), "sharpness": 1.0}
    return {**shape, **rest, **values, **measured(loaded, studio, images)}


def as_table(rows):
    plain = {"clip_id": pa.string(), "shot_id": pa.string(), "is_image": pa.bool_(), "width": pa.int32()}
    plain |= {"height": pa.int32(), "clean_area_ratio": pa.float64(), "duration_s": pa.float64()}
    plain |= {"sharpness": pa.float64()}
    schema = pa.schema([*plain.items(), *PHash.columns, *Embedding.columns])
    return pa.Table.from_pylist(rows, schema=schema).select(COLUMNS)


def scene(studio, seed):
    wide = studio.colour(760, 360, seed)
    return [np.ascontiguousarray(wide[:, 20 * i : 20 * i + 640]) for i in range(5)]


CROPS = {
    "middle 80 %": lambda image: image[36:324, 64:576],
    "corner 75 %": lambda image: image[:270, :480],
    "4:3": lambda image: image[:, 80:560],
    "mirrored 80 %": lambda image: image[36:324, 64:576][:, ::-1],
}


@pytest.fixture(scope="module")
def originals(studio, lite0):
    return [clip_row(f"o{seed}", lite0, studio, scene(studio, seed)) for seed in range(6)]


@pytest.mark.parametrize("crop", CROPS)
def test_a_cropped_copy_is_found_by_its_vectors(studio, lite0, originals, crop):
    images = [np.ascontiguousarray(CROPS[crop](image)) for image in scene(studio, 3)]
    rows = [*originals, clip_row("copy", lite0, studio, images)]
    found = {one["clip_id"]: one for one in find_duplicates(as_table(rows)).to_pylist()}
    together = {
        name for name, one in found.items() if one["duplicate_cluster"] == found["copy"]["duplicate_cluster"]
    }
    assert together == {"o3", "copy"}
    kinds = [found[name]["duplicate_kind"] for name in sorted(together)]
    assert sorted(map(str, kinds)) == ["None", "near"]
    hashes_alone = as_table([{**one, **dict.fromkeys(Embedding.columns.names)} for one in rows])
    assert find_duplicates(hashes_alone).column("duplicate_rank").to_pylist() == [0] * len(rows)


def test_vectors_of_another_engine_are_not_compared(studio, lite0, originals):
    images = [np.ascontiguousarray(CROPS["middle 80 %"](image)) for image in scene(studio, 3)]
    copy = as_table([clip_row("copy", lite0, studio, images)])
    of = {
        label: find_duplicates(copy, earlier=[("r", as_table([{**originals[3], "embedding_engine": label}]))])
        .column("duplicate_of")
        .to_pylist()
        for label in ("lite0/1", "sscd/12345678")
    }
    assert of == {"lite0/1": ["o3"], "sscd/12345678": [None]}


# --- SSCD


def random_resnet(width=4, blocks=(3, 4, 6, 3), dimensions=512, seed=0):
    """A state dict of ResNet-50's names and form, with thinner layers, as the authors' torchvision files have it."""
    dice = torch.Generator().manual_seed(seed)
    state = {}

    def conv(at, norm, into, of, kernel):
        state[f"backbone.{at}.weight"] = (
            torch.randn(into, of, kernel, kernel, generator=dice) * (of * kernel**2) ** -0.5
        )
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            state[f"backbone.{norm}.{part}"] = torch.full((into,), value)
        state[f"backbone.{norm}.num_batches_tracked"] = torch.tensor(1)

    conv("conv1", "bn1", width, 3, 7)
    before = width
    for layer, count in enumerate(blocks, 1):
        inside = width * 2 ** (layer - 1)
        for number in range(count):
            at = f"layer{layer}.{number}."
            conv(f"{at}conv1", f"{at}bn1", inside, before, 1)
            conv(f"{at}conv2", f"{at}bn2", inside, inside, 3)
            conv(f"{at}conv3", f"{at}bn3", 4 * inside, inside, 1)
            if number == 0:
                conv(f"{at}downsample.0", f"{at}downsample.1", 4 * inside, before, 1)
            before = 4 * inside
    state["backbone.fc.weight"] = torch.randn(dimensions, before, generator=dice) * before**-0.5
    state["backbone.fc.bias"] = torch.zeros(dimensions)
    return state


@pytest.fixture(scope="module")
def sscd_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sscd") / "sscd.torchvision.pt"
    torch.save(random_resnet(), path)
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_sscd_runs_on_a_checkpoint_of_its_architecture(studio, sscd_file):
    stage = Embedding(engine="sscd", model=str(sscd_file), model_sha256=digest(sscd_file))
    assert stage.weights == ()
    assert stage.gpus == 0
    assert dataclasses.replace(stage, device="cuda").gpus == 1
    state = stage.load()
    pictures = [[studio.colour(320, 180, 3 * clip + i) for i in range(3)] for clip in range(3)]
    clips = [studio.clip(3, upstream=UPSTREAM)] * 3
    batches = [studio.batch(images) for images in pictures]
    together = stage.measure_batch(state, clips, batches)
    assert all(vectors(row).shape[1] == 512 for row in together)
    assert {row["embedding_engine"] for row in together} == {f"sscd/{digest(sscd_file)[:8]}"}
    assert [row["class_labels"] for row in together] == [None] * 3
    for clip, batch, row in zip(clips, batches, together, strict=True):
        alone = stage.measure(state, clip, batch)
        assert vectors(alone) == pytest.approx(vectors(row), abs=2e-3)
        assert {**alone, "embedding": 0} == {**row, "embedding": 0}


def test_planned_without_a_pin_it_is_bound_to_the_file_that_is_there(sscd_file, tmp_path):
    path = tmp_path / "model.torchvision.pt"
    path.write_bytes(sscd_file.read_bytes())
    stage = Embedding(engine="sscd", model=str(path)).pinned()
    assert stage.model_sha256 == digest(sscd_file)
    path.write_bytes(b"another")
    with pytest.raises(WrongDigest):
        stage.load()


def test_safetensors_of_the_same_names_are_read(sscd_file, tmp_path):
    from safetensors.torch import save_file

    save_file(random_resnet(), tmp_path / "sscd.safetensors")
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    one, two = (
        load_sscd(path, "0" * 64, "cpu").encode([picture]).vectors
        for path in (sscd_file, tmp_path / "sscd.safetensors")
    )
    assert np.array_equal(one, two)


def test_the_weights_count_by_their_digest_not_by_their_place(sscd_file, tmp_path):
    moved, other = tmp_path / "moved.pt", tmp_path / "other.pt"
    moved.write_bytes(sscd_file.read_bytes())
    torch.save(random_resnet(seed=1), other)
    prints = [Embedding(engine="sscd", model=str(path)).fingerprint({}) for path in (sscd_file, moved, other)]
    assert prints[0] == prints[1] != prints[2]
    assert Embedding(model=str(other), device="cuda").fingerprint({}) == Embedding().fingerprint({})


def test_a_wrong_sscd_file_is_refused_with_a_sentence(sscd_file, tmp_path):
    with pytest.raises(MissingWeight, match=r"sscd_disc_mixup\.torchvision\.pt"):
        Embedding(engine="sscd", model=str(tmp_path / "none.pt")).ready(here=False)
    with pytest.raises(WrongDigest, match="not the pinned"):
        Embedding(engine="sscd", model=str(sscd_file), model_sha256="0" * 64).load()
    other = tmp_path / "other.pt"
    state = random_resnet()
    del state["backbone.layer3.2.conv2.weight"]
    torch.save(state, other)
    with pytest.raises(WeightError, match="another model"):
        Embedding(engine="sscd", model=str(other)).load()
    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps({"backbone.conv1.weight": print}, protocol=2))
    with pytest.raises(WeightError, match="is no checkpoint that can be read"):
        Embedding(engine="sscd", model=str(evil)).load()
    if not torch.cuda.is_available():
        asked = Embedding(engine="sscd", model=str(sscd_file), device="cuda")
        asked.ready(here=False)
        with pytest.raises(WeightError, match="no GPU"):
            asked.ready(here=True)


def test_a_vector_that_is_not_a_number_is_the_clips_error_and_no_other_clips(studio):
    class Broken:
        label, batched = "broken/1", True

        def encode(self, pictures):
            found = np.ones((len(pictures), 4), np.float32)
            found[0] = np.nan
            return Encoded(found, None)

    clips = [studio.clip(1, upstream=UPSTREAM)] * 2
    batches = [studio.batch([studio.colour(64, 64, seed)]) for seed in range(2)]
    first, second = Embedding().measure_batch(Broken(), clips, batches)
    assert isinstance(first, ClipError)
    assert first.reason == "not_finite"
    assert second["embedding"] == [[1.0] * 4]
