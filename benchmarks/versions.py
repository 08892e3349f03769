"""What code each stage's values come from: a change of it asks for another version, or for a second look.

    python -m benchmarks.versions      # writes tests/data/stages.json

A stage's fingerprint covers its settings, weights and version, and not its code: a changed formula under the same
version would leave old columns in place. So the file holds, by stage, the version and a digest of the code that the
stage is made of (its file and those of `filters` and `captioner` that this imports, comments and docstrings apart), and
a test compares. Where the values stay as they were, the file is written anew; else the version is raised first.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tests" / "data" / "stages.json"
PACKAGES = ("filters", "captioner")


def stages() -> dict[str, dict[str, Any]]:
    """By stage: its version, and the digest of its code; two of one name are told apart by their class."""
    packages = [importlib.import_module(package) for package in PACKAGES]
    found = [stage for package in packages for stage in package.STAGES]
    found += [stage for stage in importlib.import_module("captioner").MODEL_STAGES if stage not in found]
    named: dict[str, dict[str, Any]] = {}
    for stage in found:
        name = f"{stage.name} {type(stage).__name__}" if stage.name in named else stage.name
        code = digest(ROOT / f"{type(stage).__module__.replace('.', '/')}.py")
        named[name] = {"version": stage.version, "code": code}
    return named


def digest(path: Path) -> str:
    """16 hex digits over the code of a file and of what it imports of PACKAGES, at its head or in a function."""
    seen: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            waiting.extend(imported(tree))
            seen[file] = ast.dump(plain(tree))
    listed = [f"{file.relative_to(ROOT)} {seen[file]}" for file in sorted(seen)]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]


def imported(tree: ast.AST) -> Iterator[Path]:
    """The files of PACKAGES that a module imports; what is imported for types alone is among them."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = ROOT / f"{name.replace('.', '/')}.py"
            if name.split(".")[0] in PACKAGES and file.is_file():
                yield file


def plain(tree: ast.Module) -> ast.Module:
    """The module without docstrings and other bare texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return tree


def _is_text(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def main() -> None:
    FILE.write_text(json.dumps(stages(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{FILE.relative_to(ROOT)}: {len(stages())} stages")


if __name__ == "__main__":
    main()
