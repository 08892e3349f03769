"""One bad file never stops the job or harms its neighbours: the hostile corpus, and seeded damage to plain files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.hostile import corpus
from benchmarks.hostile.corpus import Entry
from benchmarks.hostile.surgery import mutant
from benchmarks.watch import watch
from pipeline.clip import VIDEOS
from pipeline.frames import Decoder, Limits, VideoIndex
from pipeline.ingest import Ingest, merge
from pipeline.reasons import MediaError, Reason
from pipeline.runner import Done
from pipeline.sources import Sources
from pipeline.store import Store

MOST_S = 60.0
"""For the ingest of the whole corpus, Ray's start apart."""
MOST_BYTES = 512 << 20
"""Resident in the decoding process."""
MEASURED = """
import atexit, resource, sys
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr))
from jobs.cli import main
main()
"""
"""The command, and on its last line the peak in KiB of the largest process that it started."""
RECIPE = """
about = "Anything that is not black"
[keep.video]
black_ratio = { max = 0.5 }
[shard]
resolution = "256p"
frame_counts = [1, 17]
fps = [16]
max_upscale_ratio = 20.0
"""
SETTINGS = """
sources = {sources}
stages = ["black"]
precision = "fp32"
recipes = [{recipe}]
segment = {{ min_clip_s = 0.7, max_clip_s = 3.0 }}
shard = {{ pools = ["any"], rows = 2, preset = "ultrafast" }}
max_failed = {{ videos = 1000, clips = 1000 }}
"""


@dataclass(frozen=True)
class Zoo:
    """The corpus on disk."""

    folder: Path
    entries: tuple[Entry, ...]

    @property
    def sources(self) -> list[str]:
        return [str(self.folder), str(self.folder / "list.jsonl")]

    @property
    def good(self) -> list[str]:
        return [str(self.folder / name) for name in corpus.GOOD]

    def shown(self, entry: Entry) -> str:
        """The entry's path as tables show it."""
        return str(self.folder / entry.name).encode(errors="backslashreplace").decode()

    def check(self, ends: dict[str, str], probed: bool) -> None:
        """Every entry is there and has ended as it may."""
        wrong = {}
        for entry in self.entries:
            end = ends.get(self.shown(entry), "nothing")
            allowed = entry.probed if probed and entry.probed is not None else entry.ends
            if end not in allowed:
                wrong[entry.name] = (end, sorted(allowed))
        assert not wrong
        assert set(ends.values()) <= {"used", *map(str, Reason)}


def made(folder: Path, entries: Sequence[Entry]) -> Zoo:
    folder.mkdir()
    return Zoo(folder, tuple(corpus.write(folder, list(entries))))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """All of it."""
    return made(tmp_path_factory.mktemp("corpus") / "zoo", corpus.entries())


def ingested(store: Store, sources: Sequence[str]) -> list[dict[str, Any]]:
    """The videos table, made in this process."""
    task, entries = Ingest(store), []
    state = task.open()
    try:
        for unit in task.units(Sources(tuple(sources)).list()):
            assert any(isinstance(event, Done) for event in task.run(state, unit, {}))
            entries.append(store.entry(task.step, unit.name))
    finally:
        state.close()
    rows: list[dict[str, Any]] = store.tables(
        merge(store, task.step, [entry for entry in entries if entry is not None]), VIDEOS
    ).to_pylist()
    return rows


def ends_of(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {row["path"]: "used" if row["status"] == "used" else row["reason"] for row in rows}


def test_files_that_are_none_and_files_that_lie(tmp_path: Path) -> None:
    """The quick ones of the corpus: the neighbours' rows are those of a run without the others."""
    quick = [*corpus.good(), *corpus.places(), *corpus.clocks(), *corpus.lies()]
    quick += [*corpus.texts("http://127.0.0.1:9", "/etc/passwd"), *corpus.names()]
    zoo = made(tmp_path / "zoo", quick)
    assert len(zoo.entries) >= 80
    began = time.monotonic()
    rows = ingested(Store(str(tmp_path / "run")), zoo.sources)
    assert time.monotonic() - began < MOST_S
    zoo.check(ends_of(rows), probed=True)
    alone = ingested(Store(str(tmp_path / "alone")), zoo.good)
    assert [row for row in rows if row["path"] in zoo.good] == alone
    assert [row["status"] for row in alone] == ["used"] * 3


def command(*args: str) -> tuple[int, float, int]:
    """Exit status, wall seconds and the peak bytes of the largest process under `rushes`."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    assert not any("Traceback" in line for line in said), "\n".join(said[-20:])
    return done.returncode, time.monotonic() - began, int(said[-1]) * 1024


def videos_of(out: Path) -> list[dict[str, Any]]:
    (file,) = out.glob("videos@*/*.parquet")
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


@pytest.mark.slow
def test_the_whole_corpus_through_ingest(zoo: Zoo, tmp_path: Path) -> None:
    assert len(zoo.entries) >= 200
    status, wall_s, peak_bytes = command(
        "ingest", "--out", str(tmp_path / "run"), "--workers", "0", *zoo.sources
    )
    assert status == 3
    assert wall_s < MOST_S
    assert peak_bytes < MOST_BYTES
    rows = videos_of(tmp_path / "run")
    zoo.check(ends_of(rows), probed=True)
    assert [row for row in rows if row["path"] in zoo.good] == ingested(
        Store(str(tmp_path / "alone")), zoo.good
    )


@pytest.mark.promise
@pytest.mark.timeout(1500)
def test_the_whole_corpus_through_the_whole_chain(
    zoo: Zoo, tmp_path: Path, record: Callable[[str, str], None]
) -> None:
    """Ingest by this process and by two Ray workers, then everything; beside it a run of the good ones alone."""
    status, wall_s, ingest_bytes = command(
        "ingest", "--out", str(tmp_path / "one"), "--workers", "0", *zoo.sources
    )
    assert (status, wall_s < MOST_S) == (3, True)
    assert command("ingest", "--out", str(tmp_path / "two"), "--workers", "2", *zoo.sources)[0] == 3
    rows = videos_of(tmp_path / "one")
    assert videos_of(tmp_path / "two") == rows
    zoo.check(ends_of(rows), probed=True)

    seen = whole_run(tmp_path / "run", zoo.sources, tmp_path)
    alone = whole_run(tmp_path / "alone", zoo.good, tmp_path)
    ends = ends_of(videos_of(tmp_path / "run")) | failures(tmp_path / "run")
    zoo.check(ends, probed=False)
    mine = {row["video_id"] for row in rows if row["path"] in zoo.good}
    assert neighbours(tmp_path / "run", mine) == neighbours(tmp_path / "alone", mine)
    peak_bytes = max(ingest_bytes, seen, alone)
    assert peak_bytes < MOST_BYTES
    counts = Counter("used" if ends[zoo.shown(entry)] == "used" else "refused" for entry in zoo.entries)
    record(
        "one bad file never stops the job",
        f"{len(zoo.entries)} hostile or odd files: {counts['used']} used, {counts['refused']} refused with a reason "
        f"of the list, 0 unknown; ingest of all in {wall_s:.0f} s; largest decoding process {peak_bytes >> 20} MiB; "
        "neighbours' rows and shards equal; 0 and 2 workers equal",
    )


def whole_run(out: Path, sources: Sequence[str], folder: Path) -> int:
    """`rushes run` over them; the peak bytes of the decoding processes."""
    (folder / "any.toml").write_text(RECIPE)
    settings = folder / f"{out.name}.toml"
    settings.write_text(
        SETTINGS.format(sources=json.dumps(list(sources)), recipe=json.dumps(str(folder / "any.toml")))
    )
    code = [sys.executable, "-c", "from jobs.cli import main; main()"]
    seen = watch([*code, "run", "--config", str(settings), "--out", str(out), "--workers", "0"])
    assert seen.status == 0, seen.said
    return seen.peak_bytes("pipeline.decode_child")


def failures(out: Path) -> dict[str, str]:
    """Reason by item, of all that failed."""
    code = [sys.executable, "-c", "from jobs.cli import main; main()"]
    said = subprocess.run([*code, "report", str(out), "--json"], capture_output=True, check=True).stdout
    return {failure["item"]: failure["reason"] for failure in json.loads(said)["failures"]}


def neighbours(out: Path, videos: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of these videos in every table that has some, by the table's folder."""
    clips = pa.concat_tables(pq.read_table(file) for file in out.glob("clips@*/*.parquet"))
    mine = clips.filter(pc.is_in(clips["video_id"], pa.array(sorted(videos))))["clip_id"].to_pylist()
    assert len(mine) >= 3
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(out.rglob("*.parquet")):
        table = pq.read_table(file)
        for name, keys in (("clip_id", mine), ("video_id", sorted(videos))):
            if name in table.column_names:
                rows = table.filter(pc.is_in(table[name], pa.array(keys))).to_pylist()
                if rows:
                    # What is made of all clips together has a fingerprint of them all in its name.
                    place = re.sub("@[0-9a-f]+", "", str(file.relative_to(out).parent))
                    found.setdefault(place, []).extend(rows)
                break
    return {
        place: sorted(rows, key=lambda row: json.dumps(row, default=str)) for place, rows in found.items()
    }


# --- seeded damage


def damaged(bases: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    for seed in seeds:
        for place, container in enumerate(bases):
            yield f"{container}, seed {seed}", mutant(corpus.base(container), 1000 * seed + place)


def outcome(decoder: Decoder, path: Path) -> str:
    """How probing and scanning the file ends: "used", or the reason of a MediaError."""
    try:
        index = VideoIndex.from_row(decoder.probe(str(path)))
        end = min(200, index.frame_count)
        assert len(decoder.scan(str(path), index, 0, end, 0).thumbs) == end
    except MediaError as error:
        return str(error.reason) if error.message else "an error without a word"
    return "used"


def outcomes(files: Iterator[tuple[str, bytes]], path: Path) -> dict[str, str]:
    found = {}
    with Decoder(Limits(deadline_s=20.0)) as decoder:
        for name, data in files:
            path.write_bytes(data)
            found[name] = outcome(decoder, path)
    return found


ENDED = (Reason.DECODER_CRASHED, Reason.DECODER_TIMEOUT)
"""What no damage that we know of may lead to: an end that the decoding process did not choose."""


def test_damage_ends_in_frames_or_a_reason(tmp_path: Path) -> None:
    found = outcomes(damaged(("mp4", "mkv", "ts", "avi"), range(5)), tmp_path / "x")
    assert not {name: end for name, end in found.items() if end in ENDED}
    assert {"used", "decode_error"} < set(found.values())


@pytest.mark.promise
@pytest.mark.timeout(900)
def test_much_damage_ends_in_frames_or_a_reason(tmp_path: Path, record: Callable[[str, str], None]) -> None:
    """Twice each, in another order: what a file ends as does not depend on those before it."""
    seeds = range(20)
    found = outcomes(damaged(corpus.BASES, seeds), tmp_path / "x")
    assert len(found) >= 300
    assert not {name: end for name, end in found.items() if end in ENDED}
    again = outcomes(reversed(list(damaged(corpus.BASES, seeds))), tmp_path / "y")
    assert again == found
    counts = ", ".join(f"{count} {end}" for end, count in Counter(found.values()).most_common())
    record(
        "damage ends in frames or a reason",
        f"{len(found)} mutants of {len(corpus.BASES)} containers: {counts}",
    )
