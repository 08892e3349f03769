"""The commit protocol: whole or absent, same bytes, readers follow the ledger."""

import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.store import TEMPORARY, Entry, Failure, Output, StorageError, Store, Torn, parquet_bytes

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})


def test_put_then_record_is_read_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "run"))
    output = store.put_table("clips/part-1.parquet", TABLE)
    entry = Entry("clips", "part-1", (output,), {"clips": 3}, (Failure("c", "text", "stage_error", "no", 2),))
    assert store.entry("clips", "part-1") is None
    store.record(entry)
    assert store.entry("clips", "part-1") == entry
    assert store.table(output.path).equals(TABLE)
    assert output.rows == 3


def test_equal_tables_give_equal_bytes() -> None:
    again = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    assert parquet_bytes(TABLE) == parquet_bytes(again)


def test_a_torn_file_that_no_entry_names_is_made_whole(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (tmp_path / "part").write_bytes(b"torn")
    store.put("part", b"whole", 1)
    assert (tmp_path / "part").read_bytes() == b"whole"


def test_an_entry_without_its_files_does_not_count(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    output = store.put("part", b"whole", 1)
    store.record(Entry("step", "u", (output,)))
    (tmp_path / "part").write_bytes(b"short")
    assert store.entry("step", "u") == Entry(
        "step", "u", (output,)
    )  # same size: damage is for verify to find
    (tmp_path / "part").write_bytes(b"")
    assert store.entry("step", "u") is None


def test_every_changed_byte_of_an_entry_is_found() -> None:
    failure = Failure("c", "text", "stage_error", "é", 2)
    entry = Entry("clips", "part-1", (Output("a/part", "0" * 64, 10, 3),), {"clips": 3, "s": 0.1}, (failure,))
    data = entry.to_json()
    assert Entry.from_json(data) == entry
    for position in range(len(data)):
        for bit in (1, 16, 32):
            changed = bytearray(data)
            changed[position] ^= bit
            with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
                Entry.from_json(bytes(changed))


@pytest.mark.parametrize("torn", [b"", b'{"step": "s"', b"[]", b'{"step": 1}', b"\xff"])
def test_a_torn_entry_does_not_count_and_is_one_sentence(tmp_path: Path, torn: bytes) -> None:
    store = Store(str(tmp_path))
    assert store.recorded("step", "u") is None
    store.record(Entry("step", "u"))
    assert store.recorded("step", "u") == Entry("step", "u")
    (tmp_path / "ledger/step/u.json").write_bytes(torn)
    assert store.entry("step", "u") is None
    with pytest.raises(Torn, match=r"ledger/step/u\.json .* is torn: run the same command again"):
        store.recorded("step", "u")


def test_only_an_empty_folder_is_pruned(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put("folder/part", b"x", 1)
    store.prune("folder")
    store.prune("none")
    assert (tmp_path / "folder/part").exists()
    store.remove("folder/part")
    store.prune("folder")
    assert not (tmp_path / "folder").exists()


def test_no_temporary_file_stays_and_none_is_listed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put("folder/part", b"x", 1)
    (tmp_path / "folder" / f"{TEMPORARY}left").write_bytes(b"")
    assert store.files.names("folder") == ["part"]
    assert [p.name for p in (tmp_path / "folder").iterdir() if not p.name.endswith("left")] == ["part"]


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    output = store.put_table("t.parquet", TABLE)
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[20] ^= 1
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(StorageError, match=r"t\.parquet .* is damaged .* run the same command again"):
        store.table(output.path)
    with pytest.raises(StorageError, match="missing"):
        store.table("none.parquet")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs RLIMIT_FSIZE of Linux")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        from pipeline.store import Store, StorageError
        try:
            Store({str(tmp_path)!r}).put("part", b"x" * 5000, 1)
        except StorageError as error:
            print(error)
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("cannot write part in run")
    assert "run the same command again" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


CALLS = 15
"""Calls to the filesystem of a put and its entry."""


def protocol(root: Path) -> list[str]:
    """A process that commits one file and its entry, and kills itself before the n-th call; n follows."""
    code = f"""
        import os, signal, sys
        from pipeline.store import Entry, Store
        calls = 0
        def watch(event, args):
            global calls
            if event in ("open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.unlink"):
                if event == "open" and {str(root)!r} not in str(args[0]):
                    return
                calls += 1
                if calls == int(sys.argv[1]) + 1:
                    os.kill(os.getpid(), signal.SIGKILL)
        store = Store({str(root)!r})
        sys.addaudithook(watch)
        output = store.put("a/part", b"bytes", 1)
        store.record(Entry("a", "u", (output,), {{"n": 1}}))
        print("done", calls)
    """
    return [sys.executable, "-c", textwrap.dedent(code)]


def test_the_calls_of_the_protocol_are_all_tried(tmp_path: Path) -> None:
    whole = subprocess.run([*protocol(tmp_path), "1000"], capture_output=True, text=True, check=True)
    assert whole.stdout.split() == ["done", str(CALLS)]


@pytest.mark.parametrize("step", range(CALLS))
def test_killed_at_any_call_then_done_again_gives_the_same_files(tmp_path: Path, step: int) -> None:
    """SIGKILL before the n-th system call of the protocol; the second try ends with the bytes of a first try."""
    run = protocol(tmp_path)
    first = subprocess.run([*run, str(step)], capture_output=True, text=True, check=False)
    assert first.returncode == -9
    again = subprocess.run([*run, "1000"], capture_output=True, text=True, check=True)
    assert again.stdout.startswith("done")
    found = {
        str(p.relative_to(tmp_path)): p.read_bytes()
        for p in tmp_path.rglob("*")
        if p.is_file() and not p.name.startswith(TEMPORARY)
    }
    output = Output("a/part", "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9", 5, 1)
    assert found == {"a/part": b"bytes", "ledger/a/u.json": Entry("a", "u", (output,), {"n": 1}).to_json()}


def test_every_write_is_synced_before_it_is_linked(tmp_path: Path) -> None:
    """Order of the calls that matter for power loss, as the system saw them."""
    code = f"""
        import os
        from pipeline.store import Store
        said = []
        for name in ("fsync", "link"):
            real = getattr(os, name)
            setattr(os, name, lambda *a, real=real, name=name: (said.append(name), real(*a))[1])
        Store({str(tmp_path)!r}).put("part", b"x", 1)
        print(*said)
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["fsync", "link", "fsync"]


def test_no_permission_is_one_sentence(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="no permission"):
        Store(str(tmp_path / "run")).put("part", b"x", 1)


def test_a_flip_in_a_footer_is_one_sentence(tmp_path: Path) -> None:
    """No checksum of Parquet's covers it: the digest does, and without one nothing but a StorageError is raised."""
    store = Store(str(tmp_path))
    output = store.put_table(
        "t", pa.table({"clip_id": [f"c{n}" for n in range(9)], "x": [n / 7 for n in range(9)]})
    )
    whole = (tmp_path / "t").read_bytes()
    footer_bytes = int.from_bytes(whole[-8:-4], "little")
    other = 0
    for at in range(len(whole) - footer_bytes - 8, len(whole), 7):
        (tmp_path / "t").write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(StorageError, match="its bytes are not those of the ledger"):
            store.table("t", sha256=output.sha256)
        with suppress(StorageError):
            other += store.table("t").schema.names != ["clip_id", "x"]
    assert other > 0
