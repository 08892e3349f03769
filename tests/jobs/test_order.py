"""A stage waits for those that it requires, whichever command runs it."""

from pathlib import Path
from typing import Any

import pytest

from jobs.run import NotReady, caption_names


@pytest.mark.slow
def test_captions_before_annotations_are_refused_and_nothing_fails_for_good(
    small: Any, tmp_path: Path
) -> None:
    run = small.run(tmp_path / "run", stages=["black", "camera"])
    run.ingest()
    run.segment()
    with pytest.raises(NotReady, match="rushes annotate"):
        run.annotate(caption_names(), "caption")
    run.annotate(["black", "flow", "sway"])
    run.annotate(caption_names(), "caption")
    entries = list(run.annotation_entries())
    assert {entry.step.split("@")[0] for entry in entries} == {
        "annotations/black",
        "annotations/flow",
        "annotations/sway",
        "annotations/camera",
    }
    assert [failure for entry in entries for failure in entry.failures] == []
