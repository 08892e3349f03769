"""A model that the user brings: its files found, checked against a pinned digest, and read without running anything."""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.weights import MissingWeight, WeightError, WrongDigest

if TYPE_CHECKING:
    from torch import Tensor, nn

UNDER = ("state_dict", "params")
"""Names under which trainers put the tensors of a checkpoint that holds more."""
UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What torch.load has been seen to raise on a file that is cut off, garbled or holds more than tensors."""


@dataclass(frozen=True)
class Model:
    """A model whose files have been checked."""

    path: Path
    sha256: str
    device: str = "cpu"

    def label(self, engine: str) -> str:
        """What the engine's column says: which engine, and which files."""
        return f"{engine}/{self.sha256[:8]}"


def check_device(device: str) -> None:
    """WeightError: there is no such device here."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise WeightError(
            'there is no GPU here for device = "cuda": set device = "cpu", or run where there is one'
        )


def placed(module: Any, device: str) -> Any:
    """The module ready for inference on the device, on one thread. WeightError: there is no such device."""
    import torch

    check_device(device)
    torch.set_num_threads(1)
    return module.eval().requires_grad_(False).to(device)


def files_of(path: Path, what: str) -> list[Path]:
    """The file, or the files of the folder, in order. MissingWeight: there are none; `what` says what to put there."""
    # An empty name would be the current folder.
    inside = sorted(p for p in path.rglob("*") if p.is_file()) if path != Path() else []
    found = [path] if path.is_file() else inside
    if not found:
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
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightError(f"'{path}' cannot be read: {error.strerror}") from None


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a PyTorch checkpoint, by name; nothing in the file is run.

    WeightError: it is neither, or it holds more than tensors (torch.load with weights_only refuses it).
    """
    import torch

    found = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    under = next((name for name in UNDER if isinstance(found, Mapping) and name in found), None)
    found = found[under] if under else found
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise WeightError(f"'{path}' is no checkpoint: it should hold tensors by name")
    return {str(name): value for name, value in found.items()}


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise WeightError(f"'{path}' needs `pip install '.[scorers]'`") from None
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightError(f"'{path}' is no safetensors file: {_first_line(error)}") from None


def _pickled(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise WeightError(
            f"'{path}' is no checkpoint that can be read without running what is in it"
            f" (save it as safetensors where you trust it): {_first_line(error)}"
        ) from None


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
