"""A language model, with or without eyes, on vLLM in this process: Qwen2.5-VL (SkyCaptioner-V1), Qwen3-VL and others.

Continuous batching: `window` prompts are at work and a few wait for them; each is made ready (frames fitted to the
pixel budget, chat template, the checkpoint's own processor) in a thread while the model works. Frames are handed over
decoded, with the metadata that tells the model their times. A schema guides decoding by xgrammar.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from captioner.engines.checkpoint import Checkpoint, found
from captioner.engines.pictures import fitted, metadata, paired
from captioner.generate import Answer, Finish, GeneratorDied, Prompt
from pipeline.ahead import Ahead
from pipeline.stage import WorkerSpent
from pipeline.weights import WeightError

READY_AHEAD = 4
"""Prompts that are made ready before the model has room for them."""
QUEUED = 4
"""Prompts that wait inside vLLM, so that no step goes by with a place free that an answer has left. Ours."""
LEAST_BATCHED = 4_096
"""Tokens of prompts that a step on a CPU may read, at least. Ours."""
FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH}
REFUSALS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What tokenizers, processors and vLLM's checks raise on one prompt; vLLM's own errors beside them."""
QUIET = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
"""Environment of every engine: nothing is reported or fetched."""
ON_CPU = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""For tests and trials: one process, no pinned threads, 1 GiB of keys and values."""


class EngineDied(GeneratorDied, WorkerSpent):
    """vLLM cannot go on in this process; another process may."""


@dataclass(frozen=True)
class VllmSettings:
    """Where the model is and how it runs."""

    model: str = ""
    """Folder of the checkpoint."""
    model_sha256: str = ""
    """Its pinned digest; empty takes any."""
    device: Literal["cuda", "cpu"] = "cuda"
    tensor_parallel: int = 1
    """GPUs that share the model."""
    window: int = 64
    """Prompts at work at once."""
    max_tokens_total: int = 31_920
    """Of a prompt with its frames and its answer; SkyCaptioner-V1's own setting."""
    frame_px: int = 360 * 420
    """Pixels of a frame, at most; what SkyCaptioner-V1 squeezes its frames to."""
    memory_ratio: float = 0.9
    """Share of a GPU's memory that vLLM takes."""


@dataclass
class Used:
    """What an engine has done with its time since it was loaded."""

    busy_s: float = 0.0
    """Seconds in which prompts were at work."""
    idle_s: float = 0.0
    """Seconds in which it waited for the first of them."""
    steps: int = 0
    """Steps of the model, each of which gives a token to every prompt at work."""


class VllmGenerator:
    """A Generator on vLLM. WeightError: there is no such checkpoint, no vLLM, or they do not fit each other."""

    def __init__(self, settings: VllmSettings) -> None:
        self._settings = settings
        self._checkpoint = found(settings.model, settings.model_sha256)
        self.used = Used()
        self._llm = _llm(settings, self._checkpoint)
        self._tokenizer = self._llm.get_tokenizer()
        self._special = sorted(self._tokenizer.get_added_vocab(), key=len, reverse=True)
        self._ends = _ends(self._llm, self._tokenizer)
        self._factor = _factor(self._checkpoint)
        self._numbers = 0
        self._thread = ThreadPoolExecutor(1, "prompts")

    @property
    def name(self) -> str:
        """See Generator."""
        import vllm

        return f"vllm/{vllm.__version__} {self._checkpoint.label}"

    @property
    def llm(self) -> Any:
        """vLLM's own `LLM`: what a benchmark compares with."""
        return self._llm

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """See Generator. `prompts` is advanced in a thread of its own. Raises EngineDied."""
        at_work: dict[str, Prompt] = {}
        with Ahead(map(self._rendered, prompts), READY_AHEAD, self._thread) as ready:
            try:
                yield from self._answers(ready, at_work)
            finally:  # where it was left in the middle
                if at_work and self._llm is not None:
                    self._llm.llm_engine.abort_request(list(at_work))

    def close(self) -> None:
        """See Generator."""
        llm, self._llm = self._llm, None
        if llm is not None:
            self._thread.shutdown()
            llm.llm_engine.engine_core.shutdown()

    def prepared(self, prompt: Prompt) -> dict[str, Any]:
        """The prompt as vLLM's `LLM.generate` takes it: text by the checkpoint's chat template, frames, their times."""
        content: Any = [{"type": "text", "text": self._plain(prompt.user)}]
        if prompt.frames is not None:
            content.insert(0, {"type": "video", "video": ""})
        messages = [{"role": "user", "content": content if prompt.frames is not None else content[0]["text"]}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": self._plain(prompt.system)})
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if prompt.frames is None:
            return {"prompt": text}
        shown, times_s = paired(prompt.frames.images, prompt.frames.times_s)
        images = fitted(shown, self._settings.frame_px, self._factor)
        video = (images, metadata(times_s, prompt.fps))
        uuids = {"multi_modal_uuids": {"video": [prompt.frames_sha256]}} if prompt.frames_sha256 else {}
        return {"prompt": text, "multi_modal_data": {"video": [video]}, **uuids}

    def sampling(self, prompt: Prompt) -> Any:
        """The prompt's `SamplingParams`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        guide = None if prompt.schema is None else StructuredOutputsParams(json=dict(prompt.schema))
        return SamplingParams(
            temperature=prompt.temperature,
            max_tokens=prompt.max_tokens,
            seed=prompt.seed,
            stop=list(prompt.stop),
            stop_token_ids=self._ends,
            structured_outputs=guide,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _answers(self, ready: Ahead[tuple[Prompt, Any]], at_work: dict[str, Prompt]) -> Iterator[Answer]:
        more = True
        while more or at_work:
            while more and len(at_work) < self._settings.window + QUEUED and (not at_work or ready.ready):
                try:
                    prompt, rendered = self._taken(ready, idle=not at_work)
                except StopIteration:
                    more = False
                    break
                refused = rendered if isinstance(rendered, Answer) else self._add(prompt, rendered, at_work)
                if refused is not None:
                    yield refused
            if at_work:
                yield from self._step(at_work)

    def _taken(self, ready: Ahead[tuple[Prompt, Any]], idle: bool) -> tuple[Prompt, Any]:
        """The next prompt; while nothing is at work the engine idles until it comes."""
        began = time.monotonic()
        try:
            return next(ready)
        finally:
            if idle:
                self.used.idle_s += time.monotonic() - began

    def _rendered(self, prompt: Prompt) -> tuple[Prompt, Any]:
        """The prompt, and what vLLM makes of it, or the answer that says why it makes nothing."""
        try:
            (rendered,) = self._llm.llm_engine.renderer.render_cmpl([self.prepared(prompt)])
        except (*REFUSALS, _vllm_error()) as error:
            return prompt, _refused(prompt, error)
        return prompt, rendered

    def _add(self, prompt: Prompt, rendered: Any, at_work: dict[str, Prompt]) -> Answer | None:
        """Puts the prompt to work; an answer when vLLM refuses it."""
        self._numbers += 1
        number = str(self._numbers)
        try:
            self._llm.llm_engine.add_request(number, rendered, self.sampling(prompt))
        except _dead() as error:
            raise EngineDied(_sentence(error)) from error
        except (*REFUSALS, _vllm_error()) as error:
            return _refused(prompt, error)
        at_work[number] = prompt
        return None

    def _step(self, at_work: dict[str, Prompt]) -> Iterator[Answer]:
        """The answers of the prompts that one step of the engine has ended."""
        began = time.monotonic()
        self.used.steps += 1
        try:
            outputs = self._llm.llm_engine.step()
        except Exception as error:  # whatever a step raises, the prompts at work are lost with it
            at_work.clear()
            raise EngineDied(_sentence(error)) from error
        finally:
            self.used.busy_s += time.monotonic() - began
        for output in outputs:
            if output.finished:
                yield _answer(at_work.pop(output.request_id), output)

    def _plain(self, text: str) -> str:
        """The text with a space inside what would be read as a special token: words never become orders."""
        for token in self._special:
            text = text.replace(token, f"{token[:1]} {token[1:]}")
        return text


def _llm(settings: VllmSettings, checkpoint: Checkpoint) -> Any:
    os.environ.update({k: v for k, v in QUIET.items() if k not in os.environ})
    if settings.device == "cpu":
        os.environ.update({k: v for k, v in ON_CPU.items() if k not in os.environ})
    try:
        from vllm import LLM
    except ImportError as error:
        raise WeightError(
            f"there is no vLLM here ({_sentence(error)}): docs/engines.md says how to set it up"
        ) from None
    length = _length(settings, checkpoint)
    on: dict[str, Any] = {"dtype": "auto", "gpu_memory_utilization": settings.memory_ratio}
    if settings.device == "cpu":
        # A prompt that is read in pieces puts its seed back by an offset, which a CPU's generator has none of.
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(length, LEAST_BATCHED)}
        on = {"dtype": "float32", "enforce_eager": True, **whole}
    if checkpoint.sees:
        on |= {"limit_mm_per_prompt": {"video": 1, "image": 0}}
    start = partial(
        LLM,
        model=str(checkpoint.folder),
        tensor_parallel_size=settings.tensor_parallel,
        distributed_executor_backend="uni" if settings.tensor_parallel == 1 else "mp",
        max_model_len=length,
        max_num_seqs=settings.window,
        seed=0,
        load_format="safetensors",
        trust_remote_code=False,
        generation_config="vllm",  # a prompt says its own temperature
        enable_prefix_caching=True,
        mm_processor_cache_gb=0,  # a clip's frames come once, or again at once, which prefixes serve
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        disable_log_stats=True,
        use_tqdm_on_load=False,
        **on,
    )
    try:
        return start()
    except (OSError, *REFUSALS, _vllm_error()) as error:
        raise WeightError(f"vLLM cannot load '{checkpoint.folder}': {_sentence(error)}") from error


def _length(settings: VllmSettings, checkpoint: Checkpoint) -> int:
    """The setting, or what the model was made for if that is less."""
    text = checkpoint.config.get("text_config", checkpoint.config)
    return min(settings.max_tokens_total, int(text.get("max_position_embeddings", settings.max_tokens_total)))


def _ends(llm: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer, by the tokenizer and by the checkpoint's generation config."""
    named = llm.llm_engine.model_config.try_get_generation_config().get("eos_token_id", [])
    listed = named if isinstance(named, list) else [named]
    return sorted({*listed, tokenizer.eos_token_id} - {None})


def _factor(checkpoint: Checkpoint) -> int:
    """Pixels of which a side of a frame is a multiple."""
    vision = checkpoint.config.get("vision_config", {})
    return int(vision.get("patch_size", 14)) * int(vision.get("spatial_merge_size", 2))


def _answer(prompt: Prompt, output: Any) -> Answer:
    (one,) = output.outputs
    finish = FINISHES.get(one.finish_reason, Finish.ERROR)
    return Answer(
        prompt.key,
        prompt.frames_sha256,
        one.text,
        finish,
        len(output.prompt_token_ids or ()),
        len(one.token_ids),
        f"vLLM ended it: {one.finish_reason}" if finish is Finish.ERROR else "",
    )


def _refused(prompt: Prompt, error: Exception) -> Answer:
    return Answer(prompt.key, prompt.frames_sha256, "", Finish.ERROR, message=_sentence(error))


def _vllm_error() -> type[Exception]:
    from vllm import exceptions

    found: type[Exception] = exceptions.VLLMError
    return found


def _dead() -> type[Exception]:
    from vllm.v1.engine import exceptions

    found: type[Exception] = exceptions.EngineDeadError
    return found


def _sentence(error: Exception) -> str:
    """The first line of what an error says, or its class."""
    return next((line for line in str(error).strip().splitlines()), type(error).__name__)[:300]
