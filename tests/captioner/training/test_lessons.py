"""Lessons out of a set: read as they were written, in an order that seed and epoch decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioner.distill import Ask, Example, Medium, Split, write
from captioner.training.course import Course, TrainingError
from captioner.training.lessons import Lesson, Look, read, turn
from pipeline.reasons import MediaError


def test_a_set_is_read_as_it_was_exported(tmp_path: Path) -> None:
    media = [("c1", [Medium("image", ".png", b"1"), Medium("image", ".png", b"2")])]
    split = Split((Example("c1", "v1", '{"a":"<b>"}', "e/1"),), ())
    write(tmp_path / "set", split, Ask("What?", "Be brief."), lambda _: media, {})
    (found,) = read(tmp_path / "set", "train")
    assert found.clip_id == "c1"
    assert [message["role"] for message in found.asked] == ["system", "user"]
    names = [(kind, path.relative_to(tmp_path / "set").as_posix()) for kind, path in found.media]
    assert names == [("image", "media/c1-00.png"), ("image", "media/c1-01.png")]
    assert found.answer == '{"a":"\\u003cb>"}'
    assert read(tmp_path / "set", "val") == []


def row(kind: str = "video", path: str = "media/a.mp4", role: str = "assistant", text: Any = "{}") -> str:
    part = {"type": kind} if kind == "image" else {"type": kind, kind: path}
    said = [{"role": "user", "content": [part, {"type": "text", "text": "?"}]}]
    said.append({"role": role, "content": [{"type": "text", "text": text}]})
    return json.dumps({"id": "a", "messages": said, "images": [path] if kind == "image" else []})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: no row of"),
        ("[]", "line 2: no row of"),
        ('{"id": "a", "messages": []}', "line 2: no row of"),
        (row(kind="audio"), "line 2: a medium that is no video or image of the set"),
        (row(path="../secret.mp4"), "line 2: a medium that is no"),
        (row(path="/etc/passwd"), "line 2: a medium that is no"),
        (row(kind="image", path="../secret.png"), "line 2: a medium that is no"),
        (row(kind="image").replace("media/a.mp4", 'a.png", "b.png'), "line 2: no row of"),
        (row().replace('"images": []', '"images": ["a.png"]'), "line 2: no row of"),
        (row().replace('"images": []', '"images": null'), "line 2: no row of"),
        (row(role="user"), "line 2: there is no answer"),
        (row(text=""), "line 2: there is no answer"),
        (row(text=3), "line 2: there is no answer"),
    ],
)
def test_a_row_of_another_form_is_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "train.trl.jsonl").write_text(f"{row()}\n{line}\n")
    with pytest.raises(TrainingError, match=said):
        read(tmp_path, "train")


def test_a_folder_that_is_no_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no set of `rushes caption-export`: No such file"):
        read(tmp_path, "train")
    (tmp_path / "train.trl.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(TrainingError, match="is not UTF-8"):
        read(tmp_path, "train")


def test_every_epoch_sees_every_lesson_once_in_an_order_of_its_own() -> None:
    lessons = [Lesson(str(n), (), (), "{}") for n in range(20)]
    steps = turn(lessons, 0, 0, 3)
    assert [len(step) for step in steps] == [7, 7, 6]
    assert sorted(one.clip_id for step in steps for one in step) == sorted(map(str, range(20)))
    assert steps == turn(lessons[::-1], 0, 0, 3)
    assert steps != turn(lessons, 1, 0, 3)
    assert steps != turn(lessons, 0, 1, 3)


def test_clips_and_pictures_are_looked_at_through_the_guarded_decoder(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    def red(_: int) -> Any:
        return np.full((64, 96, 3), (200, 20, 20), np.uint8)

    clip = make_video(tmp_path / "a.mp4", frames=24, fps=12, size=(96, 64), draw=red)
    still = make_video(tmp_path / "b.png", frames=1, size=(96, 64), codec="png", pix_fmt="rgb24", draw=red)
    (tmp_path / "c.mp4").write_bytes(b"no film")
    look = Look.by(Course(frames_max=4, short_side_px=32))
    try:
        film, picture = look(Lesson("a", (), (("video", clip), ("image", still)), "{}"))
        assert film.images.shape == (4, 32, 48, 3)
        assert film.images.mean(axis=(0, 1, 2)) == pytest.approx([200, 20, 20], abs=4)
        assert film.frame_s == pytest.approx(0.5, abs=0.15)  # two seconds by four frames
        assert picture.images.shape == (1, 32, 48, 3)
        assert picture.frame_s == 0
        with pytest.raises(MediaError):
            look(Lesson("c", (), (("video", tmp_path / "c.mp4"),), "{}"))
    finally:
        look.close()
