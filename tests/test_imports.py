"""Imports go one way, the import names are ours alone, and heavy libraries wait until they are needed."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "pipeline": set[str](),
    "filters": {"pipeline"},
    "captioner": {"pipeline"},
    "balance": {"pipeline"},
    "review": {"pipeline"},
    "jobs": {"pipeline", "filters", "captioner", "balance", "review"},
}
"""By package, the others of ours that its files may import."""
HEAVY = (
    "av",
    "cv2",
    "decord",
    "onnxruntime",
    "paddleocr",
    "pandas",
    "rapidocr",
    "ray",
    "scenedetect",
    "torch",
)
NETWORKS = ROOT / "filters" / "scorers" / "networks"
"""Files whose classes are PyTorch's: they may import it, and only a stage's `load` may import them."""
WAITING = (*HEAVY, "fsspec", "jinja2", "numpy", "pyarrow", "pydantic", "tqdm")
"""What `import jobs.cli` must not bring, so that `--help` answers at once."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names that a file imports, at its head or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    others = set(MAY_IMPORT) - {package} - MAY_IMPORT[package]
    assert len(modules(package)) > 1
    wrong = {path.name: found for path in modules(package) if (found := others & set(imported(path)))}
    assert not wrong


def test_every_package_of_the_tree_has_its_direction() -> None:
    """A new top-level package must be placed in MAY_IMPORT."""
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found - {"benchmarks", "examples", "tests", "recipes"} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_other_distribution_claims_our_names(package: str) -> None:
    owners = importlib.metadata.packages_distributions().get(package, [])
    assert set(owners) <= {"rushes"}


def loaded_after(statement: str, names: tuple[str, ...]) -> list[str]:
    """Which of these libraries a fresh interpreter holds after a statement."""
    code = f"import sys\n{statement}\nprint(*(name for name in {names!r} if name in sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_command_imports_nothing_heavy() -> None:
    assert loaded_after("import jobs.cli", WAITING) == []
    assert loaded_after("import numpy", WAITING) == ["numpy"]


def test_no_module_imports_a_heavy_library_at_its_head() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in MAY_IMPORT
        for path in modules(package)
        if path.parent != NETWORKS
    ]
    assert loaded_after("import " + ", ".join(names), HEAVY) == []
