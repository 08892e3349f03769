"""The clips of a run on which experts and model disagree, as a file for review."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioner.pick import SHOT, Candidate, Picked, pick
from captioner.schema import loads
from jobs.config import ConfigError
from jobs.pools import Pools
from jobs.review import Reviews
from jobs.run import NotReady, Run
from jobs.tables import measurements

CONFIDENCE = {
    **{name: f"{name}_confidence" for name in SHOT},
    "camera_motion": "camera_confidence",
    "expression": "expression_confidence",
}
"""By field of a caption, the column that says how sure its expert is; the expert's answer has the field's own name."""
COLUMNS = ("vlm_caption", "concept_type", "concept_sub_type", *CONFIDENCE, *CONFIDENCE.values())
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
        for row in batch.select(["clip_id", "video_id", *columns]).to_pylist():
            if row["vlm_caption"] is not None:
                concept = concepts.concept_of(row.get("concept_type"), row.get("concept_sub_type"))
                yield Candidate(
                    row["clip_id"], row["video_id"], concept, experts(row), loads(row["vlm_caption"])
                )


def experts(row: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """What the experts say of a clip, and how surely."""
    return {
        name: (row[name], float(row[confidence]))
        for name, confidence in CONFIDENCE.items()
        if row.get(name) and row.get(confidence) is not None
    }


def write(found: Sequence[Picked], to: Path) -> None:
    """The clips as .csv (no cell is a formula) or .jsonl. ConfigError: another suffix, or it cannot be written."""
    rows = [one.row() for one in found]
    if to.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif to.suffix == ".csv":
        text = _csv(rows)
    else:
        raise ConfigError(f"{to}: clips to look at go to .csv or .jsonl")
    scratch = to.with_name(f".partial-{to.name}")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, to)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ConfigError(f"{to}: it cannot be written: {error.strerror or error}") from None


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
