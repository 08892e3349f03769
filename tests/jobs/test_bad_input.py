"""Everything that a folder may hold beside good video: each item refused with its reason, and the job goes on."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import chain


def huge_png(path: Path) -> Path:
    """A picture whose header claims 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def audio(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def no_frames(path: Path) -> Path:
    """A video of no length: a header, and nothing in it."""
    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=24)
        stream.width, stream.height = 320, 256
        output.start_encoding()
    return path


@pytest.fixture
def zoo(tmp_path: Path, make_video: Callable[..., Path], shots_of: Callable[..., Any]) -> Path:
    """A manifest that names one good video and one of every bad kind."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    good = make_video(
        folder / "good.mp4", frames=30, fps=20, size=(320, 256), draw=shots_of((30, 1)), options={"crf": "30"}
    )
    data = good.read_bytes()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "truncated.mp4").write_bytes(data[: len(data) // 2])
    (folder / "corrupt.mp4").write_bytes(np.random.default_rng(1).bytes(20000))
    (folder / "text.mp4").write_text("no video at all\n" * 100)
    no_frames(folder / "none.mp4")
    make_video(folder / "tiny.mp4", frames=4, size=(8, 8), codec="mpeg4")
    audio(folder / "sound.m4a")
    huge_png(folder / "huge.png")
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    shutil.copyfile(good, folder / "video.txt")  # a wrong extension, and sound inside
    names = sorted(path.name for path in folder.iterdir())
    rows = [{"path": name, "title": name} for name in [*names, "missing.mp4", "../outside.mp4"]]
    lines = [json.dumps(row) for row in rows]
    (folder / "list.jsonl").write_text("\n".join([*lines, "{not json", json.dumps({"title": "no path"})]))
    return folder


REASONS = {
    "empty.mp4": {"empty"},
    "truncated.mp4": {"not_media", "truncated"},
    "corrupt.mp4": {"not_media"},
    "text.mp4": {"not_media"},
    "none.mp4": {"no_video", "no_frames"},
    "tiny.mp4": {"too_small"},
    "sound.m4a": {"no_video"},
    "huge.png": {"too_large"},
    "folder.mp4": {"not_a_file"},
    "pipe.mp4": {"not_a_file"},
    "missing.mp4": {"not_found"},
}


def test_each_bad_item_has_its_reason_and_the_good_one_is_done(small: Any, zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = small.run(out, sources=[str(zoo / "list.jsonl")], max_failed={"videos": 12})
    assert chain.everything(run) == 3  # thirteen failed, twelve are allowed
    account = small.account(out, sources=[str(zoo / "list.jsonl")])
    failures = {Path(failure.item).name: failure for failure in account.failures}
    for name, reasons in REASONS.items():
        assert failures.pop(name).reason in reasons, name
    assert sorted(failure.reason for failure in failures.values()) == ["bad_row", "bad_row", "outside_root"]
    assert account.videos().to_json() == {"in": 16, "kept": 1, "rejected": 1, "failed": 14, "pending": 0}
    assert account.accounts[0].fate.written == 1
    assert all(failure.message and "\n" not in failure.message for failure in account.failures)
    allowed = small.run(out, sources=[str(zoo / "list.jsonl")], max_failed={"videos": 14})
    assert chain.everything(allowed) == 0


def test_an_empty_folder_says_so(small: Any, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    run = small.run(tmp_path / "run", sources=[str(tmp_path / "nothing")])
    assert chain.everything(run) == 3
    assert f"there is no media in {tmp_path}/nothing" in small.said[-1].getvalue()


def test_a_missing_source_is_named(small: Any, tmp_path: Path) -> None:
    run = small.run(tmp_path / "run", sources=["/none/here.mp4"], max_failed={"videos": 0})
    assert chain.everything(run) == 3
    assert "the first: /none/here.mp4: no such file (not_found)" in small.said[-1].getvalue()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not")
def test_an_unreadable_folder_and_file_are_refused_and_no_permission_is_a_sentence() -> None:
    code = """
        import os, sys
        from pipeline.sources import Sources
        from pipeline.ingest import digest_of
        from pipeline.reasons import MediaError
        from pipeline.store import StorageError, Store
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        here = sys.argv[1]
        print(*(f"{os.path.basename(i.path)}:{i.refused[0] if i.refused else 'used'}" for i in Sources((here,)).list()))
        try:
            digest_of(f"{here}/secret.mp4")
        except MediaError as error:
            print(error.reason)
        try:
            with Store(f"{here}/run").locked():
                pass
        except StorageError as error:
            print(error)
    """
    here = Path(tempfile.mkdtemp())
    try:
        here.chmod(0o755)
        for name in ("closed", "open"):
            (here / name).mkdir()
            (here / name / "a.mp4").write_bytes(b"x")
        (here / "secret.mp4").write_bytes(b"x")
        (here / "secret.mp4").chmod(0)
        (here / "closed").chmod(0)
        said = subprocess.run(
            [sys.executable, "-c", "\n".join(line[8:] for line in code.split("\n")), str(here)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    finally:
        shutil.rmtree(here)
    assert said[0] == "closed:unreadable a.mp4:used secret.mp4:used"
    assert said[1] == "unreadable"
    assert "no permission to write there" in said[2]


@pytest.mark.slow
def test_a_stage_that_fails_for_one_clip_costs_no_other(small: Any, tmp_path: Path) -> None:
    """A proxy that is damaged, and media that are gone: the clips fail with their reason, retry mends them."""
    out = tmp_path / "run"
    run = small.run(out)
    for step in ("ingest", "segment"):
        chain.do(run, step)
    for proxy in out.glob("proxies@*/*"):
        proxy.unlink()
    (small.media / "b.mp4").rename(tmp_path / "away.mp4")
    for step in chain.STEPS[2:-1]:
        chain.do(run, step)
    account = small.account(out)
    clips, _ = account.clips()
    assert (clips.failed, clips.kept) == (2, 2)
    assert {failure.reason for failure in account.failures if failure.stage == "black"} == {"not_found"}
    (tmp_path / "away.mp4").rename(small.media / "b.mp4")
    shutil.rmtree(next(out.glob("proxies@*")))
    again = small.run(out)
    chain.everything(again, retry=True)
    assert small.account(out).clips()[0].failed == 0
    assert small.account(out).accounts[0].fate.written == 4
