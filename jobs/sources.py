"""Where a video comes from: what its manifest says, its folder, or the video itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

COLUMN = "source"
"""The manifest's own column that names a video's source."""


def stated(video: Mapping[str, Any], column: str) -> str | None:
    """What a VIDEOS row's manifest says in a column of its own; None where it says nothing or a blank."""
    said = json.loads(video["extra"] or "{}").get(column)
    return None if said is None or not str(said).strip() else str(said)


def axis_source(video: Mapping[str, Any], by: str) -> str | None:
    """The source that a balance counts: what the manifest says in the column `by`; without one the video's path."""
    return stated(video, by) if by else str(video["path"])


def source_of(video: Mapping[str, Any]) -> str:
    """The source that a gate judges: what the manifest says in COLUMN, else the folder that the video lies in."""
    folder = str(video["path"]).rstrip("/").rpartition("/")[0].rpartition("/")[2]
    return stated(video, COLUMN) or folder or "unknown"
