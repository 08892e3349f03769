"""Weights: a file pinned by its sha256, its licence, and the ordered places that it can come from.

A catalogue is a TOML file, one table a weight; `weights.toml` beside this module is the program's own, and demo media
use the same form. Whatever the place, a file whose digest differs is refused. Nothing is fetched unless `get` is
called; `find`, which stages call, only looks on this machine.

    WeightError
    +- BadCatalogue   the TOML file is not a catalogue
    +- UnknownWeight  no such name in it
    +- MissingWeight  on none of the local places
    +- WrongDigest    found, but not the pinned bytes
    +- FetchError     no place could deliver it
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.credentials import redacted
from pipeline.scratch import held, sweep

Digest = Field(pattern=r"^[0-9a-f]{64}$")
UNFINISHED = ".fetch-"
"""How the names of folders in the cache begin in which something is being fetched."""
PROJECT = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
"""A project's name on the package index (core metadata, Name): no URL, no option of pip, no second line."""


class WeightError(Exception):
    """A weight cannot be used: one sentence that says what to do."""


class BadCatalogue(WeightError):
    """The file is not a catalogue of weights."""


class UnknownWeight(WeightError):
    """The catalogue has no weight of this name."""


class MissingWeight(WeightError):
    """The weight is on none of the local places."""


class WrongDigest(WeightError):
    """A file was found where the weight should be, and its bytes are not the pinned ones."""


class FetchError(WeightError):
    """No place could deliver the weight."""


class Place(BaseModel):
    """One place of a weight: exactly one of `directory`, `installed`, `hub` and `index` says which kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: str | None = None
    """A local folder that holds the file under the weight's own file name."""
    installed: str | None = Field(default=None, pattern=PROJECT)
    """An installed distribution that carries the file as `member`."""
    hub: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """A model hub's repository, with `member` its file and `revision` the commit."""
    index: str | None = Field(default=None, pattern=PROJECT)
    """A project of the package index, with `version` and the `member` to take out of its archive."""
    member: str | None = None
    """A path inside the package, repository or archive, never one that leads out of it."""
    version: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+-]*$")
    revision: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    sdist: bool = False
    """The archive is the source distribution, not a wheel. pip runs its build step, so it needs `archive_sha256`."""
    archive_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of an index place: pip refuses an archive of other bytes before it looks inside."""

    @field_validator("member")
    @classmethod
    def _inside(cls, member: str | None) -> str | None:
        steps = (member or "x").split("/")
        if (
            set(steps) & {"", ".", ".."}
            or not (member or "x").isprintable()
            or set(":\\") & set(member or "")
        ):
            raise ValueError("a member is a plain path inside its package: no '..', no ':', no beginning '/'")
        return member

    @field_validator("directory")
    @classmethod
    def _local(cls, directory: str | None) -> str | None:
        if "://" in (directory or ""):
            raise ValueError("a directory is a local folder: weights are never loaded from a URL")
        return directory

    @model_validator(mode="after")
    def _one_kind(self) -> Place:
        wanted = {
            "directory": set(),
            "installed": {"member"},
            "hub": {"member", "revision"},
            "index": {"member", "version"},
        }
        kinds = [kind for kind in wanted if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError("a place is one of directory, installed, hub or index")
        given = {key for key in ("member", "version", "revision") if getattr(self, key) is not None}
        of_index = self.sdist or self.archive_sha256 is not None
        if given != wanted[kinds[0]] or (of_index and kinds != ["index"]):
            raise ValueError(f"a place of kind {kinds[0]} takes exactly {sorted(wanted[kinds[0]])}")
        if self.sdist and self.archive_sha256 is None:
            raise ValueError("sdist needs archive_sha256, because what it names is built")
        return self

    def __str__(self) -> str:
        if self.directory is not None:
            return f"directory {self.directory}"
        if self.installed is not None:
            return f"installed package {self.installed}"
        if self.hub is not None:
            return f"hub {self.hub}@{self.revision}: {self.member}"
        return f"{'source' if self.sdist else 'wheel'} of {self.index} {self.version}: {self.member}"


class Weight(BaseModel):
    """One entry of a catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Also the name of its folder in the cache."""
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """File name in the cache and in local directories."""
    size: int = Field(gt=0)
    """Bytes."""
    sha256: str = Digest
    licence: str
    role: str
    """One sentence: what it is, where it comes from."""
    default: bool = False
    """The stages that run without being asked for need it."""
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Found:
    """What `verify` says of one weight: `path` is None and `problem` a sentence when it cannot be used."""

    path: Path | None
    problem: str | None


Fetch = Callable[[Place, Path], Path]
"""Brings the file of a place into a scratch directory and gives its path; raises FetchError."""


def default_cache() -> Path:
    """The folder where fetched weights are kept unless the caller names another."""
    return Path("~/.cache/rushes/weights").expanduser()


def load_catalogue(path: Path | None = None) -> dict[str, Weight]:
    """The weights of a TOML catalogue by name, in its order; the program's own when no path is given.

    Raises BadCatalogue.
    """
    path = path or Path(__file__).with_name("weights.toml")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Weight.model_validate({"name": name, **table}) for name, table in tables.items()}
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BadCatalogue(f"{path} is not a catalogue of weights: {'; '.join(problems)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        raise BadCatalogue(f"{path} is not a catalogue of weights: {error}") from error


def sha256_of(path: Path) -> str:
    """The hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_path(weight: Weight, cache: Path) -> Path:
    """Where the cache keeps a weight."""
    return cache / weight.name / weight.file


def find(name: str, catalogue: Mapping[str, Weight], cache: Path) -> Path:
    """The weight's file on this machine, its digest checked. Raises MissingWeight, WrongDigest, UnknownWeight."""
    weight = _weight(name, catalogue)
    refused = []
    for path in _local_paths(weight, cache):
        if not path.is_file():
            continue
        if path.stat().st_size == weight.size and sha256_of(path) == weight.sha256:
            return path
        refused.append(str(path))
    how = (
        f"run `rushes weights get {name}`, or put {weight.file} ({weight.size} bytes, sha256 {weight.sha256})"
    )
    how += f" at {cache_path(weight, cache)}"
    if refused:
        raise WrongDigest(f"weight {name} is not the pinned file at {', '.join(refused)}: {how}")
    raise MissingWeight(f"weight {name} ({weight.role}) is not on this machine: {how}")


def get(name: str, catalogue: Mapping[str, Weight], cache: Path, fetch: Fetch | None = None) -> Path:
    """The weight's file, fetched into the cache when no local place has it. Raises FetchError, UnknownWeight.

    Places are tried in the catalogue's order; the file appears in the cache complete and checked, or not at all.
    FetchError: no place has it, or the cache cannot be written to.
    """
    weight = _weight(name, catalogue)
    try:
        return find(name, catalogue, cache)
    except (MissingWeight, WrongDigest) as missing:
        remote = [place for place in weight.places if place.hub is not None or place.index is not None]
        if not remote:
            raise FetchError(f"{missing} (it has no place to fetch it from)") from missing
    failures = []
    target = cache_path(weight, cache)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(UNFINISHED, target.parent)
        for place in remote:
            with held(UNFINISHED, target.parent) as scratch:
                try:
                    fetched = (fetch or partial(fetch_place, most_bytes=weight.size))(place, scratch)
                except FetchError as error:
                    failures.append(f"{place}: {error}")
                    continue
                digest = sha256_of(fetched)
                if digest != weight.sha256:
                    failures.append(f"{place}: its sha256 is {digest}, not {weight.sha256}")
                    continue
                _commit(fetched, target)
                return target
    except OSError as error:
        said = f"{target.parent} cannot be written to ({error.strerror or error})"
        raise FetchError(f"weight {name} cannot be kept: {said}: name another folder with --into") from error
    raise FetchError(
        f"weight {name} could not be fetched ({'; '.join(failures)}); put {weight.file} at {target} by hand"
    )


def verify(catalogue: Mapping[str, Weight], cache: Path) -> dict[str, Found]:
    """Every weight's checked path, or the sentence that says why it cannot be used."""
    found = {}
    for name in catalogue:
        try:
            found[name] = Found(find(name, catalogue, cache), None)
        except (MissingWeight, WrongDigest) as error:
            found[name] = Found(None, str(error))
    return found


def fetch_place(place: Place, scratch: Path, most_bytes: int) -> Path:
    """Brings the file of a hub or index place into `scratch`; FetchError when it is larger than `most_bytes`."""
    if place.hub is not None:
        return from_hub(place, scratch, most_bytes)
    return from_index(place, scratch, most_bytes=most_bytes)


def from_index(
    place: Place, scratch: Path, pip_options: Sequence[str] = (), most_bytes: int = sys.maxsize
) -> Path:
    """One member of an archive of the package index, brought by this interpreter's pip without installing it.

    With `archive_sha256`, an archive of other bytes is refused unopened. A member of more than `most_bytes` is not
    unpacked further, whatever the archive says of its size. Raises FetchError.
    """
    wanted = f"{place.index}=={place.version}"
    if place.archive_sha256 is not None:
        wanted += f" --hash=sha256:{place.archive_sha256}"
        pip_options = ["--require-hashes", *pip_options]
    requirements = scratch / "requirements.txt"
    requirements.write_text(wanted + "\n", encoding="utf-8")
    kind = "--no-binary=:all:" if place.sdist else "--only-binary=:all:"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--ignore-requires-python",
        kind,
    ]
    command += ["--disable-pip-version-check", "--dest", str(scratch), *pip_options]
    command += ["--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = sorted(path for path in scratch.iterdir() if path.name.endswith((".whl", ".zip", ".tar.gz")))
    if done.returncode != 0 or len(archives) != 1:
        pinned = f" (the archive's sha256 must be {place.archive_sha256})" if place.archive_sha256 else ""
        raise FetchError((redacted(_last_line(done.stderr)).strip() or "pip gave no archive") + pinned)
    return take_member(archives[0], place.member or "", scratch / "member", most_bytes)


def _weight(name: str, catalogue: Mapping[str, Weight]) -> Weight:
    if name not in catalogue:
        raise UnknownWeight(f"no weight is called {name}; there are {', '.join(sorted(catalogue))}")
    return catalogue[name]


def _local_paths(weight: Weight, cache: Path) -> list[Path]:
    """Directories, then the cache, then installed packages."""
    paths = [Path(place.directory) / weight.file for place in weight.places if place.directory is not None]
    paths.append(cache_path(weight, cache))
    for place in weight.places:
        if place.installed is not None and place.member is not None:
            try:
                distribution = importlib.metadata.distribution(place.installed)
            except importlib.metadata.PackageNotFoundError:
                continue
            paths.append(Path(str(distribution.locate_file(place.member))))
    return paths


def from_hub(place: Place, scratch: Path, most_bytes: int, endpoint: str | None = None) -> Path:
    """The file of a hub place, brought by the hub's client; `endpoint` is another address of the hub.

    A file of more than `most_bytes` by the hub's own word is not begun, and the client refuses one of another size than
    was stated. Raises FetchError.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise FetchError("huggingface_hub is not installed") from error
    bring: Callable[..., Any] = partial(
        hf_hub_download, str(place.hub), str(place.member), revision=place.revision, local_dir=scratch
    )
    try:
        stated: int = bring(dry_run=True, endpoint=endpoint).file_size
        if stated > most_bytes:
            raise FetchError(f"the hub's file has {stated} bytes, the weight {most_bytes}")
        return Path(bring(endpoint=endpoint))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FetchError(why(error)) from error


DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError,
    ValueError,
)  # fmt: skip
"""What readers of archives raise: OSError is bz2's, and that of a full disk; ValueError that of a damaged name."""


def take_member(archive: Path, member: str, target: Path, most_bytes: int) -> Path:
    """Copies one member out of a wheel (zip) or source distribution (tar.gz); nothing else is unpacked.

    Raises FetchError: there is no such plain member, it has more than `most_bytes`, or the archive is damaged.
    """
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive, "r:gz") as tar:
                source = tar.extractfile(member)
                if source is None:
                    raise KeyError(member)
                with source, target.open("wb") as out:
                    _copy(source, out, most_bytes)
        else:
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source, target.open("wb") as out:
                _copy(source, out, most_bytes)
    except (KeyError, IsADirectoryError) as error:
        raise FetchError(f"{archive.name} has no member {member}") from error
    except DAMAGED as error:
        raise FetchError(f"{member} of {archive.name} cannot be unpacked: {why(error)}") from error
    return target


def _copy(source: IO[bytes], out: IO[bytes], most_bytes: int) -> None:
    """Copies a member in pieces; FetchError as soon as it is more than it should be."""
    left = most_bytes
    while piece := source.read(1 << 20):
        left -= len(piece)
        if left < 0:
            raise FetchError(f"the member is larger than the {most_bytes} bytes of the weight")
        out.write(piece)


def _commit(scratch: Path, target: Path) -> None:
    """Moves a finished file of the same directory tree to its name, on disk before it is seen."""
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.chmod(0o644)
    scratch.replace(target)


def why(error: Exception) -> str:
    """What an error says, in one line: its last one, or its class where it says nothing."""
    return redacted(_last_line(str(error))) or type(error).__name__


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
