"""What a machine cannot promise is one sentence with its consequence and the way out; a good machine is told so."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobs.doctor import Finding, packages, promises, show
from jobs.facts import Facts, filesystem_of, look

GOOD = Facts(
    linux=True,
    root=False,
    networkless=True,
    bounded=True,
    native_bf16=True,
    shm_bytes=1 << 30,
    open_files=65536,
    folder="/runs",
    filesystem="ext4",
    writable=True,
    links=True,
    locks=True,
    syncs=True,
    ray_address=None,
    ray_token=False,
)


def weaker(**changes: Any) -> list[Finding]:
    return [finding for finding in promises(dataclasses.replace(GOOD, **changes)) if not finding.ok]


def test_a_good_machine_keeps_every_promise() -> None:
    found = list(promises(GOOD))
    assert weaker() == []
    assert len({finding.what for finding in found}) == len(found) == 12
    assert all(line.startswith("ok ") for line in show(found).splitlines())


@pytest.mark.parametrize(
    ("changes", "what", "consequence", "way_out"),
    [
        ({"linux": False}, "Linux", "without bound", "Linux container"),
        ({"root": True}, "ordinary user", "owns the machine", "a user of its own"),
        (
            {"networkless": False},
            "decoder isolation",
            "allow-list of protocols alone",
            "user.max_user_namespaces",
        ),
        ({"bounded": False}, "memory bounds", "use up the machine's memory", "cgroup"),
        (
            {"links": False, "filesystem": "exfat"},
            "exclusive creation",
            "only one driver",
            "another filesystem",
        ),
        ({"locks": False}, "run lock", "not turned away", "never start two"),
        ({"filesystem": "nfs4"}, "other machines", "up to its server", "one driver a run"),
        ({"filesystem": "fuse.sshfs"}, "other machines", "up to its server", "one driver a run"),
        ({"filesystem": "tmpfs"}, "power cuts", "no reboot", "on a disk"),
        ({"syncs": False}, "power cuts", "no reboot", "on a disk"),
        ({"shm_bytes": 64 << 20}, "shared memory", "64 MiB free", "--shm-size"),
        ({"shm_bytes": None}, "shared memory", "0 MiB free", "--workers 0"),
        ({"open_files": 1024}, "open files", "loses connections", "ulimit"),
        ({"native_bf16": False}, "bfloat16", "slower", "stay equal"),
        ({"ray_address": "head:6379"}, "Ray token", "runs programs as you", "RAY_AUTH_MODE=token"),
    ],
)
def test_what_is_missing_is_said_with_its_consequence_and_the_way_out(
    changes: dict[str, Any], what: str, consequence: str, way_out: str
) -> None:
    (finding,) = weaker(**changes)
    assert (finding.what, finding.needed) == (what, what == "Linux")
    assert consequence in finding.said
    assert way_out in finding.said
    line = show([finding])
    assert "\n" not in line
    assert line.startswith("MISSING" if what == "Linux" else "WEAKER ")


def test_a_cluster_with_a_token_is_well() -> None:
    assert weaker(ray_address="head:6379", ray_token=True) == []


MOUNTS = r"""22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 28 0:35 / /data rw shared:20 - nfs4 store:/data rw,vers=4.2
41 40 0:36 / /data/fast rw - tmpfs tmpfs rw
42 28 0:37 / /with\040space rw - xfs /dev/vdb rw
43 40 0:38 / /data/fast rw - ext4 /dev/vdc rw
44 28 0:39 / /größe rw - nfs store:/g rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/home/me", "ext4"),
        ("/data", "nfs4"),
        ("/data/runs/a", "nfs4"),
        ("/database", "ext4"),
        ("/data/fast/x", "ext4"),
        ("/with space/x", "xfs"),
        ("/größe/x", "nfs"),
    ],
)
def test_the_filesystem_of_a_folder_is_that_of_its_nearest_mount(folder: str, kind: str) -> None:
    assert filesystem_of(Path(folder), MOUNTS) == kind
    assert filesystem_of(Path(folder), "") == ""


def test_this_machine_is_looked_at_without_a_trace(tmp_path: Path) -> None:
    found = look(str(tmp_path / "not" / "there" / "yet"))
    assert (found.folder, found.linux, found.root) == (str(tmp_path), True, os.geteuid() == 0)
    assert found.links
    assert found.locks
    assert found.syncs
    assert found.bounded
    assert list(tmp_path.iterdir()) == []


def test_every_package_of_an_extra_is_looked_at() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = {name: specs for name, specs in project["optional-dependencies"].items() if name != "dev"}
    named = {re.split("[=<>[]", spec)[0] for specs in extras.values() for spec in specs}
    optional = {one.what for one in packages() if not one.needed}
    assert named == optional
    assert named.isdisjoint(one.what for one in packages() if one.needed)


UNTRIED = ["exclusive creation", "run lock", "power cuts"]


def test_what_was_not_tried_is_neither_well_nor_missing() -> None:
    facts = dataclasses.replace(GOOD, writable=False, links=None, locks=None, syncs=None)
    found = [finding for finding in promises(facts) if finding.ok is None]
    assert [finding.what for finding in found] == UNTRIED
    assert all(
        line.startswith("unknown") and "not tried in /runs" in line for line in show(found).splitlines()
    )
    assert [
        one.what for one in promises(dataclasses.replace(facts, filesystem="tmpfs")) if one.ok is False
    ] == ["power cuts"]


def test_of_a_store_only_the_name_is_known() -> None:
    found = look("s3://bucket/run")
    assert (found.folder, found.filesystem, found.writable) == ("s3://bucket/run", "", False)
    assert [one.what for one in promises(found) if one.ok is None] == [
        *UNTRIED[:2],
        "other machines",
        UNTRIED[2],
    ]


def test_a_folder_that_nothing_can_be_written_in_is_not_tried() -> None:
    found = look("/proc/self")
    assert (found.folder, found.writable, found.links) == ("/proc/self", False, None)


def test_a_key_in_rays_address_is_not_repeated() -> None:
    for address in ("ray://user:SECRET@head:1", "user:SECRET@head:6379"):
        (finding,) = weaker(ray_address=address)
        assert "SECRET" not in finding.said
        assert "carries credentials" in finding.said


@pytest.mark.slow
def test_the_command_says_all_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "doctor", "--out", str(tmp_path / "run")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert all(line.startswith(("ok ", "MISSING ", "absent ", "WEAKER ", "unknown ")) for line in lines)
    assert (done.returncode == 2) == any(line.startswith("MISSING ") for line in lines)
    assert [line.startswith("WEAKER ") for line in lines if " ordinary user " in line] == [os.geteuid() == 0]
    assert any(f"link(2) works in {tmp_path}" in line for line in lines)
