"""The decode pass: chunks give what one pass gives, films spread, the proxy is a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clip import VIDEOS
from pipeline.frames import Decoder
from pipeline.ingest import digest_of
from pipeline.reasons import MediaError
from pipeline.runner import Done, Pool, run
from pipeline.scan import CHUNK_FRAMES, GROUP_FRAMES, SIGNALS, STRIDE, Group, Scan, groups, joined, read_proxy
from pipeline.segment import Segment
from pipeline.shots import FindShots
from pipeline.sources import Fetcher
from pipeline.store import Store


def video_row(path: Path) -> dict[str, Any]:
    """The VIDEOS row of a file."""
    sha, size = digest_of(str(path))
    with Decoder() as decoder:
        probed = decoder.probe(str(path))
    return dict.fromkeys(VIDEOS.names) | {"path": str(path), "video_id": sha[:20], "bytes": size} | probed


def invented(number: int, frames: int, seekable: bool = True) -> dict[str, Any]:
    return {
        "video_id": f"{number:020x}",
        "frame_count": frames,
        "seekable": seekable,
        "duration_s": frames / 25,
    }


def test_groups_are_bounded_and_films_stand_alone() -> None:
    videos = [invented(n, 300) for n in range(100)]
    videos += [
        invented(200, GROUP_FRAMES + 100),
        invented(201, 2 * CHUNK_FRAMES + 5),
        invented(202, 2 * CHUNK_FRAMES, False),
    ]
    found = groups(videos)
    assert sorted(v["video_id"] for group in found for v in group.videos) == [v["video_id"] for v in videos]
    by_first = {group.videos[0]["video_id"]: group for group in found}
    film, tape = by_first[videos[101]["video_id"]], by_first[videos[102]["video_id"]]
    chunks = [[(span.start, span.end) for span in unit.spans] for unit in film.units]
    ends = (CHUNK_FRAMES, 2 * CHUNK_FRAMES)
    assert chunks == [[(0, ends[0])], [ends], [(ends[1], ends[1] + 5)]]
    assert [[(span.start, span.end) for span in unit.spans] for unit in tape.units] == [[(0, ends[0]), ends]]
    others = [group for group in found if group not in (film, tape)]
    assert max(unit.frames for group in others for unit in group.units) == GROUP_FRAMES + 100
    assert all(len(g.videos) == 1 or g.units[0].frames <= GROUP_FRAMES for g in others)


def test_one_video_more_moves_few_groups() -> None:
    videos = [invented(n * 7919 % 100_003, 250) for n in range(400)]
    before = {group.name for group in groups(sorted(videos, key=lambda v: str(v["video_id"])))}
    after = {g.name for g in groups(sorted([*videos, invented(5, 250)], key=lambda v: str(v["video_id"])))}
    assert len(after - before) <= 4


HERE = Pool()


def worked(task: Any, units: Sequence[Any], pool: Pool = HERE) -> None:
    run(task, units, pool)


def found_in(
    store: Store, group: Group, scan: Scan
) -> tuple[Any, dict[str, list[dict[str, Any]]], list[Any]]:
    """The joined signals of a group's first video, its tables, and its proxy rows."""
    entries = [store.entry(scan.step, unit.name) for unit in group.units]
    table = store.tables([o for e in entries if e is not None for o in e.outputs], SIGNALS)
    shots = FindShots(store, Segment(min_clip_s=0.7, max_clip_s=5.0), scan.step)
    worked(shots, [group])
    entry = store.entry(shots.step, group.name)
    assert entry is not None
    tables: dict[str, list[dict[str, Any]]] = {}
    for output in entry.outputs:
        tables.setdefault(output.path.split("@")[0], []).extend(store.table(output.path).to_pylist())
    spans = [span for unit in group.units for span in unit.spans]
    proxy = [row for span in spans for row in store.table(scan.proxy_path(span)).to_pylist()]
    return joined(table, group.videos[0]["video_id"]), tables, proxy


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> dict[str, Any]:
    """A video of 2.4 strides with cuts, one of them just at a chunk's border and one just before."""
    rng = np.random.default_rng(7)
    cuts = [0, 130, STRIDE - 1, STRIDE + 40, 2 * STRIDE, 2 * STRIDE + 100]
    pictures = [rng.integers(20, 236, (6, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1) for _ in cuts]

    def draw(number: int) -> Any:
        shot = max(i for i, cut in enumerate(cuts) if cut <= number)
        return np.ascontiguousarray(np.roll(pictures[shot], number // 4, axis=1))

    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_video(path, frames=2 * STRIDE + 160, fps=25, size=(128, 96), gop=30, bframes=2, draw=draw)
    return video_row(path)


@pytest.fixture(scope="module")
def one_pass(film: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    store = Store(str(tmp_path_factory.mktemp("one")))
    (group,) = groups([film])
    scan = Scan(store, precision="fp32")
    worked(scan, group.units)
    return found_in(store, group, scan)


def same(chunked: tuple[Any, Any, Any], whole: tuple[Any, Any, Any]) -> None:
    for name, values in vars(whole[0]).items():
        np.testing.assert_array_equal(vars(chunked[0])[name], values, err_msg=name)
    assert chunked[1] == whole[1]
    assert sorted(chunked[2], key=str) == sorted(whole[2], key=str)


@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.slow
def test_a_film_in_chunks_is_a_film_in_one_pass(
    film: dict[str, Any], one_pass: tuple[Any, Any, Any], tmp_path: Path, seekable: bool
) -> None:
    store = Store(str(tmp_path))
    (group,) = groups([{**film, "seekable": seekable}], chunk_frames=STRIDE)
    assert len(group.units) == (3 if seekable else 1)
    scan = Scan(store, precision="fp32")
    worked(scan, group.units)
    chunked = found_in(store, group, scan)
    assert len(chunked[1]["clips"]) >= 5
    same(chunked, one_pass)


@pytest.mark.slow
def test_a_film_in_chunks_on_two_workers(
    film: dict[str, Any], one_pass: tuple[Any, Any, Any], tmp_path: Path, ray_here: None
) -> None:
    store = Store(str(tmp_path))
    (group,) = groups([film], chunk_frames=STRIDE)
    scan = Scan(store, precision="fp32")
    worked(scan, group.units, Pool(2))
    same(found_in(store, group, scan), one_pass)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_a_lost_proxy_is_made_again_with_the_same_bytes(
    film: dict[str, Any], tmp_path: Path, harm: str
) -> None:
    store = Store(str(tmp_path))
    (group,) = groups([film], chunk_frames=STRIDE)
    scan = Scan(store, precision="fp32")
    unit = group.units[1]
    worked(scan, [unit])
    (span,) = unit.spans
    path = tmp_path / scan.proxy_path(span)
    before = path.read_bytes()
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(before[:1000])
    with Decoder() as decoder:
        read_proxy(store, scan.proxy_path(span), span, decoder, Fetcher())
    assert path.read_bytes() == before


def events(task: Any, state: Any, unit: Any, poison: Mapping[str, int]) -> Iterator[Any]:
    for event in task.run(state, unit, poison):
        yield event.counts if isinstance(event, Done) else event


@pytest.mark.slow
def test_a_video_that_fails_costs_no_neighbour_and_retry_takes_it_alone(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    pictures = [np.random.default_rng(n).integers(20, 236, (6, 10, 3), dtype=np.uint8) for n in range(3)]
    still = [picture.repeat(16, 0).repeat(16, 1) for picture in pictures]
    rows = [
        video_row(make_video(tmp_path / f"{n}.mp4", frames=30, fps=20, draw=lambda _, n=n: still[n]))
        for n in range(3)
    ]
    (tmp_path / "1.mp4").rename(tmp_path / "away")
    found = groups(sorted(rows, key=lambda row: str(row["video_id"])))
    store, scan = Store(str(tmp_path / "run")), Scan(Store(str(tmp_path / "run")), precision="fp32")
    units = [unit for group in found for unit in group.units]
    worked(scan, units)
    failures = [f for unit in units for f in store.entry(scan.step, unit.name).failures]  # type: ignore[union-attr]
    assert [(f.item, f.stage, f.reason, f.attempts) for f in failures] == [
        (rows[1]["video_id"], "segment", "not_found", 1)
    ]
    shots = FindShots(store, Segment(min_clip_s=0.7, max_clip_s=3.0), scan.step)
    worked(shots, found)
    assert sum(store.entry(shots.step, g.name).counts["clips"] for g in found) == 2  # type: ignore[union-attr]
    (tmp_path / "away").rename(tmp_path / "1.mp4")
    state = scan.open()
    seen: list[Any] = []
    for group in found:
        for unit in group.units:
            entry = store.entry(scan.step, unit.name)
            if entry is not None and entry.failures:
                again = type(unit)(**{**asdict(unit), "spans": unit.spans, "retry": True})
                seen += [event for event in events(scan, state, again, {}) if isinstance(event, str)]
    state.close()
    assert seen == [rows[1]["video_id"]]
    from dataclasses import replace

    worked(shots, [replace(group, retry=True) for group in found])
    clips = [o for g in found for o in store.entry(shots.step, g.name).outputs if o.path.startswith("clips@")]  # type: ignore[union-attr]
    assert sum(output.rows for output in clips) == 3


def test_a_video_that_kills_workers_is_put_aside(film: dict[str, Any], tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (group,) = groups([film], chunk_frames=STRIDE)
    scan = Scan(store, precision="fp32")
    state = scan.open()
    list(events(scan, state, group.units[2], {film["video_id"]: 3}))
    state.close()
    entry = store.entry(scan.step, group.units[2].name)
    assert entry is not None
    assert [(failure.reason, failure.message) for failure in entry.failures] == [
        ("worker_died", "3 workers died while scanning it")
    ]


def test_a_file_that_was_exchanged_is_not_scanned(
    film: dict[str, Any], tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    other = make_video(tmp_path / "other.mp4", frames=film["frame_count"], fps=25)
    store = Store(str(tmp_path / "run"))
    (group,) = groups([{**film, "path": str(other)}])
    scan = Scan(store, precision="fp32")
    worked(scan, group.units)
    entry = store.entry(scan.step, group.units[0].name)
    assert entry is not None
    assert [failure.reason for failure in entry.failures] == ["changed"]
    (span,) = group.units[0].spans
    with Decoder() as decoder, pytest.raises(MediaError, match="rushes ingest"):
        read_proxy(store, scan.proxy_path(span), span, decoder, Fetcher())
