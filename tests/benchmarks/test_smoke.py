"""Every benchmark runs on tiny inputs and prints its table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import chain, clock, data_juicer, film, media, proxy, ray_overhead
from benchmarks.watch import Process, Watched, watch

HEIGHT = 144
MINUTES = 0.1


FRAMES = 150


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """A video of 6.25 s: one shot that pans over a blurred random picture."""
    coarse = np.random.default_rng(7).integers(40, 220, (18, 70, 3), dtype=np.uint8)
    wide = coarse.repeat(8, axis=0).repeat(8, axis=1)

    def draw(number: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(wide[:, number : number + 256])

    path = tmp_path_factory.mktemp("media") / "source.mp4"
    return make_video(path, frames=FRAMES, size=(256, 144), draw=draw)


def test_a_film_has_the_length_and_height_asked_for_and_is_the_same_twice(
    source: Path, tmp_path: Path
) -> None:
    import av

    one, two = (media.make_film([source], tmp_path / f"{n}.mp4", MINUTES, HEIGHT) for n in "ab")
    with av.open(str(one)) as file:
        pictures = [(f.width, f.height, f.time) for f in file.decode(video=0)]
    assert len(pictures) == 6 * media.FPS
    assert pictures[0] == (256, 144, 0)
    assert pictures[-1][2] == pytest.approx(143 / 24)
    assert one.read_bytes() == two.read_bytes()


def test_a_long_film_repeats_its_packets_without_a_gap(source: Path, tmp_path: Path) -> None:
    import av

    base = media.make_film([source], tmp_path / "base.mp4", MINUTES, HEIGHT)
    media.repeat(base, tmp_path / "long.mp4", 6, 3)
    with av.open(str(tmp_path / "long.mp4")) as file:
        times = [frame.time for frame in file.decode(video=0)]
    with av.open(str(tmp_path / "long.mp4")) as file:
        sound_s = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert times == pytest.approx([number / media.FPS for number in range(3 * 144)])
    assert sound_s == pytest.approx(18, abs=0.1)


def test_a_table_is_aligned_markdown() -> None:
    assert clock.table(("a", "bb"), [("ccc", "d")]) == "| a   | bb |\n| --- | -- |\n| ccc | d  |"


def test_works_run_in_turn_and_their_costs_are_kept_apart() -> None:
    order: list[str] = []
    runs = clock.alternated({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 3
    assert [len(costs) for costs in runs.values()] == [3, 3]
    assert clock.median_s([clock.Cost(5, 0, 0), clock.Cost(1, 9, 9), clock.Cost(2, 0, 0)]) == 2


def test_work_is_charged_with_its_children() -> None:
    import subprocess

    spin = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    found = clock.cost(lambda: subprocess.run([sys.executable, "-c", spin], check=True))
    assert 0.3 <= found.children_s < 3
    assert found.children_s <= found.cpu_s


def test_a_watched_command_counts_its_orphans_and_their_memory() -> None:
    grandchild = (
        "import time\nheld = bytearray(b'x' * (200 << 20))\nend = time.process_time() + 0.5\n"
        "while time.process_time() < end: pass\ntime.sleep(0.5)"
    )
    parent = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {grandchild!r}])"
    done = watch([sys.executable, "-c", parent])
    assert done.status == 0
    assert done.cpu_s >= 0.5
    assert done.peak_bytes("held") >= 200 << 20
    assert done.peak_bytes("no such process") == 0


def test_a_watched_command_that_fails_ends_the_benchmark_with_what_it_said() -> None:
    done = watch([sys.executable, "-c", "import sys; sys.exit('no such film')"])
    with pytest.raises(SystemExit, match="no such film"):
        done.ended_well()


def test_peaks_of_workers_and_their_decoders_are_told_apart() -> None:
    processes = (
        Process("ray::Worker.do", 9, 700 << 20),
        Process("python -m pipeline.decode_child 7", 8, 200 << 20),
        Process("raylet", 1, 900 << 20),
    )
    done = Watched(0, 1, processes, "", 0)
    assert film.biggest(done) == (700, 200, 900)
    assert film.ray_processes(done) == [processes[2]]


def test_files_that_differ_or_are_missing_are_named(tmp_path: Path) -> None:
    for name, parts in (("one", {"a": b"1", "b": b"2"}), ("two", {"a": b"1", "b": b"3", "c": b"4"})):
        (tmp_path / name).mkdir()
        for part, data in parts.items():
            (tmp_path / name / f"{part}.parquet").write_bytes(data)
    assert film.same_files(tmp_path / "one", tmp_path / "two") == (3, ["b.parquet", "c.parquet"])


def test_copies_for_the_second_half_show_the_same_and_have_other_bytes(source: Path, tmp_path: Path) -> None:
    one, copy = data_juicer.twice([source], tmp_path)
    assert one == source
    assert copy.read_bytes()[:-8] == source.read_bytes()
    assert chain.bare_decode(copy) == chain.bare_decode(source) == FRAMES


@pytest.mark.slow
def test_chain_prints_the_ratio_and_one_decode_pass(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain.main([str(source)], MINUTES, 1, [HEIGHT])
    printed = capsys.readouterr().out
    assert "1 clips of 6 s; 1.00 decode passes" in printed
    for row in ("PyAV, one thread", "chain without loading", "TransNetV2", "thumbnails, proxy", "text"):
        assert f"| {row} " in printed


@pytest.mark.slow
def test_proxy_prints_both_ways(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.main([str(source)], MINUTES, 1, [HEIGHT])
    printed = capsys.readouterr().out
    assert "| with the proxy, of without" in printed
    assert "| proxy, MB an hour of video" in printed


@pytest.mark.slow
def test_the_proxy_and_a_second_pass_give_as_many_frames(source: Path, tmp_path: Path) -> None:
    from pipeline.frames import Decoder, VideoIndex

    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(str(source)))
    found = proxy.Film(source, index, tmp_path)
    proxy.one_pass(found)
    assert proxy.frames_of_proxy(found) == 7 + 11 + 4 + 78
    # Pairs are two pictures; one lies over the edge of two clips, and one over the end.
    assert proxy.second_pass(found) == 7 + 12 * 2 + 1 + 4 + 78


@pytest.mark.slow
def test_ray_overhead_prints_both_ways(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ray_overhead.main([str(source)], MINUTES, 1, HEIGHT)
    printed = capsys.readouterr().out
    for row in ("in process", "Ray, one worker", "more"):
        assert f"| {row} " in printed


@pytest.mark.slow
def test_film_prints_peaks_and_speed_up(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film.main([str(source)], MINUTES, MINUTES, HEIGHT)
    printed = capsys.readouterr().out
    assert "| both, MiB (goal: at most 1024) " in printed
    assert "| speed-up " in printed
    assert "0 of them different" in printed
