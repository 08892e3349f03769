"""What the next captioner learns from: clips with their captions, balanced by concept, split so that nothing leaks.

A set is a folder that LLaMA-Factory, ms-swift and TRL read:

    train.jsonl val.jsonl           messages with <video> or <image> marks; `videos` and `images` beside them
    train.trl.jsonl val.trl.jsonl   the same with parts in the messages' content
    dataset_info.json               what LLaMA-Factory asks for
    media/                          the clips, or frames of them
    manifest.json                   counts, and the sha256 of every other file
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SPLITS = ("train", "val")
FORMAT = "1.0"
MARKS = {"video": "<video>", "image": "<image>"}
"""Where a medium stands in a message's text (LLaMA-Factory's and ms-swift's mark)."""


@dataclass(frozen=True)
class Example:
    """One clip and the caption that it teaches."""

    clip_id: str
    video_id: str
    caption: str
    """Canonical JSON: captioner.schema.dumps."""
    engine: str
    concept: str = ""
    cluster: str = ""
    """Of its near-duplicates, over all videos; empty: it has none."""

    @property
    def checked(self) -> bool:
        """Did a person correct it?"""
        return self.engine.startswith("human:")


@dataclass(frozen=True)
class Medium:
    """One file that the model is shown."""

    kind: Literal["video", "image"]
    suffix: str
    data: bytes


@dataclass(frozen=True)
class Split:
    """The examples of each part of a set, by clip id."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]


def chosen(examples: Iterable[Example], most: int | None, seed: int) -> list[Example]:
    """At most so many examples, as evenly over the concepts as they allow: a concept gives its all, or the same as the
    others that have more. Those that people corrected come first, then by a hash of seed and clip id.
    """
    by_concept: dict[str, list[Example]] = defaultdict(list)
    for one in examples:
        by_concept[one.concept].append(one)
    room = sum(map(len, by_concept.values())) if most is None else most
    found: list[Example] = []
    rarest = sorted(by_concept, key=lambda concept: (len(by_concept[concept]), concept))
    for number, concept in enumerate(rarest):
        share = -(-room // (len(rarest) - number))
        ranked = sorted(by_concept[concept], key=lambda one: (not one.checked, hashed(seed, one.clip_id)))
        found += ranked[:share]
        room -= min(share, len(ranked))
    return found


def split(examples: Sequence[Example], val_share: float, seed: int) -> Split:
    """Train and validation; every video, and every cluster of near-duplicates, lies in one of them whole.

    The families of videos that copies tie together are gone through in the order of a hash; one goes to validation
    while it fits there. Where none fits, the smallest does, so that validation is empty only when there is one family.
    """
    families = sorted(_families(examples), key=lambda family: hashed(seed, family[0]))
    counts = Counter(one.video_id for one in examples)
    sizes = [sum(counts[video] for video in family) for family in families]
    room = val_share * len(examples)
    held: set[int] = set()
    for number in range(len(families)):
        if sizes[number] <= room:
            held.add(number)
            room -= sizes[number]
    if not held and val_share > 0 and len(families) > 1:
        held.add(min(range(len(families)), key=lambda number: sizes[number]))
    videos = {video for number in held for video in families[number]}
    ordered = sorted(examples, key=lambda one: one.clip_id)
    return Split(
        tuple(one for one in ordered if one.video_id not in videos),
        tuple(one for one in ordered if one.video_id in videos),
    )


def _families(examples: Iterable[Example]) -> list[list[str]]:
    """Videos that share a cluster, directly or over others, together: each sorted."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one in examples:
        video = root(f"v{one.video_id}")
        if one.cluster:
            parent[root(f"c{one.cluster}")] = video
    families: dict[str, list[str]] = defaultdict(list)
    for name in sorted(parent):
        if name.startswith("v"):
            families[root(name)].append(name[1:])
    return list(families.values())


def hashed(seed: int, name: str) -> str:
    """64 hex digits that seed and name alone decide."""
    return hashlib.sha256(f"{seed}\n{name}".encode()).hexdigest()


# --- writing


@dataclass(frozen=True)
class Ask:
    """What the model is asked, the same for every clip."""

    user: str
    system: str = ""
    label: str = ""
    """Name, version and digest of the template."""


def write(
    folder: Path,
    found: Split,
    ask: Ask,
    media: Callable[[Iterable[str]], Iterable[tuple[str, Sequence[Medium]]]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes a set into an empty folder; gives its manifest.

    `media` gives the files of clips, asked for by id, in any order; a clip that it leaves out is left out of the set
    and counted. `about` goes into the manifest.
    """
    (folder / "media").mkdir(parents=True)
    digests: dict[str, dict[str, Any]] = {}
    shown: dict[str, list[tuple[str, str]]] = {}
    wanted = sorted(one.clip_id for one in (*found.train, *found.val))
    for clip_id, files in media(wanted):
        for number, medium in enumerate(files):
            name = f"media/{clip_id}{f'-{number:02d}' if len(files) > 1 else ''}{medium.suffix}"
            _put(folder, name, medium.data, digests)
            shown.setdefault(clip_id, []).append((medium.kind, name))
    for name in SPLITS:
        examples = [one for one in getattr(found, name) if one.clip_id in shown]
        _put(
            folder, f"{name}.jsonl", _lines(marked(one, shown[one.clip_id], ask) for one in examples), digests
        )
        _put(
            folder,
            f"{name}.trl.jsonl",
            _lines(parted(one, shown[one.clip_id], ask) for one in examples),
            digests,
        )
    _put(folder, "dataset_info.json", _json(dataset_info()), digests)
    manifest = {
        "format": FORMAT,
        "prompt": ask.label,
        **about,
        "without_media": len(wanted) - len(shown),
        "splits": {name: _counts([o for o in getattr(found, name) if o.clip_id in shown]) for name in SPLITS},
        "files": dict(sorted(digests.items())),
    }
    (folder / "manifest.json").write_bytes(_json(manifest))
    return manifest


def marked(example: Example, shown: Sequence[tuple[str, str]], ask: Ask) -> dict[str, Any]:
    """The row that LLaMA-Factory (sharegpt) and ms-swift (messages) read: marks in the text, paths beside it."""
    marks = "".join(MARKS[kind] for kind, _ in shown)
    messages = [{"role": "system", "content": ask.system}] if ask.system else []
    messages += [
        {"role": "user", "content": f"{marks}{ask.user}"},
        {"role": "assistant", "content": target(example.caption)},
    ]
    paths = {f"{kind}s": [path for found, path in shown if found == kind] for kind in MARKS}
    return {"id": example.clip_id, "messages": messages, **paths}


def parted(example: Example, shown: Sequence[tuple[str, str]], ask: Ask) -> dict[str, Any]:
    """The row that TRL reads: typed parts in each message's content."""
    system = [{"role": "system", "content": [_text(ask.system)]}] if ask.system else []
    pictures = [{"type": kind, kind: path} for kind, path in shown]
    return {
        "id": example.clip_id,
        "messages": [
            *system,
            {"role": "user", "content": [*pictures, _text(ask.user)]},
            {"role": "assistant", "content": [_text(target(example.caption))]},
        ],
    }


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def target(caption: str) -> str:
    """The answer that is taught: the canonical JSON, every `<` as JSON's own escape.

    A caption that speaks of `<video>` or `<|im_end|>` would else ask the loader for one file more, or end the turn.
    """
    return caption.replace("<", "\\u003c")


def dataset_info() -> dict[str, Any]:
    """LLaMA-Factory's description of the two parts."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    columns = {"messages": "messages", "videos": "videos", "images": "images"}
    return {
        f"rushes_{name}": {
            "file_name": f"{name}.jsonl",
            "formatting": "sharegpt",
            "columns": columns,
            "tags": tags,
        }
        for name in SPLITS
    }


def _counts(examples: Sequence[Example]) -> dict[str, Any]:
    return {
        "clips": len(examples),
        "videos": len({one.video_id for one in examples}),
        "checked": sum(one.checked for one in examples),
        "engines": dict(sorted(Counter(one.engine for one in examples).items())),
        "concepts": dict(sorted(Counter(one.concept for one in examples).items())),
    }


def _put(folder: Path, name: str, data: bytes, digests: dict[str, dict[str, Any]]) -> None:
    (folder / name).write_bytes(data)
    digests[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
