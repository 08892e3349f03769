"""Settings of a training: the paper's where it says them, and a sentence for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioner.training.course import Course, TrainingError, load


def test_the_defaults_are_the_papers_and_a_lora_takes_ten_times_the_step() -> None:
    course = load(None)
    assert (course.batch, course.epochs) == (512, 2)
    assert Course(rank=0).top_rate == 1e-5
    assert course.top_rate == 1e-4
    assert Course(rate=3e-3).top_rate == 3e-3


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
    assert (course.rank, course.batch, course.epochs, course.whole) == (16, 13, 20, ("lm_head",))
