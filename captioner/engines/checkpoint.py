"""A language model's checkpoint that the user brings: found, checked against its pin, and never run as code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.engines.digests import LEAST_BYTES, default_folder, kept
from pipeline.weights import MissingWeight, WeightError, WrongDigest

LARGE_LAYERS = "model.safetensors.index.json"
COUNTED = (".json", ".safetensors", ".jinja", ".txt", ".model", ".tiktoken")
"""Suffixes of the files that say what the model is; a README may change."""
WANTED = (
    "download one (Skywork/SkyCaptioner-V1, or any Qwen-VL) with its *.safetensors, *.json and *.txt files, such as by "
    "`hf download Skywork/SkyCaptioner-V1 --local-dir FOLDER`, and name the folder"
)
EYES = "vision_config"
"""What the config of a model that sees has."""
HASHERS = 4


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are all there."""

    folder: Path
    sha256: str
    """Over the names and digests of the files that count."""
    config: dict[str, Any]

    @property
    def family(self) -> str:
        """The architecture's name, such as qwen2_5_vl."""
        return str(self.config.get("model_type", "unknown"))

    @property
    def sees(self) -> bool:
        """Whether it looks at pictures: one that only reads can fuse and judge."""
        return EYES in self.config

    @property
    def label(self) -> str:
        return f"{self.family}/{self.sha256[:8]}"


def found(folder: str, pinned: str = "") -> Checkpoint:
    """The checkpoint in a folder. MissingWeight: it, or a file of it, is not there. WrongDigest: it is not the pinned.

    WeightError: its weights are not safetensors, or a file of it is no JSON.
    """
    path = checked(folder)
    sha256 = digest(path)
    if pinned and sha256 != pinned.lower():
        raise WrongDigest(
            f"the checkpoint in '{path}' has sha256 {sha256}, not the pinned {pinned}: it is another one"
        )
    return Checkpoint(path, sha256, _page(path / "config.json"))


def checked(folder: str) -> Path:
    """The folder, once the files that a checkpoint needs are in it; no weight is read. Errors as `found`."""
    path = Path(folder)
    if not folder or not path.is_dir():
        raise MissingWeight(f"there is no checkpoint at '{folder}': {WANTED}")
    if not (path / "config.json").is_file():
        raise MissingWeight(f"'{path}' is no checkpoint, it has no config.json: {WANTED}")
    _page(path / "config.json")
    weights = sorted(one.name for one in path.glob("*.safetensors"))
    if not weights and any(path.glob("*.bin")):
        raise WeightError(
            f"'{path}' has pickled weights (*.bin), which can run code: take one with safetensors"
        )
    if not weights:
        raise MissingWeight(f"'{path}' has no *.safetensors: {WANTED}")
    if (path / LARGE_LAYERS).is_file():
        named = set(_page(path / LARGE_LAYERS).get("weight_map", {}).values())
        if lost := sorted(named - set(weights)):
            raise MissingWeight(f"'{path}' wants {lost[0]} and {len(lost) - 1} more of its weights: {WANTED}")
    if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise MissingWeight(f"'{path}' has no tokenizer: {WANTED}")
    return path


def digest(path: Path) -> str:
    """Hex sha256 over the names and digests of the checkpoint's files that count."""
    files = sorted(_counted(path))
    try:
        with ThreadPoolExecutor(HASHERS) as hashers:
            digests = list(hashers.map(_sha256, files))
    except OSError as error:
        raise WeightError(f"'{path}' cannot be read: {error.strerror}") from None
    listed = "".join(f"{sha}  {one.name}\n" for sha, one in zip(digests, files, strict=True))
    return hashlib.sha256(listed.encode()).hexdigest()


def known_digest(path: Path, folder: Path | None = None, least_bytes: int = LEAST_BYTES) -> str:
    """As `digest`, without reading files that have not changed since; `folder` keeps what is known."""
    try:
        files = sorted(_counted(path))
        return kept(files, lambda: digest(path), folder or default_folder(), least_bytes)
    except OSError as error:
        raise WeightError(f"'{path}' cannot be read: {error.strerror}") from None


def _counted(path: Path) -> Iterator[Path]:
    return (one for one in path.iterdir() if one.suffix in COUNTED and one.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _page(path: Path) -> dict[str, Any]:
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightError(f"'{path}' cannot be read: {error}") from None
    if not isinstance(page, dict):
        raise WeightError(f"'{path}' is no JSON object")
    return page
