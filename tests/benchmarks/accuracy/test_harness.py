"""The harness on two clips and one defect: rendered, encoded, decoded, measured, judged and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.accuracy import footage, harness, meter, page, results, sheet
from benchmarks.accuracy.defect import Defect, Pictures
from benchmarks.accuracy.footage import Clean
from filters import STAGES
from pipeline.frames import Decoder

CLIPS = (
    Clean("one", "media/source.mp4", 0.0, 2.0),
    Clean("two", "media/source.mp4", 2.0, 2.0, 120, ("still",)),
)


def darker(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    return pictures // 8


def dark(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    return pictures // 64


DARK = Defect("dark", "exposure", "brightness", "low", {"an eighth": darker, "a 64th": dark}, 0.03, "Ours.")
LEFT_OUT = Defect("not still", "exposure", "brightness", "low", {"an eighth": darker}, 0.03, "", ("still",))
UNKNOWN = Defect("unknown", "no_such_stage", "x", "low", {"an eighth": darker}, 0.03)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    coarse = np.random.default_rng(7).integers(60, 220, (20, 60, 3), dtype=np.uint8)
    wide = coarse.repeat(12, axis=0).repeat(12, axis=1)

    def draw(number: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(wide[:180, number : number + 320])

    media = tmp_path_factory.mktemp("folder")
    (media / "media").mkdir()
    make_video(media / "media" / "source.mp4", frames=120, size=(320, 180), draw=draw)
    return media


def test_footage_is_cut_scaled_and_even(folder: Path) -> None:
    with Decoder() as decoder:
        one, two = (footage.load(clip, [folder], decoder) for clip in CLIPS)
    assert one.pictures.shape == (48, 176, 320, 3)  # 180 high, less half a block
    assert two.pictures.shape == (48, 120, 208, 3)
    assert (one.fps, two.traits) == (24.0, ("still",))


def test_footage_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    with Decoder() as decoder, pytest.raises(FileNotFoundError, match="`make accuracy` fetches it"):
        footage.load(CLIPS[0], [tmp_path], decoder)


def test_two_clips_and_a_defect(folder: Path) -> None:
    known = {"light": (DARK, LEFT_OUT, UNKNOWN)}
    answers = [harness.measure(clip, CLIPS, [folder], known, {("light", "dark")}) for clip in CLIPS]
    again = harness.measure(CLIPS[0], CLIPS, [folder], known, ())
    assert again.values == answers[0].values
    found = harness.collected(answers, known)
    dark, other = found.defects
    assert list(dark.clean) == ["one", "two"]
    assert list(other.clean) == ["one"]
    assert found.skipped == {"light: unknown": "there is no stage no_such_stage"}
    for clip, clean in dark.clean.items():
        values = [clean, *(step[clip] for step in dark.strengths.values())]
        assert all(value is not None for value in values)
        assert values[1] == pytest.approx(values[0] / 8, rel=0.15)  # type: ignore[operator]
        assert values[2] < 0.03 < values[1] < values[0]  # type: ignore[operator]
    assert [share.hits for share in dark.recall().values()] == [0, 2]
    assert dark.rank() == (1.0, (1.0, 1.0))
    assert sorted(answers[0].thumbs) == [("light", "dark", name) for name in ("", "a 64th", "an eighth")]
    assert "good, misses the mild" in page.render(found)


@pytest.mark.slow
def test_a_page_is_written_with_its_pictures(folder: Path, tmp_path: Path) -> None:
    found = harness.run([folder], tmp_path, ["exposure"], CLIPS, processes=1)
    assert results.read(tmp_path / "accuracy.json") == found
    assert (tmp_path / "accuracy.md").read_text(encoding="utf-8") == page.render(found)
    assert 0 < (tmp_path / "images" / "accuracy" / "exposure.jpg").stat().st_size <= sheet.MOST_BYTES


def test_a_stage_comes_after_all_that_it_builds_on() -> None:
    chain = [stage.name for stage in meter.needed(STAGES, "motion")]
    assert chain == ["flow", "motion"]
    assert meter.needed(STAGES, "no_such_stage") == []


def test_of_many_controls_every_second_is_a_subject() -> None:
    many = [Clean(str(number), "x", 0.0, 4.0, None, ("still",) if number < 4 else ()) for number in range(24)]
    assert harness.controls(LEFT_OUT, many) == [str(number) for number in range(4, 24)]
    assert len(harness.subjects("light", LEFT_OUT, many)) == 10
    assert harness.subjects("light", LEFT_OUT, many[:20]) == [str(number) for number in range(4, 20)]
    families = (
        harness.subjects(name, DARK, many)[0] for name in ("light", "blur", "noise", "mosaic", "static")
    )
    assert set(families) == {"0", "1"}


def test_renderers_that_are_shared_are_rendered_once() -> None:
    twin = Defect("twin", "black", "black_ratio", "high", {"an eighth": darker}, 0.5)
    together = harness.alike([("light", DARK), ("light", twin), ("other", twin)])
    assert [[one.key for one in group] for group in together] == [
        [("light", "dark", "an eighth"), ("light", "twin", "an eighth")],
        [("light", "dark", "a 64th")],
        [("other", "twin", "an eighth")],
    ]


@pytest.mark.parametrize(
    ("render", "said"),
    [
        (lambda pictures, fps, dice: pictures[1:], "renders"),
        (lambda pictures, fps, dice: pictures.astype(np.float32), "renders"),
        (lambda pictures, fps, dice: np.add(pictures, 1, out=pictures), "read-only"),
    ],
)
def test_a_renderer_that_breaks_its_promise_is_named(render: Callable[..., Pictures], said: str) -> None:
    shot = footage.Footage("x", np.zeros((4, 16, 16, 3), np.uint8), 24.0, ())
    one = harness.Faulty("light", Defect("d", "black", "black_ratio", "high", {"s": render}, 0.5), "s")
    with pytest.raises(ValueError, match=said):
        harness.rendered(one, shot)
