"""How right the camera expert is on camera paths rendered over real pictures; writes them into docs/accuracy.json.

    python -m benchmarks.accuracy.camera MEDIA... [--rounds N] [--docs FOLDER]

MEDIA are folders filled by `rushes weights get`. Each path is filmed in a scene of several planes with depth, made of
pictures out of the page's clean clips, encoded as H.264 and measured as any video is. Two processes, five minutes. The
expert's thresholds were chosen on other pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import captioner
import filters
from benchmarks.accuracy import results
from benchmarks.accuracy.camera_film import encode, film
from benchmarks.accuracy.camera_paths import Take, takes
from benchmarks.accuracy.camera_scene import Gray, still_of
from benchmarks.accuracy.footage import CLEAN, EVERY_FRAME_S, find
from benchmarks.accuracy.harness import DOCS, publish
from benchmarks.accuracy.meter import Meter
from filters.base import one_thread_cv2
from pipeline.frames import Decoder, VideoIndex
from pipeline.stage import ClipError, FrameSpec, Row

ROUNDS = 6
STILL = FrameSpec(EVERY_FRAME_S, short_side_px=540)
STAGES = ("flow", "sway", "camera")
WORDS = {"turn": ("pan", "tilt", "zoom"), "travel": ("truck", "pedestal", "dolly")}


def stills(folders: Sequence[Path]) -> list[Gray]:
    """A picture from the middle of every clean clip but those that show another's take and dark ones."""
    found = []
    with Decoder() as decoder:
        for clean in CLEAN:
            if clean.again or "dark" in clean.traits:
                continue
            path = str(find(clean.video, folders))
            index = VideoIndex.from_row(decoder.probe(path))
            middle = int(np.searchsorted(index.times_s, clean.start_s + clean.length_s / 2))
            picture = decoder.read(path, index, [(middle, middle + 1)], STILL)[0].images[0]
            found.append(still_of(picture))
    return found


def shown(row: Row) -> list[dict[str, int]]:
    """The directions of each phase by axis; "move" and a number for a way whose cause is not told."""
    found = []
    for phase in row["camera_phases"] or []:
        names = WORDS.get(phase["kind"], ("move 0", "move 1", "move 2"))
        speeds = zip(
            (*names, "roll"), (phase[name] for name in ("right", "up", "inward", "roll")), strict=True
        )
        found.append({name: 1 if speed > 0 else -1 for name, speed in speeds if speed})
    return found


def verdict(take: Take, row: Row) -> str:
    """right, undecided (the way is right, its cause not told), silent or wrong."""
    flags = {"handheld": "camera_handheld", "abrupt": "camera_abrupt"}
    if take.group in flags:
        said = row[flags[take.group]]
        return "right" if said else "silent" if said is None else "wrong"
    moving = [phase for phase in shown(row) if phase]
    if take.group == "still":
        claims = moving or row["camera_handheld"] or row["camera_abrupt"]
        return "right" if row["camera_static"] else "wrong" if claims else "silent"
    if not row["camera_motion"]:
        return "silent"
    if moving == [dict(phase) for phase in take.moves]:
        return "right"
    return "undecided" if moving == [_undecided(phase) for phase in take.moves] else "wrong"


def _undecided(phase: Mapping[str, int]) -> dict[str, int]:
    places = {name: f"move {i}" for names in WORDS.values() for i, name in enumerate(names)}
    return {places.get(name, name): sign for name, sign in phase.items()}


def said(row: Row) -> str:
    """The kinds of motion in a word or a few, without their ways."""
    parts = [" + ".join(sorted({name.split()[0] for name in phase})) for phase in shown(row) if phase]
    if parts:
        return ", then ".join(parts)
    return "static" if row["camera_static"] else "handheld" if row["camera_handheld"] else "nothing"


def work(pictures: Sequence[Gray], number: int) -> list[dict[str, Any]]:
    """One round: a row a take."""
    one_thread_cv2()
    wanted = {stage.name: stage for stage in (*filters.STAGES, *captioner.STAGES)}
    chain = [wanted[name] for name in STAGES]
    rows = []
    with Decoder() as decoder, tempfile.TemporaryDirectory() as scratch:
        meter = Meter(decoder)
        for place, take in enumerate(takes(number, np.random.default_rng(number))):
            path = Path(scratch) / "take.mp4"
            frames = film(take, pictures, np.random.default_rng(1000 * number + place))
            encode(frames, take.condition, path)
            row = meter.rows(path, chain)["camera"]
            if isinstance(row, ClipError):
                raise row
            rows.append(
                {
                    **{name: getattr(take, name) for name in ("group", "kind", "speed", "condition")},
                    "verdict": verdict(take, row),
                    "said": said(row),
                    "speed_said": row["camera_speed"],
                    "handheld": row["camera_handheld"],
                    "abrupt": row["camera_abrupt"],
                }
            )
    return rows


def measure(pictures: Sequence[Gray], rounds: int) -> list[dict[str, Any]]:
    """The rows of all rounds, in two processes."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = pool.map(partial(work, pictures), range(rounds))
        return [row for rows in found for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="How right the camera expert is, on rendered camera paths.")
    parser.add_argument("media", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args()
    rows = measure(stills(asked.media), asked.rounds)
    numbers = asked.docs / "accuracy.json"
    publish(dataclasses.replace(results.read(numbers), camera=tuple(rows)), asked.docs)
    right = sum(row["verdict"] == "right" for row in rows)
    print(f"{right} of {len(rows)} takes right: {asked.docs / 'accuracy.md'}")


if __name__ == "__main__":
    main()
