"""Models that are brought along: found, told apart by digest, read without running anything."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch

from filters.scorers.checkpoint import checked_sha256, fill, read_state, sha256_of
from pipeline.weights import MissingWeight, WeightError, WrongDigest

WHAT = "a model of some kind"
STATE = {"one.weight": torch.arange(6.0).reshape(2, 3), "one.bias": torch.tensor([1.0, 2.0])}


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def same(found):
    return found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("under", ["", "state_dict", "params"])
def test_the_tensors_of_a_checkpoint(tmp_path, under):
    path = tmp_path / "m.pth"
    torch.save({under: STATE, "epoch": 3} if under else STATE, path)
    assert same(read_state(path))


def test_the_tensors_of_a_safetensors_file(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    save_file(STATE, path)
    assert same(read_state(path))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightError, match="is no safetensors file"):
        read_state(path)


def test_nothing_in_a_file_is_run(tmp_path):
    path = tmp_path / "m.pth"
    torch.save(STATE | {"more": Evil(tmp_path / "ran")}, path)
    with pytest.raises(WeightError, match="without running what is in it"):
        read_state(path)
    with pytest.raises(WeightError, match="is no safetensors file"):
        read_state(path.rename(tmp_path / "m.safetensors"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"a": 1}, [STATE["one.bias"]], {"state_dict": [1]}, STATE["one.bias"]])
def test_what_is_no_set_of_named_tensors_is_refused(tmp_path, content):
    path = tmp_path / "m.pth"
    torch.save(content, path)
    with pytest.raises(WeightError, match="should hold tensors by name"):
        read_state(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_is_cut_off_or_garbled_is_one_sentence(tmp_path, legacy):
    path = tmp_path / "m.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=not legacy)
    good = path.read_bytes()
    dice = random.Random(1)
    said = []
    for _ in range(150):
        bad = bytearray(good[: dice.randrange(len(good))] if dice.random() < 0.5 else good)
        for _ in range(dice.randrange(1, 6) if bad else 0):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        path.write_bytes(bad)
        try:
            read_state(path)
        except WeightError as error:
            said.append(str(error))
    assert len(said) > 75
    assert not any("\n" in sentence for sentence in said)


def test_a_checkpoint_of_another_model_is_one_sentence(tmp_path):
    path = Path("m.pth")
    named = {f"part.{name}": value for name, value in STATE.items()}
    module = torch.nn.ModuleDict({"one": torch.nn.Linear(3, 2)})
    fill(module, named, "part.", path)
    assert torch.equal(module["one"].weight, STATE["one.weight"])
    for state, sentence in (
        ({}, "Missing key"),
        ({"part.one.weight": STATE["one.weight"]}, r"Missing key.*one\.bias"),
        (named | {"part.two": STATE["one.bias"]}, r"Unexpected key.*two"),
        (named | {"part.one.bias": torch.zeros(5)}, "size mismatch"),
    ):
        with pytest.raises(WeightError, match=f"of another model or version: .*{sentence}") as error:
            fill(module, state, "part.", path)
        assert "\n" not in str(error.value)


def test_a_digest_is_of_the_bytes_and_of_the_names_in_a_folder(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    assert sha256_of(file, WHAT) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    found = {}
    for name, files in {"x": {"a": b"1", "b": b"2"}, "y": {"a": b"2", "b": b"1"}, "z": {"a": b"1"}}.items():
        for one, content in files.items():
            (tmp_path / name / "deep").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "deep" / one).write_bytes(content)
        found[name] = sha256_of(tmp_path / name, WHAT)
    assert len(set(found.values())) == 3
    (tmp_path / "x").rename(tmp_path / "elsewhere")
    assert sha256_of(tmp_path / "elsewhere", WHAT) == found["x"]


def test_a_pin_is_kept(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    digest = sha256_of(file, WHAT)
    assert checked_sha256(file, digest.upper(), WHAT) == checked_sha256(file, "", WHAT) == digest
    with pytest.raises(WrongDigest, match=f"has sha256 {digest}, not the pinned 0000"):
        checked_sha256(file, "0" * 64, WHAT)


def test_a_model_that_is_not_there_says_what_to_put_there(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none", tmp_path / "empty", Path("")):
        with pytest.raises(MissingWeight, match=r"there is no model at .*: a model of some kind"):
            sha256_of(path, WHAT)
