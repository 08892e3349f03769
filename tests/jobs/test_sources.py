"""Where a video comes from, for a balance and for a gate."""

from __future__ import annotations

import pytest

from jobs.sources import axis_source, source_of


@pytest.mark.parametrize(
    ("extra", "path", "gate", "by_column"),
    [
        ('{"source": "archive"}', "/a/b/c.mp4", "archive", "archive"),
        ('{"source": 0}', "/a/b/c.mp4", "0", "0"),
        ('{"source": " "}', "/a/b/c.mp4", "b", None),
        ('{"source": null}', "/a/b/c.mp4", "b", None),
        ("{}", "/a/b/c.mp4", "b", None),
        (None, "s3://bucket/films/c.mp4", "films", None),
        (None, "c.mp4", "unknown", None),
    ],
)
def test_a_manifest_is_read_alike_for_a_balance_and_for_a_gate(extra, path, gate, by_column):
    video = {"extra": extra, "path": path}
    assert source_of(video) == gate
    assert axis_source(video, "source") == by_column
    assert axis_source(video, "") == path
