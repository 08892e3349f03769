"""Reviewers' labels in three forms, and the one sentence about a row that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import ConfigError
from jobs.labels import Label, read

ROWS = [
    {"clip_id": "a", "verdict": "bad", "reason": "logo", "inclusion": 0.5, "reviewer": "x"},
    {"clip_id": "a", "verdict": "good", "reason": "", "inclusion": 0.5, "reviewer": "y"},
    {"clip_id": "b", "verdict": "good", "reason": "", "inclusion": 1.0, "reviewer": "x"},
]
LABELS = {"a": Label("a", True, 0.5, ("logo",)), "b": Label("b", False, 1.0)}


def text(rows: list[dict[str, object]]) -> str:
    names = list(rows[0])
    return "\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]) + "\n"


def test_the_three_forms_read_alike(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text(ROWS))
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "l.parquet")
    assert [read(tmp_path / f"l.{form}") for form in ("csv", "jsonl", "parquet")] == [LABELS] * 3


def test_two_columns_are_enough(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("\ufeffclip_id,verdict\na,Bad\nb, good \n", encoding="utf-8")
    assert read(tmp_path / "l.csv") == {"a": Label("a", True, 1.0), "b": Label("b", False, 1.0)}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("clip_id,verdict\na,good\nb,maybe\n", "l.csv, line 3: the verdict is 'maybe', not good or bad"),
        ("clip_id,verdict\na\n", "l.csv, line 2: there is no verdict"),
        ("clip_id,verdict\n,bad\n", "l.csv, line 2: there is no clip_id"),
        ("clip,verdict\na,bad\n", "l.csv, line 2: there is no clip_id"),
        ("clip_id,verdict\na,bad,x\n", "l.csv, line 2: it has more fields than the header"),
        ("clip_id,verdict,inclusion\na,bad,0\n", "line 2: inclusion is 0, not a chance above 0"),
        ("clip_id,verdict,inclusion\na,bad,nan\n", "line 2: inclusion is nan, not a chance above 0"),
        ("clip_id,verdict,inclusion\na,bad,some\n", "line 2: inclusion is 'some', not a number"),
        (
            "clip_id,verdict\na,bad\na,bad\n",
            "line 3: a row without a reviewer has judged clip a before, at .*line 2",
        ),
        ("clip_id,verdict,reviewer\na,bad,x\na,good,x\n", "line 3: reviewer x has judged clip a before"),
        (
            "clip_id,verdict,reviewer,inclusion\na,bad,x,1\na,good,y,0.5\n",
            "line 3: inclusion is 0.5, and 1 for the same clip at .*line 2",
        ),
        ("clip_id,verdict\n", "there is no label in it"),
        ("", "there is no label in it"),
    ],
)
def test_a_bad_row_is_named_in_one_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        read(tmp_path / "l.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("l.jsonl", b'{"clip_id": "a", "verdict": "bad"}\n[1]\n', "line 2: it is not a JSON object"),
        ("l.jsonl", b'{"clip_id": "a"\n', "line 1: it is not JSON"),
        ("l.jsonl", b'{"clip_id": 7, "verdict": "bad"}\n', "line 1: there is no clip_id"),
        (
            "l.jsonl",
            b'{"clip_id": "a", "verdict": "bad", "inclusion": [1]}\n',
            r"inclusion is \[1\], not a number",
        ),
        ("l.jsonl", b"\xff\xfe\n", "it is not UTF-8"),
        ("l.csv", b"clip_id,verdict\n\xff,bad\n", "it is not CSV in UTF-8"),
        ("l.parquet", b"PAR1", "it is not Parquet"),
        ("l.txt", b"", "labels are a .csv, .jsonl or .parquet file"),
    ],
)
def test_a_file_of_another_form_is_refused(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path / name)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").mkdir()
    with pytest.raises(ConfigError, match="it cannot be read"):
        read(tmp_path / "l.csv")


def test_what_has_no_verdict_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("clip_id,verdict,note,caption\na,skip,,\nb,,why,\nc,,,{}\nd,bad,,\n")
    assert list(read(file)) == ["d"]


def test_a_row_may_have_several_reasons(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("clip_id,verdict,reason\na,bad,logo;text\nb,bad,logo; \nc,good,logo\n")
    assert [label.reasons for label in read(file).values()] == [("logo", "text"), ("logo",), ()]
