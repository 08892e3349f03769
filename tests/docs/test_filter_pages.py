"""The pages about filters and weights say what is there, and their code runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import filters
from pipeline.weights import load_catalogue

ROOT = Path(__file__).parents[2]


def block(page: str, path: str) -> str:
    """The code block of a page whose first line names a file."""
    (found,) = re.findall(rf"```python\n# {re.escape(path)}\n(.*?)```", page, re.DOTALL)
    return found


@pytest.mark.slow
def test_the_example_of_adding_a_filter_runs(tmp_path):
    """In a copy of filters/, with the file, the line and the test of the page."""
    page = (ROOT / "docs" / "adding-a-filter.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "filters", tmp_path / "filters", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "filters" / "fade.py").write_text(block(page, "filters/fade.py"))
    listing = tmp_path / "filters" / "__init__.py"
    line = block(page, "filters/__init__.py")
    text = listing.read_text().replace("    PHash(),\n", f"    PHash(),\n{line}")
    listing.write_text(
        text.replace("from filters.faces", "from filters.fade import Fade\nfrom filters.faces")
    )
    tests = tmp_path / "tests"
    (tests / "filters").mkdir(parents=True)
    (tests / "contracts").mkdir()
    shutil.copy(ROOT / "tests" / "filters" / "conftest.py", tests / "filters")
    shutil.copy(ROOT / "tests" / "contracts" / "test_stages.py", tests / "contracts")
    (tests / "filters" / "test_fade.py").write_text(block(page, "tests/filters/test_fade.py"))
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # pytest's markers
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--import-mode=importlib",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, "-k", "fade or unique", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 18, done.stdout[-500:]


def test_the_table_of_filters_names_every_stage_column_and_weight():
    page = (ROOT / "docs" / "filters.md").read_text(encoding="utf-8")
    table = page.split("## Stages")[1].split("\n## ")[0]
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", table, re.MULTILINE)}
    assert set(rows) == {stage.name for stage in filters.STAGES}
    for stage in filters.STAGES:
        missing = [
            name for name in (*stage.columns.names, *stage.weights) if f"`{name}`" not in rows[stage.name]
        ]
        assert not missing, f"{stage.name}: {missing}"


def test_the_page_of_weights_names_every_weight_and_its_licence():
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    for weight in load_catalogue().values():
        assert re.search(rf"\| `{re.escape(weight.name)}` \|.*\| {re.escape(weight.licence)} \|", page), (
            weight.name
        )
