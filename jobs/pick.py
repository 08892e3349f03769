"""The clips of a run on which experts and model disagree, as a file for review."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioner.pick import SHOT, Candidate, Picked, a_video, pick
from captioner.policy import PolicyCaptioner
from captioner.schema import loads
from jobs.config import ConfigError
from jobs.outputs import put
from jobs.pools import Pools
from jobs.review import Reviews
from jobs.run import NotReady, Run
from jobs.tables import measurements
from pipeline.clip import CLIPS, Clip

FIELDS = (*SHOT, "camera_motion", "expression")
"""Fields of a caption that experts know; the expert's answer is the column of that name."""
SURE = (*(f"{name}_confidence" for name in SHOT), "camera_confidence", "expression_confidence")
"""How sure they are."""
COLUMNS = ("vlm_caption", "concept_type", "concept_sub_type", *FIELDS, *SURE, "expression_tracks")
POLICY = PolicyCaptioner(camera_min=0.0, shot_min=0.0, expression_min=0.0)
"""Whose word would stand if every expert were sure: one that measured another subject disagrees with nobody."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a formula of a cell (OWASP, CSV injection)."""


def picked(run: Run, most: int, seed: int) -> list[Picked]:
    """The clips to look at, but for those whose caption people have looked at in a review of this run.

    NotReady: the run has no model's captions, or experts, to compare.
    """
    known = {column for planned in run.planned for column in planned.stage.columns.names}
    if "vlm_caption" not in known:
        raise NotReady(
            f"{run.store.root} has no model's captions to set against the experts': its captioner is"
            f' "{run.config.captioner}", and this needs "vllm" or "server" (docs/captions.md)'
        )
    seen = Reviews(Pools(run)).looked_at()
    every = candidates(run, [name for name in COLUMNS if name in known])
    return pick((one for one in every if one.clip_id not in seen), most, seed)


def candidates(run: Run, columns: Sequence[str]) -> Iterator[Candidate]:
    """Every clip with a model's caption, and what the experts say of it."""
    concepts = run.config.taxonomy()
    for batch in measurements(run, columns):
        for row in batch.select([*CLIPS.names, *columns]).to_pylist():
            if row["vlm_caption"] is not None:
                concept = concepts.concept_of(row.get("concept_type"), row.get("concept_sub_type"))
                yield Candidate(
                    row["clip_id"], row["video_id"], concept, experts(row), loads(row["vlm_caption"])
                )


def experts(row: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """What the experts say of the subject that the model's caption speaks of, and how surely."""
    said = {**dict.fromkeys(COLUMNS), **row}
    # claims are compared, and those are read in both languages
    model = {"vlm_caption": row["vlm_caption"], "vlm_engine": "", "vlm_language": "en"}
    upstream = {"vlm": model, **dict.fromkeys(("camera", "shot", "expression"), said)}
    clip = Clip(**{name: row[name] for name in CLIPS.names}, upstream=upstream)
    sources = POLICY.measure(None, clip, None)["caption_sources"]
    named = ((one["field"].rsplit(".", 1)[-1], one["confidence"]) for one in sources)
    return {name: (said[name], float(sure)) for name, sure in named if sure is not None}


def told(found: Sequence[Picked], most: int, to: Path) -> Iterator[str]:
    """What was picked, in a few lines: of how many videos, and why not otherwise."""
    videos = Counter(one.video_id for one in found)
    yield f"{len(found):,} clips of {len(videos):,} videos: {to}"
    largest = max(videos.values(), default=0)
    if largest > a_video(most):
        yield f"{largest:,} of them are of one video: too few others have clips on which experts and model disagree"
    if len(found) < most:
        yield f"fewer than {most:,}: on no other clip do experts and model disagree, or people have seen it"


def write(found: Sequence[Picked], to: Path) -> None:
    """The clips as .csv (no cell is a formula) or .jsonl. ConfigError: another suffix, or it cannot be written."""
    rows = [one.row() for one in found]
    if to.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif to.suffix == ".csv":
        text = _csv(rows)
    else:
        raise ConfigError(f"{to}: clips to look at go to .csv or .jsonl")
    put(to, text.encode())


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    names = list(rows[0]) if rows else list(Picked("", "", "", 0.0, ()).row())
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(value) for name, value in row.items()})
    return file.getvalue()


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
