"""What the next captioner learns from, out of a run's shards: captions as people and engines left them, and clips."""

from __future__ import annotations

import shutil
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
from jobs.config import ConfigError
from jobs.gather import spread
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

    def write(self, to: Path) -> dict[str, Any]:
        """Writes the set to a folder that is not there yet, whole or not at all; gives its manifest.

        NotReady: no shards, or none with a caption. ConfigError: the folder is there, or cannot be written.
        """
        ask = self.ask()
        examples = list(self._examples())
        if not examples:
            raise NotReady(
                f"the shards of {self.pool} in {self.run.store.root} hold no caption to learn from"
            )
        found = distill.split(distill.chosen(examples, self.most, self.seed), self.val_share, self.seed)
        about = {
            "pool": self.pool,
            "seed": self.seed,
            "shown": f"{self.frames} frames" if self.frames else "clips",
            "captioned": len(examples),
        }
        with fresh(to) as folder:
            return distill.write(folder, found, ask, self._pictures if self.frames else self._clips, about)

    def ask(self) -> Ask:
        """What every clip is asked: the captioner's own prompt, without measurements."""
        template: Template = load_prompt(self.prompt, PLACEHOLDERS)
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

    def _examples(self) -> Iterator[Example]:
        clusters = self._clusters()
        names = ("clip_id", "video_id", "caption", "caption_engine", "concept")
        for row in self._rows(names):
            if row["caption"] is not None:
                clip = row["clip_id"]
                yield Example(
                    clip,
                    row["video_id"],
                    row["caption"],
                    row["caption_engine"] or "",
                    row["concept"] or "",
                    clusters.get(clip, ""),
                )

    def _clusters(self) -> dict[str, str]:
        """The cluster of near-duplicates of each clip that has one."""
        found: dict[str, str] = {}
        for batch in Pools(self.run).measured([]):
            rows = batch.select(["clip_id", "duplicate_cluster"]).drop_null()
            found |= dict(
                zip(rows["clip_id"].to_pylist(), rows["duplicate_cluster"].to_pylist(), strict=True)
            )
        return found

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
    if manifest["without_media"]:
        yield f"left out: {manifest['without_media']:,} clips, whose pictures are gone from the proxy"
    yield f"{to}: {len(manifest['files']):,} files, prompt {manifest['prompt']}"
