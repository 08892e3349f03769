"""What the next captioner learns from: clips with their captions, balanced by concept, split so that nothing leaks.

A set is a folder that LLaMA-Factory, ms-swift and TRL read:

    train.jsonl val.jsonl           messages with <video> or <image> marks; `videos` and `images` beside them
    train.trl.jsonl val.trl.jsonl   the same with parts in the messages' content, for TRL and captioner.finetune
    dataset_info.json               what LLaMA-Factory asks for
    media/                          the clips, or frames of them
    manifest.json                   counts, and the sha256 of every other file
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

    With `most`, no more than about four times as many are held at any time.
    """
    counts: Counter[str] = Counter()
    held: dict[str, list[Example]] = defaultdict(list)
    room = 0
    for one in examples:
        counts[one.concept] += 1
        held[one.concept].append(one)
        room += 1
        if most is not None and room > 4 * (most + len(counts)):
            # Shares only shrink as more is seen; one more, because who gets a share's odd clip may still change.
            shares = _shares(counts, most)
            held = {name: _first(found, shares[name] + 1, seed) for name, found in held.items()}
            held = defaultdict(list, held)
            room = sum(map(len, held.values()))
    shares = _shares(counts, counts.total() if most is None else most)
    return [one for name, share in shares.items() for one in _first(held[name], share, seed)]


def _shares(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """How many each concept gives, the rarest first."""
    found: dict[str, int] = {}
    rarest = sorted(counts, key=lambda concept: (counts[concept], concept))
    for number, concept in enumerate(rarest):
        found[concept] = min(-(-most // (len(rarest) - number)), counts[concept])
        most -= found[concept]
    return found


def _first(examples: Iterable[Example], most: int, seed: int) -> list[Example]:
    return heapq.nsmallest(most, examples, key=lambda one: (not one.checked, hashed(seed, one.clip_id)))


def split(
    examples: Sequence[Example], val_share: float, seed: int, related: Mapping[str, str] | None = None
) -> Split:
    """Train and validation; every family of videos lies in one of them whole.

    `related` gives a video's family, as `families` found it over all clips that there are, not over these examples
    alone: the clip that ties two videos is often the one that a recipe left out as a copy. A video that it does not
    have is a family of its own. Families are gone through in the order of a hash; one goes to validation while it fits
    there. Where none fits, the smallest does, so that validation is empty only when there is one family.
    """
    known = related or {}
    sizes = Counter(known.get(one.video_id, one.video_id) for one in examples)
    ordered = sorted(sizes, key=lambda family: hashed(seed, family))
    room = val_share * len(examples)
    held: set[str] = set()
    for family in ordered:
        if sizes[family] <= room:
            held.add(family)
            room -= sizes[family]
    if not held and val_share > 0 and len(ordered) > 1:
        held.add(min(ordered, key=lambda family: sizes[family]))
    parts: tuple[list[Example], list[Example]] = ([], [])
    for one in sorted(examples, key=lambda one: one.clip_id):
        parts[known.get(one.video_id, one.video_id) in held].append(one)
    return Split(*map(tuple, parts))


def families(ties: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By video, the first by name of those that clusters of copies tie to it, directly or over others.

    `ties` are (video id, cluster) of clips that have copies; videos that are in none of them have no entry.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for video, cluster in ties:
        one, other = root(f"v{video}"), root(f"c{cluster}")
        parent[one] = other
    first: dict[str, str] = {}
    videos = sorted(name for name in parent if name.startswith("v"))
    return {name[1:]: first.setdefault(root(name), name[1:]) for name in videos}


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
            _put(folder, name, [medium.data], digests)
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
    _put(folder, "dataset_info.json", [_json(dataset_info())], digests)
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
    """The row that TRL reads: typed parts in each message's content, and `images`.

    By the column `images` TRL (1.16, SFTTrainer) knows that there is something to see, else it teaches the texts alone;
    its collator puts the pictures where a part of type image names none. It has no column of videos: a video's part
    names its file, which transformers opens.
    """
    system = [{"role": "system", "content": [_text(ask.system)]}] if ask.system else []
    seen = [{"type": kind} if kind == "image" else {"type": kind, kind: path} for kind, path in shown]
    return {
        "id": example.clip_id,
        "messages": [
            *system,
            {"role": "user", "content": [*seen, _text(ask.user)]},
            {"role": "assistant", "content": [_text(target(example.caption))]},
        ],
        "images": [path for kind, path in shown if kind == "image"],
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


def _put(folder: Path, name: str, pieces: Iterable[bytes], digests: dict[str, dict[str, Any]]) -> None:
    size, digest = 0, hashlib.sha256()
    with (folder / name).open("wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    digests[name] = {"bytes": size, "sha256": digest.hexdigest()}


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    return ((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows)


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
