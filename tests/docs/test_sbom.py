"""The software bill lists what is pinned and what the wheels hold, with its licences."""

from __future__ import annotations

import importlib.metadata
import json
import re

import pytest

from benchmarks.sbom import BOM, PAGE, libraries, licence, page, pinned

BILL = json.loads(BOM.read_text(encoding="utf-8"))
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("`"): cells
    for line in TEXT.partition("## Shared libraries")[0].splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_every_pinned_distribution_is_listed_with_its_version_and_a_licence() -> None:
    missing = [
        name for name, version in pinned().items() if name not in ROWS or not same(ROWS[name][1], version)
    ]
    assert missing == [], "run: make sbom"
    assert set(ROWS) == set(pinned())
    assert [name for name, cells in ROWS.items() if cells[2] in ("", "not stated")] == []


def same(shown: str, wanted: str) -> bool:
    """Are they one version, but for the mark of a local build such as +cpu?"""
    return shown.partition("+")[0] == wanted


def test_the_page_is_what_the_bill_makes_it() -> None:
    assert page(TEXT, BILL) == TEXT, "run: make sbom"


@pytest.mark.parametrize("name", ["av", "decord", "opencv-python-headless", "pillow", "numpy"])
def test_the_libraries_are_those_that_the_wheel_has(name: str) -> None:
    (wheel,) = (one for one in BILL["components"] if one["name"] == name)
    if wheel["version"] != importlib.metadata.version(name):
        pytest.skip("another version is installed")
    assert [(one["name"], licence(one)) for one in wheel["components"]] == list(libraries(name))


def test_what_is_gpl_or_worse_is_named_in_bold() -> None:
    marked = set(re.findall(r"^\| `(\S+)` \| (lib[a-z0-9]+)\S* \| \*\*", TEXT, re.MULTILINE))
    assert {("av", "libx264"), ("av", "libx265"), ("decord", "libx264"), ("decord", "libavcodec")} <= marked


def test_the_bill_is_cyclonedx_without_addresses() -> None:
    assert (BILL["bomFormat"], BILL["metadata"]["component"]["name"]) == ("CycloneDX", "rushes")
    refs = {one["bom-ref"] for one in BILL["components"]} | {BILL["metadata"]["component"]["bom-ref"]}
    assert {ref for edge in BILL["dependencies"] for ref in [edge["ref"], *edge["dependsOn"]]} == refs
    assert re.findall(r"https?://(?!cyclonedx\.org/)[^\"]*", BOM.read_text()) == []
