"""A model that the user brings: its files found, checked against a pinned digest, and read without running anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.weights import MissingWeight, WeightError, WrongDigest

if TYPE_CHECKING:
    from torch import Tensor, nn

BLOCK = 1 << 20


def files_of(path: Path, what: str) -> list[Path]:
    """The file, or the files of the folder, in order. MissingWeight: there are none; `what` says what to put there."""
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if not str(path) or not found:
        raise MissingWeight(f"there is no model at '{path}': {what}")
    return found


def sha256_of(path: Path, what: str) -> str:
    """Hex digest of a file's bytes, or over the names and digests of a folder's files. Errors as `files_of`."""
    files = files_of(path, what)
    if path.is_file():
        return _digest(path)
    listed = "".join(f"{_digest(one)}  {one.relative_to(path).as_posix()}\n" for one in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def checked_sha256(path: Path, pinned: str, what: str) -> str:
    """The digest, once it is the pinned one (an empty pin takes any). WrongDigest: it is not. Errors as `files_of`."""
    found = sha256_of(path, what)
    if pinned and found != pinned.lower():
        raise WrongDigest(
            f"the model at '{path}' has sha256 {found}, not the pinned {pinned}: it is another one"
        )
    return found


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a PyTorch checkpoint, by name; nothing in the file is run.

    WeightError: it is neither, or it holds more than tensors (torch.load with weights_only refuses it).
    """
    import pickle

    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise WeightError(
            f"'{path}' is no checkpoint that can be read safely: {_first_line(error)}"
        ) from None
    found = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise WeightError(f"'{path}' is no checkpoint: it should hold tensors by name")
    return dict(found)


def fill(module: nn.Module, state: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    """Puts the tensors whose names begin with `prefix` into the module, every one of it, strictly.

    WeightError: one is missing, left over or of another shape: it is the checkpoint of another model or version.
    """
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise WeightError(f"'{path}' is the checkpoint of another model or version: {lines[:300]}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
