"""Items to videos: probed, hashed, refused with a reason, each content once; in units that survive change."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip import VIDEOS
from pipeline.frames import Decoder
from pipeline.ingest import Hands, Ingest, as_json, digest_of, mark_duplicates, merge
from pipeline.reasons import MediaError, Reason
from pipeline.runner import Done
from pipeline.sources import Fetcher, Item, Sources, local_item
from pipeline.store import Store


@pytest.fixture
def media(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    import cv2
    import numpy as np

    folder = tmp_path / "media"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=12, fps=24)
    shutil.copyfile(folder / "a.mp4", folder / "b-copy.mp4")
    cv2.imwrite(str(folder / "c.png"), np.full((64, 96, 3), 99, np.uint8))
    cv2.imwrite(str(folder / "d.jpg"), np.full((64, 96, 3), 99, np.uint8))
    (folder / "e.mp4").write_bytes(b"")
    return folder


def ingested(
    store: Store, sources: Sources, retry: bool = False, poison: Mapping[str, int] | None = None
) -> list[str]:
    """Runs every unit that is not done in this process; the items that were touched."""
    task = Ingest(store)
    touched: list[str] = []
    state = task.open()
    try:
        for unit in task.units(sources.list()):
            entry = store.entry(task.step, unit.name)
            if entry is None or (retry and entry.failures):
                for event in task.run(state, type(unit)(unit.name, unit.items, retry), poison or {}):
                    if not isinstance(event, Done):
                        touched.append(Path(event).name)
    finally:
        state.close()
    return touched


def videos(store: Store, sources: Sources) -> list[dict[str, object]]:
    task = Ingest(store)
    entries = [store.entry(task.step, unit.name) for unit in task.units(sources.list())]
    outputs = merge(store, task.step, [entry for entry in entries if entry is not None])
    rows: list[dict[str, object]] = store.tables(outputs, VIDEOS).to_pylist()
    return rows


def test_videos_images_copies_and_refusals(media: Path, tmp_path: Path) -> None:
    store, sources = Store(str(tmp_path / "run")), Sources((str(media),))
    assert ingested(store, sources) == ["a.mp4", "b-copy.mp4", "c.png", "d.jpg", "e.mp4"]
    a, copy, png, jpg, empty = videos(store, sources)
    assert (a["status"], a["frame_count"], a["fps_num"], a["width"], a["height"]) == ("used", 12, 24, 160, 96)
    assert a["video_id"] == copy["video_id"]
    assert (copy["status"], copy["reason"]) == ("refused", "duplicate")
    assert copy["message"] == f"the same bytes as {media}/a.mp4"
    assert [(row["is_image"], row["frame_count"], row["width"]) for row in (png, jpg)] == [(True, 1, 96)] * 2
    assert (empty["status"], empty["reason"]) == ("refused", "empty")


def test_a_second_time_nothing_is_touched_and_a_retry_takes_the_refused(media: Path, tmp_path: Path) -> None:
    store, sources = Store(str(tmp_path / "run")), Sources((str(media),))
    ingested(store, sources)
    first = videos(store, sources)
    assert ingested(store, sources) == []
    assert ingested(store, sources, retry=True) == ["e.mp4"]
    assert videos(store, sources) == first
    step = Ingest(store).step
    units = [name.removesuffix(".json") for name in store.names(f"ledger/{step}")]
    (entry,) = (e for unit in units if (e := store.entry(step, unit)) is not None and e.failures)
    assert [(failure.reason, failure.attempts) for failure in entry.failures] == [("empty", 2)]


def test_a_changed_limit_probes_again_a_changed_place_does_not(media: Path) -> None:
    from pipeline.frames import Limits

    store = Store("x")
    assert Ingest(store).step != Ingest(store, Limits(max_frames=5)).step
    assert Ingest(store).step == Ingest(Store("y")).step


def test_columns_of_a_manifest_stay_with_their_video(media: Path, tmp_path: Path) -> None:
    (media / "list.csv").write_text('path,title,licence\na.mp4,"A, first",CC0\nc.png,,CC BY\n')
    store, sources = Store(str(tmp_path / "run")), Sources((str(media / "list.csv"),))
    ingested(store, sources)
    extras = [json.loads(str(row["extra"])) for row in videos(store, sources)]
    assert extras == [{"title": "A, first", "licence": "CC0"}, {"licence": "CC BY"}]


def test_odd_values_of_a_manifest_become_plain_json() -> None:
    import datetime

    text = as_json({"b": datetime.date(2020, 1, 2), "a": [1, None], "ä": "ö"})
    assert json.loads(text) == {"a": [1, None], "b": "2020-01-02", "ä": "ö"}
    assert text.startswith('{"a"')


def test_json_of_odd_numbers_and_signs_is_json_that_every_reader_takes() -> None:
    odd = {"n": float("nan"), "deep": [{"i": float("-inf")}, (1.5, "\udce9")], "\ud800": b"\xff"}
    text = as_json(odd)
    assert text.encode()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "n": None,
        "deep": [{"i": None}, [1.5, "\\udce9"]],
        "\\ud800": "b'\\xff'",
    }


def test_names_and_columns_that_are_not_utf8_end_no_job(media: Path, tmp_path: Path) -> None:
    (media / "caf\udce9.mp4").write_bytes((media / "a.mp4").read_bytes())
    (media / "list.jsonl").write_text(r'{"path": "c.png", "title": "\ud800"}' + "\n" + r'{"path": "\udce9"}')
    sources = Sources((str(media), str(media / "list.jsonl")))
    store = Store(str(tmp_path / "run"))
    ingested(store, sources)
    refused = {Path(str(row["path"])).name: row["reason"] for row in videos(store, sources) if row["reason"]}
    assert refused["caf\\udce9.mp4"] == "unreadable"
    assert refused["list.jsonl#2"] == "bad_row"


def test_an_item_that_kills_workers_is_refused(media: Path, tmp_path: Path) -> None:
    store, sources = Store(str(tmp_path / "run")), Sources((str(media),))
    ingested(store, sources, poison={str(media / "a.mp4"): 3})
    first, copy, *_ = videos(store, sources)
    assert (first["reason"], copy["status"]) == ("worker_died", "used")


def test_one_more_file_is_a_new_unit_and_no_other(tmp_path: Path) -> None:
    items = [Item(f"/m/{n:04d}.mp4", 5, 6) for n in range(300)]
    task = Ingest(Store("x"))
    before = {unit.name for unit in task.units(items)}
    after = {unit.name for unit in task.units([*items, Item("/m/zzzz.mp4", 5, 6)])}
    assert len(after - before) == 1
    changed = {unit.name for unit in task.units([Item("/m/0000.mp4", 5, 7), *items[1:]])}
    assert len(changed - before) == 1


@pytest.mark.parametrize(("name", "reason"), [("none", Reason.NOT_FOUND), ("", Reason.UNREADABLE)])
def test_digest_of_what_cannot_be_read(tmp_path: Path, name: str, reason: Reason) -> None:
    with pytest.raises(MediaError) as raised:
        digest_of(str(tmp_path / name))
    assert raised.value.reason is reason


def test_a_digest_has_an_end_though_the_file_has_none() -> None:
    """A file of the kernel's that calls itself empty and gives bytes for as long as anybody reads."""
    endless = Path("/proc/self/pagemap")
    if not endless.is_file():
        pytest.skip("no such file here")
    assert digest_of(str(endless)) == (hashlib.sha256().hexdigest(), 0)


class Growing(Decoder):
    """A decoder during whose work somebody writes on."""

    def probe(self, path: str) -> dict[str, Any]:
        facts = super().probe(path)
        with open(path, "ab") as file:
            file.write(b"more")
        return facts


def test_files_too_large_and_files_that_grow_are_refused(media: Path, tmp_path: Path) -> None:
    with (tmp_path / "holes.mp4").open("wb") as file:
        file.truncate(1 << 43)  # 8 TiB of nothing
    task = Ingest(Store(str(tmp_path / "run")))
    hands = Hands(Growing(), Fetcher())
    try:
        large, growing = (
            task.row(hands, local_item(str(path), {}), 0)
            for path in (tmp_path / "holes.mp4", media / "a.mp4")
        )
    finally:
        hands.close()
    assert (large["reason"], large["sha256"]) == ("too_large", None)
    assert (growing["reason"], growing["video_id"], growing["frame_count"]) == ("changed", None, None)


def test_only_the_first_of_equal_contents_is_used() -> None:
    import pyarrow as pa

    rows = [
        {"video_id": v, "path": p, "status": s}
        for v, p, s in [
            (None, "a", "refused"),
            ("x", "b", "refused"),
            ("x", "c", "used"),
            ("x", "d", "used"),
            ("y", "e", "used"),
        ]
    ]
    marked = mark_duplicates(pa.Table.from_pylist(rows, schema=VIDEOS))
    assert marked.column("status").to_pylist() == ["refused", "refused", "used", "refused", "used"]
    assert marked.column("reason").to_pylist() == [None, None, None, "duplicate", None]
