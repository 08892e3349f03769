"""The software bill: docs/sbom.json (CycloneDX) of the distributions of constraints.txt, and docs/sbom.md to read.

`python -m benchmarks.sbom CYCLONEDX_PY` asks that program (cyclonedx-bom, in an environment of its own) about this
interpreter's environment, adds the shared libraries that the wheels bundle, and writes both files.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
BOM, PAGE = ROOT / "docs" / "sbom.json", ROOT / "docs" / "sbom.md"
BEGIN, END = "<!-- written by `make sbom` -->", "<!-- end -->"
LIBRARY = re.compile(r"(lib[\w+-]+?)(?:-[0-9a-f]{8})*(\.so(?:\.\w+)*|\.\d[\w.]*\.so)")
"""A shared library's file name; the hashes are those that auditwheel puts in."""
LICENCES: Mapping[str, str] = {
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
    "libpostproc": "GPL-2.0-or-later",
    "libmp3lame": "LGPL-2.0-or-later",
    "libgmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libnettle": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libhogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libgnutls": "LGPL-2.1-or-later",
    "libasound": "LGPL-2.1-or-later",
    "libgeos": "LGPL-2.1-or-later",
    "libgeos_c": "LGPL-2.1-or-later",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libquadmath": "LGPL-2.1-or-later",
    "libfreetype": "FTL OR GPL-2.0-or-later",
    "libcrypto": "OpenSSL",
    "libssl": "OpenSSL",
    "libSvtAv1Enc": "BSD-3-Clause-Clear",
    "libaom": "BSD-2-Clause",
    "libavif": "BSD-2-Clause",
    "libdav1d": "BSD-2-Clause",
    "libopencore": "Apache-2.0",
    "libopenjp2": "BSD-2-Clause",
    "libopus": "BSD-3-Clause",
    "libvpl": "MIT",
    "libvpx": "BSD-3-Clause",
    "libwebp": "BSD-3-Clause",
}
"""What the projects state, of what is under copyleft and of codecs; FFmpeg's libraries say it themselves."""
MARKED = re.compile(r"GPL|nonfree")


def pinned() -> dict[str, str]:
    """Name and version of every distribution of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def licence(component: Mapping[str, Any]) -> str:
    """What a component of the bill states, as one expression."""
    found = component.get("licenses", [])
    names = [one.get("expression") or one["license"].get("id") or one["license"]["name"] for one in found]
    plain = [name for name in names if "::" not in name]  # a classifier repeats it, and says less
    classified = [name.rsplit(" :: ", 1)[-1] for name in names if name.count("::") > 1]
    return " AND ".join(dict.fromkeys(" ".join(name.split()) for name in plain or classified))


def stated(name: str) -> str:
    """What a distribution's old License field says; "not stated" without one."""
    (field, *_) = importlib.metadata.metadata(name).get_all("License") or ["not stated"]
    return str(field).strip().splitlines()[0]


def libraries(name: str) -> Iterator[tuple[str, str]]:
    """The shared libraries that a distribution's wheel bundles, hashes left out, each with its licence or ""."""
    for file in sorted(importlib.metadata.files(name) or [], key=str):
        found = LIBRARY.fullmatch(file.name)
        if found is None or not (
            file.parts[0].endswith(".libs") or "lib" in file.parts[:-1] or len(file.parts) == 2
        ):
            continue
        shown = found[1] + found[2]
        said = re.search(rb"lib\w+ license: ([\x20-\x7e]+)", Path(str(file.locate())).read_bytes())
        yield shown, said[1].decode() if said else LICENCES.get(found[1].partition("-")[0], "")


def ffmpeg(name: str) -> str:
    """How the FFmpeg that a wheel bundles was configured, as its libavcodec says; "" without one."""
    for file in importlib.metadata.files(name) or []:
        if file.name.startswith("libavcodec"):
            said = re.search(rb"--[a-z][\x20-\x7e]{60,}", Path(str(file.locate())).read_bytes())
            return said[0].decode() if said else ""
    return ""


def needed() -> dict[str, str]:
    """By canonical name, why a distribution is installed: "run", or the extra that asks for it."""
    reasons: dict[str, str] = {}

    def follow(requirement: Requirement, extra: str, reason: str) -> None:
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            return
        new = name not in reasons
        reasons.setdefault(name, reason)
        try:
            inner = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            del reasons[name]
            return
        for asked in sorted(requirement.extras) if not new else ["", *sorted(requirement.extras)]:
            for line in inner:
                one = Requirement(line)
                if new or (one.marker is not None and canonicalize_name(one.name) not in reasons):
                    follow(one, asked, reason)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = sorted(project["optional-dependencies"].items(), key=lambda extra: (extra[0] == "dev", extra))
    for reason, lines in (("run", project["dependencies"]), *extras):
        for line in lines:
            follow(Requirement(line), "", reason)
    return reasons


def bill(program: str) -> dict[str, Any]:
    """The CycloneDX bill of the pinned distributions, with what their wheels bundle inside them."""
    command = [program, "environment", sys.executable, "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-format", "JSON", "--output-reproducible"]
    whole: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    names = {canonicalize_name(name) for name in pinned()}
    kept = [one for one in whole["components"] if canonicalize_name(one["name"]) in names]
    why = needed()
    for one in kept:
        for noise in ("externalReferences", "description", "properties"):
            one.pop(noise, None)
        if not one.get("licenses"):
            one["licenses"] = [{"license": {"name": stated(one["name"])}}]
        one["scope"] = "required" if why.get(canonicalize_name(one["name"])) == "run" else "optional"
        one["components"] = [bundled(*library) for library in libraries(one["name"])]
        if config := ffmpeg(one["name"]):
            one["properties"] = [{"name": "rushes:ffmpeg-configuration", "value": config}]
        one["properties"] = [
            *one.get("properties", []),
            {"name": "rushes:needed-by", "value": why.get(canonicalize_name(one["name"]), "")},
        ]
    refs = {one["bom-ref"] for one in kept}
    edges = [one for one in whole["dependencies"] if one["ref"] in refs]
    for edge in edges:
        edge["dependsOn"] = [ref for ref in edge.get("dependsOn", []) if ref in refs]
    about = {"component": whole["metadata"]["component"]}
    head = {key: whole[key] for key in ("$schema", "bomFormat", "specVersion", "version")}
    root = {"ref": about["component"]["bom-ref"], "dependsOn": sorted(refs)}
    return head | {"metadata": about, "components": kept, "dependencies": [root, *edges]}


def bundled(name: str, said: str) -> dict[str, Any]:
    """One shared library as a component inside the component of its wheel."""
    plain: dict[str, Any] = {"type": "library", "name": name}
    return plain | ({"licenses": [{"license": {"name": said}}]} if said else {})


def tables(bom: Mapping[str, Any]) -> str:
    """The two tables and the list of the page."""
    ordered = sorted(bom["components"], key=lambda one: canonicalize_name(one["name"]))
    reasons = {one["name"]: one["properties"][-1]["value"] for one in ordered}
    lines = [
        "## Distributions",
        "",
        "| distribution | version | licence | for |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{one['name']}` | {one['version']} | {licence(one)} | {reasons[one['name']] or '-'} |"
        for one in ordered
    ]
    lines += [
        "",
        "## Shared libraries inside wheels",
        "",
        "| wheel | library | licence |",
        "| --- | --- | --- |",
    ]
    for one in ordered:
        for library in one["components"]:
            said = licence(library)
            shown = f"**{said}**" if MARKED.search(said) else said or "see the package"
            lines.append(f"| `{one['name']}` | {library['name']} | {shown} |")
    lines += ["", "## How the bundled FFmpegs were configured", ""]
    for one in ordered:
        config = [p["value"] for p in one["properties"] if p["name"] == "rushes:ffmpeg-configuration"]
        lines += [f"- `{one['name']}`: `{text}`" for text in config]
    return "\n".join(lines)


def page(text: str, bom: Mapping[str, Any]) -> str:
    """The page with what stands between its markers made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(bom)}\n\n{END}{after}"


def main(program: str) -> None:
    bom = bill(program)
    found = {canonicalize_name(one["name"]): one["version"].partition("+")[0] for one in bom["components"]}
    wrong = [f"{n}=={v}" for n, v in pinned().items() if found.get(canonicalize_name(n)) != v]
    if wrong:
        sys.exit(f"this environment is not that of constraints.txt: {', '.join(wrong)}: run `make setup`")
    BOM.write_text(json.dumps(bom, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), bom), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
