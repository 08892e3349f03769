"""What a balance calls the clips of a run, and what it asks of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from balance.concepts import UNKNOWN, load_concepts
from balance.settings import Axis, Balance
from jobs.axes import Labels, balance_of, lacking
from jobs.subjects import concepts_of
from pipeline.recipe import RecipeError, load

CONCEPTS = load_concepts()
NONE = pa.array([UNKNOWN] * 4)
"""Kinds of clips of which nothing is known."""
VIDEOS = {
    "v1": {"path": "/films/a.mp4", "extra": json.dumps({"set": "art", "year": 1999})},
    "v2": {"path": "/films/b.mp4", "extra": None},
}


def labels(tmp_path: Path, *axes: Axis, columns: tuple[str, ...] = (), text: str = "") -> Labels:
    path = tmp_path / "pool.toml"
    path.write_text(text + "[shard]\nresolution = '256p'\n")
    return Labels(load(path), Balance((*axes, Axis("concept", cap=0.5))), CONCEPTS, VIDEOS, columns)


def clips(**columns: Any) -> pa.Table:
    return pa.table({"video_id": ["v1", "v2", "v1", "v2"], **columns})


def test_concept_is_the_category_of_the_kind(tmp_path: Path) -> None:
    table = clips(
        concept_type=["Human", None, None, None],
        concept_sub_type=["Woman", None, None, None],
        object_labels=[["dog"], ["dog"], [], []],
        object_evidence=[[0.9], [0.9], [], []],
    )
    kinds, _ = concepts_of(CONCEPTS, table)
    found = labels(tmp_path, Axis("kind", cap=0.5)).of(table, kinds)
    assert found[0].to_pylist() == ["Human > Woman", "Animal > Dog", UNKNOWN, UNKNOWN]
    assert found[1].to_pylist() == ["Human", "Animal", UNKNOWN, UNKNOWN]


def test_sources_are_videos_or_what_the_manifest_says(tmp_path: Path) -> None:
    paths, sets, _ = labels(tmp_path, Axis("source"), Axis("source", by="set")).of(clips(), NONE)
    assert paths.to_pylist() == ["/films/a.mp4", "/films/b.mp4", "/films/a.mp4", "/films/b.mp4"]
    assert sets.to_pylist() == ["art", None, "art", None]
    years = labels(tmp_path, Axis("source", by="year")).of(clips(), NONE)[0]
    assert years.to_pylist() == ["1999", None, "1999", None]


def test_buckets_are_those_of_the_shards_after_the_crop(tmp_path: Path) -> None:
    shape = clips(
        duration_s=[4.2, 4.2, 0.1, 4.2],
        fps=[24.0, 24.0, 24.0, 24.0],
        width=[1920, 1920, 1920, 1920],
        height=[1080, 1080, 1080, 1080],
        is_image=[False, False, False, False],
        border_left_ratio=[0.0, 0.25, 0.0, 0.0],
        border_right_ratio=[0.0, 0.25, 0.0, 0.0],
        border_top_ratio=[0.0, 0.0, 0.0, 0.0],
        border_bottom_ratio=[0.0, 0.0, 0.0, None],
    )
    found = labels(tmp_path, Axis("bucket")).of(shape, NONE)[0]
    assert found.to_pylist() == ["t097-ar16x9", "t097-ar1x1", None, "t097-ar16x9"]


def test_only_the_columns_of_the_axes_are_read(tmp_path: Path) -> None:
    columns = (
        "motion_score",
        "camera_motion_score",
        "object_motion_score",
        "concept_type",
        "concept_sub_type",
    )
    seen = ("object_labels", "object_evidence", "class_labels", "class_scores")
    known = (*columns, "caption", *seen, "embedding", "embedding_flat", "vqa_score", "duration_s")
    named = labels(tmp_path, Axis("motion"), columns=known)
    assert named.columns == [*columns, *seen]
    assert labels(tmp_path, Axis("cluster"), columns=known).columns[:2] == ["embedding", "embedding_flat"]


def test_what_decides_labels_beside_the_columns_is_part_of_their_meaning(tmp_path: Path) -> None:
    plain = labels(tmp_path, Axis("bucket"), Axis("source")).meaning
    assert labels(tmp_path, Axis("bucket"), Axis("source")).meaning == plain
    assert labels(tmp_path, Axis("bucket"), Axis("source"), text="crop = 'none'\n").meaning != plain
    assert labels(tmp_path, Axis("bucket"), Axis("source", by="set")).meaning != plain
    assert labels(tmp_path).meaning == labels(tmp_path, text="crop = 'none'\n").meaning


@pytest.mark.parametrize(
    ("axis", "prefer", "columns", "sentence"),
    [
        (
            Axis("concept", cap=0.5),
            "",
            (),
            "balances by concept: the run's stages must have 'caption', 'objects' or 'embedding'",
        ),
        (Axis("concept", cap=0.5), "", ("object_labels", "object_evidence"), ""),
        (Axis("concept", cap=0.5), "", ("class_labels", "class_scores"), ""),
        (Axis("kind", cap=0.5), "", ("concept_type", "concept_sub_type"), ""),
        (
            Axis("motion", cap=0.5),
            "",
            ("motion_score",),
            "balances by motion: .* no column camera_motion_score",
        ),
        (Axis("cluster", cap=0.5), "", ("embedding",), "no column embedding_flat"),
        (Axis("bucket", cap=0.5), "", (), ""),
        (Axis("mood", cap=0.5), "", (), "balances by mood, which is none of concept, .* and no column"),
        (Axis("source", cap=0.5), "iqa", (), "prefers by iqa, and the run has no such column"),
    ],
)
def test_what_a_run_lacks_is_said(axis: Axis, prefer: str, columns: tuple[str, ...], sentence: str) -> None:
    import re

    found = lacking(Balance((axis,), prefer=prefer), columns)
    assert re.search(sentence, found) if sentence else found == ""


def test_wrong_settings_name_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text("[balance.axis.concept]\nshares = { Humans = 0.5 }\n")
    with pytest.raises(
        RecipeError, match=r"pool\.toml: balance: shares names Humans, which is none of Human"
    ):
        balance_of(load(path), CONCEPTS)


def test_a_column_that_cannot_be_an_axis_names_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"pool\.toml: balance: axis vqa_score holds double: .* needs edges"
    ):
        labels(tmp_path, Axis("vqa_score")).of(clips(vqa_score=[0.1, 0.2, 0.3, 0.4]), NONE)
