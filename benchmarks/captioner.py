r"""Output tokens a second of the vlm stage over those of vLLM's own offline run of the same prompts. Goal: 0.95.

    python -m benchmarks.captioner CHECKPOINT {cuda | cpu} MEDIA... [key=value ...]

In an environment with vLLM (docs/engines.md), with the machine free. All use one loaded engine, in turn, the first one
another each round, with an empty prefix cache and decoding processes that are up, after a round that is not counted.
The offline run (`LLM.generate`) has all prompts with their frames ready in memory; the "engine alone" has them as the
model's processor makes them too, and only steps. The stage decodes clips of `clip_s` from the media, makes prompts,
checks answers and commits parts, as a run does. Its tokens a step of the model, over those of the engine alone, say
how full it kept the model: that figure does not mind what else the machine does. Every clip is asked once (no repair).
With `exact` every answer has `max_tokens` tokens, unguided, so that all write as much; else a model ends where it
likes. What is told of the stage's rounds is its line of progress.

On a CPU the engine shares its cores with the decoder and the processor, which no GPU machine makes it do. There the
model must be the slow part, as it is on a GPU, and have one thread; the CPU seconds of that thread do not mind either
what else the machine does:

    python examples/tiny_captioner.py wide qwen2_5_vl 0 1024 10
    OMP_NUM_THREADS=1 python -m benchmarks.captioner wide cpu MEDIA clips=24 concurrency=8 max_tokens=384 \
      exact=1 max_tokens_total=4096 frames_max=2 prompt=benchmarks/captioner_prompt.toml

Keys: clips, clip_s, concurrency, max_tokens, max_tokens_total, frames_max, rounds, exact, prompt.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.clock import cost, table
from captioner.engine import CaptionEngine
from captioner.engines.vllm import VllmGenerator, VllmSettings
from captioner.generate import Answer, Prompt
from captioner.vlm import VlmCaptioner
from jobs import flow
from pipeline.annotate import Annotate, Frames, Planned, Unit
from pipeline.clip import CLIPS, VIDEOS, Clip, span_id
from pipeline.frames import Decoder
from pipeline.runner import Done
from pipeline.sources import Fetcher, digest_of
from pipeline.store import Store
from pipeline.stream import Line, Stream

CLIPS_A_PART = 32
NAMES = ("offline run", "engine alone", "stage")


@dataclass(frozen=True)
class Keys:
    """What may be set."""

    clips: int = 256
    clip_s: float = 4.0
    concurrency: int = 64
    max_tokens: int = 1024
    max_tokens_total: int = 31_920
    frames_max: int = 16
    rounds: int = 3
    exact: int = 0
    prompt: str = ""


@dataclass(frozen=True)
class Run:
    """What one of the three has done in a round."""

    wall_s: float
    thread_s: float
    """CPU seconds of the thread that steps the engine."""
    tokens: int
    steps: int = 0
    """Of the model; 0 where they cannot be counted."""
    said: str = ""

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.wall_s


class Exact(VllmGenerator):
    """The engine, its answers all as long as they may be."""

    def sampling(self, prompt: Prompt) -> Any:
        """See VllmGenerator: no token ends an answer."""
        params = super().sampling(prompt)
        params.min_tokens = params.max_tokens
        return params


class Lent:
    """The loaded engine, which a stage may not close."""

    def __init__(self, engine: VllmGenerator) -> None:
        self._engine = engine
        self.name, self.used = engine.name, engine.used

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """See captioner.generate.Generator."""
        return self._engine.generate(prompts)

    def close(self) -> None:
        """It is of further use."""


def on(engine: VllmGenerator, stage: VlmCaptioner) -> VlmCaptioner:
    """The stage with that engine for its own."""

    class Loaded(VlmCaptioner):
        def generator(self) -> Lent:
            return Lent(engine)

    return Loaded(**asdict(stage))


def parts(media: list[Path], keys: Keys, store: Store) -> list[Unit]:
    """Parts of clips of `clip_s` from each medium in turn, again from a frame further on until there are enough."""
    units: list[Unit] = []
    left, offset = keys.clips, 0
    with Decoder() as decoder:
        videos = [video(decoder, path) for path in media]
    while left > 0:
        for found in videos:
            rows = clip_rows(found, keys, offset)[: min(left, CLIPS_A_PART)]
            left -= len(rows)
            name = f"{found['video_id']}-{offset}"
            store.put_table(f"clips@bench/{name}.parquet", pa.Table.from_pylist(rows, CLIPS))
            units.append(Unit(name, f"clips@bench/{name}.parquet", (found,), (), ("vlm",)))
        offset += 1
    return [unit for unit in units if store.table(unit.clips_path).num_rows]


def video(decoder: Decoder, path: Path) -> dict[str, Any]:
    """A medium as a run knows it."""
    about = {"path": str(path), "video_id": digest_of(str(path))[0][:20]}
    return dict.fromkeys(VIDEOS.names) | about | decoder.probe(str(path))


def clip_rows(video: dict[str, Any], keys: Keys, offset: int) -> list[dict[str, Any]]:
    """The whole clips of a video from a frame on."""
    fps, count = video["fps_num"] / video["fps_den"], video["frame_count"]
    step = max(1, round(keys.clip_s * fps))
    if offset + step > count:
        sys.exit(f"{video['path']} is too short for so many clips of {keys.clip_s:g} s")
    rows = []
    for start in range(offset, count - step + 1, step):
        name = span_id(video["video_id"], start, start + step)
        ids = {"clip_id": name, "shot_id": name, "video_id": video["video_id"]}
        times = {"start_frame": start, "end_frame": start + step, "start_s": start / fps}
        about = {
            "end_s": (start + step) / fps,
            "fps": fps,
            "width": video["width"],
            "height": video["height"],
        }
        rows.append({**ids, **times, **about})
    return rows


def prompts_of(stage: VlmCaptioner, engine: CaptionEngine, store: Store, units: list[Unit]) -> list[Prompt]:
    """What the stage asks of every clip, with its frames."""
    found = []
    with Decoder() as decoder:
        fetcher = Fetcher()
        for unit in units:
            frames = Frames(store, unit, decoder, fetcher)
            for row in store.table(unit.clips_path, CLIPS.names).to_pylist():
                clip = Clip(**row)
                found.append(engine.prompt(stage.request(clip, frames.of(clip, stage.frames))))
        fetcher.close()
    return found


def offline(generator: VllmGenerator, prompts: list[Prompt]) -> Run:
    """vLLM's own: everything handed over at once."""
    made = [generator.prepared(prompt) for prompt in prompts]
    sampling = [generator.sampling(prompt) for prompt in prompts]
    outputs: list[Any] = []
    began = time.thread_time()
    spent = cost(lambda: outputs.extend(generator.llm.generate(made, sampling, use_tqdm=False)))
    thread_s = time.thread_time() - began
    return Run(spent.wall_s, thread_s, sum(len(output.outputs[0].token_ids) for output in outputs))


def alone(generator: VllmGenerator, prompts: list[Prompt]) -> Run:
    """The engine's steps without the making of what it reads."""
    engine = generator.llm.llm_engine
    made = engine.renderer.render_cmpl([generator.prepared(prompt) for prompt in prompts])
    tokens = steps = 0

    def work() -> None:
        nonlocal tokens, steps
        for number, (prompt, one) in enumerate(zip(prompts, made, strict=True)):
            engine.add_request(f"alone-{number}", one, generator.sampling(prompt))
        while engine.has_unfinished_requests():
            steps += 1
            tokens += sum(len(one.outputs[0].token_ids) for one in engine.step() if one.finished)

    began = time.thread_time()
    spent = cost(work)
    return Run(spent.wall_s, time.thread_time() - began, tokens, steps)


def staged(
    stage: VlmCaptioner, generator: VllmGenerator, store: Store, units: list[Unit], number: int
) -> Run:
    """The stage, as a run streams it."""
    task = Stream(Annotate(store, (Planned(stage, f"{number:08d}"),)))
    told: Counter[str] = Counter()
    state, before = task.open(), generator.used.steps
    for maker in state.makers:  # their processes are there
        maker.thread.submit(maker.decoder.probe, units[0].videos[0]["path"]).result()

    def work() -> None:
        for event in task.run(state, Line(tuple(units)), {}):
            if isinstance(event, Done):
                told.update(event.flow)
        state.close()  # the time of an ended process counts

    began = time.thread_time()
    spent = cost(work)
    thread_s = time.thread_time() - began
    said = ", ".join(flow.said(told, spent.wall_s))
    return Run(spent.wall_s, thread_s, told["output_tokens"], generator.used.steps - before, said)


def main(folder: str, device: str, media: list[Path], keys: Keys) -> None:
    stage = VlmCaptioner(
        model=folder,
        device="cuda" if device == "cuda" else "cpu",
        concurrency=keys.concurrency,
        max_tokens=keys.max_tokens,
        max_tokens_total=keys.max_tokens_total,
        frames_max=keys.frames_max,
        attempts=1,
        guided=not keys.exact,
        prompt=keys.prompt,
    )
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch)
        units = parts(media, keys, store)
        settings: VllmSettings = stage.local()
        generator = (Exact if keys.exact else VllmGenerator)(settings)
        stage = on(generator, stage)
        prompts = prompts_of(stage, stage.load(), store, units)
        print(f"{generator.name} on {device}, {len(prompts)} clips, {keys}", flush=True)
        works: list[Callable[[int], Run]] = [
            lambda number: offline(generator, prompts),
            lambda number: alone(generator, prompts),
            lambda number: staged(stage, generator, store, units, number),
        ]
        runs: list[list[Run]] = [[], [], []]
        for number in range(keys.rounds + 1):
            for which in (number % 3, (number + 1) % 3, (number + 2) % 3):
                generator.llm.reset_prefix_cache()
                run = works[which](number)
                if number > 0:  # all were cold
                    runs[which].append(run)
                    speed = f"{run.tokens_per_s:.1f} tokens/s, {run.thread_s:.1f} s of its thread, {run.steps} steps"
                    print(f"round {number}: {NAMES[which]}: {speed} {run.said}", flush=True)
    generator.close()
    print(
        table(
            ("stage's, divided by", "tokens/s", "lowest", "highest", "by CPU seconds of the engine's thread"),
            ratios(runs),
        )
    )
    print(f"tokens a step, by those of the engine alone: {a_step(runs[2]) / a_step(runs[1]):.3f}")


def a_step(runs: list[Run]) -> float:
    """Tokens that a step gave."""
    return sum(one.tokens for one in runs) / sum(one.steps for one in runs)


def ratios(runs: list[list[Run]]) -> list[tuple[str, ...]]:
    """The stage's figures over those of the others, round by round: medians, and the range of the first."""
    *others, staged = runs
    rows = []
    for name, other in zip(NAMES, others, strict=False):
        pairs = list(zip(staged, other, strict=True))
        found = sorted(one.tokens_per_s / by.tokens_per_s for one, by in pairs)
        by_cpu = [(one.tokens / one.thread_s) / (by.tokens / by.thread_s) for one, by in pairs]
        figures = (statistics.median(found), found[0], found[-1], statistics.median(by_cpu))
        rows.append((name, *(f"{figure:.3f}" for figure in figures)))
    return rows


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    pairs = dict(one.split("=", 1) for one in sys.argv[3:] if "=" in one)
    kinds = {name: type(value) for name, value in vars(Keys()).items()}
    main(
        sys.argv[1],
        sys.argv[2],
        [Path(one) for one in sys.argv[3:] if "=" not in one],
        Keys(**{name: kinds[name](value) for name, value in pairs.items()}),
    )
