"""What the next captioner learns from, out of a run's shards: captions as people and engines left them, and clips."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from captioner import distill
from captioner.distill import Ask, Example, Medium
from captioner.engine import PLACEHOLDERS
from captioner.prompt import Template, skeleton
from captioner.prompt import load as load_prompt
from captioner.targets import Untaught, target_of
from jobs.config import ConfigError
from jobs.gather import spread
from jobs.kinship import Kinship, kinship
from jobs.labels import rows_of
from jobs.pools import Pools
from jobs.run import NotReady, Run
from jobs.shards import Shards
from pipeline.encode import MP4
from pipeline.scan import PROXIES
from pipeline.shards import ShardFile, open_shard, read_rows
from pipeline.store import StorageError


@dataclass(frozen=True)
class Teaching:
    """The captioned clips of one pool's shards, and the settings of a set made from them."""

    run: Run
    pool: str
    most: int | None = None
    val_share: float = 0.05
    frames: int | None = None
    """So many pictures of each clip instead of the clip itself."""
    prompt: str = "caption_en"
    """A packaged prompt's name, or a file's path."""
    seed: int = 0
    without: Path | None = None
    """A file whose clips are kept for measuring: no clip of their videos, or of copies of these, is taught."""
    embedded: bool = False
    """Whether captions of the embedded captioner, which leaves much unsaid, are taught too."""

    def write(self, to: Path) -> dict[str, Any]:
        """Writes the set to a folder that is not there yet, whole or not at all; gives its manifest.

        NotReady: no shards, or none with a caption to learn from. ConfigError: the folder is there, or cannot be
        written, or `without` cannot be used.
        """
        ask, language = self.ask(), self._template.language
        held, pools = self._held(), Pools(self.run)
        kin = kinship(lambda: pools.measured([]), held)
        if held and kin.unknown == len(held):
            raise ConfigError(f"{self.without}: none of its clips is in {self.run.store.root}")
        left: Counter[str] = Counter()
        found = distill.chosen(self._examples(language, kin, left), self.most, self.seed)
        if not found:
            why = f": {_listed(left)}" if left else ""
            raise NotReady(
                f"the shards of {self.pool} in {self.run.store.root} hold no caption to learn from{why}"
            )
        about = {
            "pool": self.pool,
            "seed": self.seed,
            "shown": f"{self.frames} frames" if self.frames else "clips",
            "left_out": dict(sorted(left.items())),
            "held_out": {"clips": len(held), "not_in_run": kin.unknown, "families": len(kin.held)},
        }
        parts = distill.split(found, self.val_share, self.seed, kin.family)
        with fresh(to) as folder:
            return distill.write(folder, parts, ask, self._pictures if self.frames else self._clips, about)

    @property
    def _template(self) -> Template:
        return load_prompt(self.prompt, PLACEHOLDERS)

    def ask(self) -> Ask:
        """What every clip is asked: the captioner's own prompt, without measurements."""
        template = self._template
        whole = load_prompt(f"caption_{template.language}", PLACEHOLDERS).fields
        values = {"skeleton": skeleton({**whole, **template.fields}), "facts": ""}
        system, user = template.render(values)
        return Ask(user, system, template.label)

    # --- the shards

    def _files(self) -> Sequence[ShardFile]:
        manifest = Shards(Pools(self.run)).manifest(self.pool)
        if manifest is None:
            raise NotReady(
                f"there are no shards of {self.pool}: run `rushes shard {self.run.store.root}` first"
            )
        return manifest.files

    def _rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        for file in self._files():
            data = self.run.store.read(f"shards/{self.pool}/{file.path}")
            yield from read_rows(open_shard(pa.BufferReader(data)), columns)

    def _examples(self, language: str, kin: Kinship, left: Counter[str]) -> Iterator[Example]:
        """What may be taught; `left` counts what may not, by the reason."""
        for row in self._rows(("clip_id", "video_id", "caption", "caption_engine", "concept")):
            video, engine = row["video_id"], row["caption_engine"] or ""
            if kin.of(video) in kin.held:
                left["held out"] += 1
            elif row["caption"] is None:
                left["without a caption"] += 1
            else:
                target = target_of(row["caption"], engine, language, self.embedded)
                if isinstance(target, Untaught):
                    left[target.why] += 1
                else:
                    yield Example(row["clip_id"], video, target, engine, row["concept"] or "")

    def _held(self) -> frozenset[str]:
        """The clips that are kept for measuring."""
        if self.without is None:
            return frozenset()
        ids = {str(row.get("clip_id") or "").strip() for _, row in rows_of(self.without)} - {""}
        if not ids:
            raise ConfigError(f"{self.without}: there is no clip_id in it")
        return frozenset(ids)

    # --- the media

    def _clips(self, wanted: Iterable[str]) -> Iterator[tuple[str, Sequence[Medium]]]:
        """The clips as the shards hold them, byte for byte."""
        chosen = set(wanted)
        for row in self._rows(["clip_id", "media", "media_type"]):
            if row["clip_id"] in chosen:
                yield row["clip_id"], [_medium(row["media_type"], row["media"])]

    def _pictures(self, wanted: Iterable[str]) -> Iterator[tuple[str, Sequence[Medium]]]:
        """Pictures of the clips out of the proxy, evenly spread; a clip whose proxy is gone has none."""
        assert self.frames is not None
        chosen = set(wanted)
        spans: dict[str, list[Mapping[str, Any]]] = {}
        for row in self._rows(["clip_id", "video_id", "first_frame", "last_frame"]):
            if row["clip_id"] in chosen:
                spans.setdefault(row["video_id"], []).append(row)
        for group in self.run.groups:
            mine = {video["video_id"] for video in group.videos} & spans.keys()
            views = self._views([path for path, part in self.run.proxies(group) if part.video_id in mine])
            for span in (one for video in sorted(mine) for one in spans[video]):
                inside = views.filter(
                    (pc.field("video_id") == span["video_id"])
                    & (pc.field("frame") >= span["first_frame"])
                    & (pc.field("frame") <= span["last_frame"])
                )
                data = inside.sort_by("frame").column("data").to_pylist()
                if data:
                    few = [Medium("image", ".jpg", data[n]) for n in spread(len(data), self.frames)]
                    yield span["clip_id"], few

    def _views(self, paths: Sequence[str]) -> pa.Table:
        tables = [PROXIES.empty_table()]
        for path in paths:
            try:
                tables.append(self.run.store.table(path).filter(pc.field("layer") == 0))
            except StorageError:
                continue  # the proxy is a cache
        return pa.concat_tables(tables)


def _medium(media_type: str, data: bytes) -> Medium:
    return Medium("video", ".mp4", data) if media_type == MP4 else Medium("image", ".png", data)


@contextmanager
def fresh(to: Path) -> Iterator[Path]:
    """A folder beside `to` that becomes it when all is written; nothing is left where that fails."""
    if to.exists():
        raise ConfigError(f"{to} is there already: name a folder that is not")
    scratch = to.with_name(f".partial-{to.name}")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(to)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def told(manifest: Mapping[str, Any], to: Path) -> Iterator[str]:
    """What was written, in a few lines."""
    for name, counts in manifest["splits"].items():
        checked = f", {counts['checked']} corrected by people" if counts["checked"] else ""
        yield f"{name:<6} {counts['clips']:,} clips of {counts['videos']:,} videos{checked}"
        shares = (f"{concept or 'Unknown'} {count:,}" for concept, count in counts["concepts"].items())
        yield (
            f"       {', '.join(shares)}"
            if counts["clips"]
            else "       nothing: there is one family of videos"
        )
    held = manifest["held_out"]
    if manifest["left_out"]:
        yield f"left out: {_listed(manifest['left_out'])}"
    if manifest["without_media"]:
        yield f"left out: {manifest['without_media']:,} clips, whose pictures are gone from the proxy"
    if held["not_in_run"]:
        yield f"held out: {held['not_in_run']:,} of {held['clips']:,} clips are not in this run"
    if not held["clips"] and any(counts["checked"] for counts in manifest["splits"].values()):
        yield "it teaches captions that people corrected: measure with others, or hold theirs out (--without)"
    yield f"{to}: {len(manifest['files']):,} files, prompt {manifest['prompt']}"


def _listed(left: Mapping[str, int]) -> str:
    return ", ".join(f"{why} {count:,}" for why, count in sorted(left.items()))
