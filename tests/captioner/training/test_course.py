"""Settings of a training: the paper's where it says them, and a sentence for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioner.training.course import Course, TrainingError, load
from captioner.training.loop import Plan


def test_the_defaults_are_the_papers_and_a_lora_takes_ten_times_the_step() -> None:
    course = load(None)
    assert (course.clips_a_step(2_000_000), course.epochs) == (512, 2)
    assert Course(rank=0).top_rate == 1e-5
    assert course.top_rate == 1e-4
    assert Course(rate=3e-3).top_rate == 3e-3


@pytest.mark.parametrize(
    ("clips", "batch"),
    [(0, 1), (13, 1), (100, 2), (500, 10), (1_000, 20), (20_000, 400), (25_600, 512), (30_000, 512)],
)
def test_a_small_set_is_learnt_in_fifty_steps_an_epoch_or_one_a_clip(clips: int, batch: int) -> None:
    assert Course().clips_a_step(clips) == batch
    assert Plan.of(Course(), clips).per_epoch >= min(clips, 50)
    assert Plan.of(Course(batch=512, epochs=3), clips) == Plan(clips, 512, 3)  # what is asked for stands


def test_a_file_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "course.toml"
    path.write_text('rank = 4\nwhole = ["lm_head"]\n')
    assert load(path) == Course(rank=4, whole=("lm_head",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ranks = 4", "ranks: Extra inputs are not permitted"),
        ("rate = 0", "rate: Input should be greater than 0"),
        ("batch = 2.5", "batch: Input should be a valid integer"),
        ("batch =", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "course.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=said):
        load(path)
    with pytest.raises(TrainingError, match="cannot read the course"):
        load(tmp_path / "none.toml")


def test_the_example_is_a_course() -> None:
    course = load(Path(__file__).parents[3] / "examples" / "finetune_tiny.toml")
    assert (course.rank, course.batch, course.epochs, course.whole) == (16, 4, 20, ("lm_head",))
