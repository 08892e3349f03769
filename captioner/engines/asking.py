"""What stages share that ask a language model: where it is, how it is asked, and what of that counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from captioner.generate import Generator
from pipeline.clip import Clip
from pipeline.reasons import Reason
from pipeline.stage import Stage

LOCAL = ("model", "model_sha256", "device", "tensor_parallel", "memory_ratio", "max_tokens_total")
REMOTE = ("url", "served_model", "api_key_env", "timeout_s", "retries", "frames_as", "frame_times", "guide")
"""Settings of the one engine, and of the other."""
LEFT_OUT = frozenset(
    (
        *("model", "device", "tensor_parallel", "memory_ratio", "python"),
        *("url", "api_key_env", "timeout_s", "retries", "concurrency"),
    )
)
"""Settings that say where and how fast, not what: a checkpoint counts by its digest, a server's model by its name."""


@dataclass(frozen=True)
class AskingStage(Stage):
    """A stage whose `engine` is "vllm" (a checkpoint, in this process) or "server" (any OpenAI-compatible one).

    A subclass may know further engines, which need nothing: `asks` is then false.
    """

    version: ClassVar[int] = 1

    engine: str = field(default="", kw_only=True)
    """"vllm" or "server"."""
    model: str = field(default="", kw_only=True)
    """vllm: folder of the checkpoint. Not a setting: it counts by its digest."""
    model_sha256: str = field(default="", kw_only=True)
    """vllm: its pinned digest; empty takes any."""
    device: Literal["cuda", "cpu"] = field(default="cuda", kw_only=True)
    """vllm: where the model runs; cpu is for trials."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = field(default=1, kw_only=True)
    """vllm: GPUs that share the model."""
    memory_ratio: Annotated[float, Field(gt=0, le=1)] = field(default=0.9, kw_only=True)
    """vllm: share of a GPU's memory that it takes."""
    max_tokens_total: Annotated[int, Field(ge=256)] = field(default=31_920, kw_only=True)
    """vllm: tokens of a prompt with its frames and its answer; SkyCaptioner-V1's own setting."""
    url: str = field(default="", kw_only=True)
    """server: its address up to the version, http://127.0.0.1:8000/v1."""
    served_model: str = field(default="", kw_only=True)
    """server: the name that it has for its model."""
    api_key_env: str = field(default="", kw_only=True)
    """server: the variable of the environment that holds the key."""
    timeout_s: Annotated[float, Field(gt=0)] = field(default=300.0, kw_only=True)
    """server: for one answer."""
    retries: Annotated[int, Field(ge=0, le=100)] = field(default=5, kw_only=True)
    """server: further tries of a prompt when the server fails."""
    frames_as: Literal["video", "images"] = field(default="video", kw_only=True)
    """server: `video` is one data:video/jpeg URL (vLLM), `images` a list of image_url (any server)."""
    frame_times: bool = field(default=False, kw_only=True)
    """server: say the frames' times beside the video (vLLM with --trust-request-mm-kwargs)."""
    guide: Literal["response_format", "structured_outputs", "guided_json"] = field(
        default="response_format", kw_only=True
    )
    """server: how the schema is handed over."""
    frame_px: Annotated[int, Field(ge=28 * 28)] = field(default=360 * 420, kw_only=True)
    """Pixels of a frame, at most, its aspect kept; what SkyCaptioner-V1 squeezes its frames to."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = field(default=32, kw_only=True)
    """Prompts at work at once."""
    python: str = field(default="", kw_only=True)
    """vllm: the interpreter of the environment that it is installed in, for workers on Ray; empty: this one."""

    @property
    def asks(self) -> bool:
        """Does it need a language model?"""
        return self.engine in ("vllm", "server")

    @property
    def window(self) -> int:
        """As many as the engine works on at once."""
        return self.concurrency if self.asks else 1

    @property
    def gpus(self) -> float:  # type: ignore[override]  # by engine and device
        return float(self.tensor_parallel) if self.engine == "vllm" and self.device == "cuda" else 0.0

    def settings(self) -> dict[str, Any]:
        """What counts: never where the model is, and nothing of the engine that is not asked."""
        foreign = {"vllm": REMOTE, "server": LOCAL}.get(self.engine, (*LOCAL, *REMOTE, "frame_px"))
        own = {k: v for k, v in super().settings().items() if k not in LEFT_OUT and k not in foreign}
        return own | ({"model_sha256": self._digest()} if self.engine == "vllm" else {})

    def pinned(self) -> Self:
        """With the checkpoint's digest for its pin, so that no worker takes another of the same name."""
        if self.engine == "server":
            from captioner.engines.server import checked_url

            checked_url(self.server())
        return replace(self, model_sha256=self._digest()) if self.engine == "vllm" else self

    def ready(self, here: bool) -> None:
        """Raises WeightError: no checkpoint, or the server has no such model. GeneratorDied: there is no server."""
        if self.engine == "vllm":
            from captioner.engines.checkpoint import checked

            if here:
                checked(self._folder())
            if here and self.python:
                from captioner.engines.interpreter import checked_interpreter

                checked_interpreter(self.python)
        elif self.engine == "server" and here:
            from captioner.engines.server import ServerGenerator
            from pipeline.weights import MissingWeight

            generator = ServerGenerator(self.server())
            try:
                names = generator.models()
            finally:
                generator.close()
            if names and self.served_model not in names:
                raise MissingWeight(
                    f"the server at {self.url} has no model '{self.served_model}': it has {', '.join(names[:8])}"
                )

    def generator(self) -> Generator:
        """The model at work. WeightError: it cannot be."""
        if self.engine == "server":
            from captioner.engines.server import ServerGenerator

            return ServerGenerator(self.server())
        from captioner.engines.vllm import VllmGenerator

        return VllmGenerator(self.local())

    def local(self) -> Any:
        """The settings of the generator in this process."""
        from captioner.engines.vllm import VllmSettings

        return VllmSettings(
            model=self.model,
            model_sha256=self.model_sha256,
            device=self.device,
            tensor_parallel=self.tensor_parallel,
            window=self.concurrency,
            max_tokens_total=self.max_tokens_total,
            frame_px=self.frame_px,
            memory_ratio=self.memory_ratio,
        )

    def server(self) -> Any:
        """The settings of the server's generator."""
        from captioner.engines.server import ServerSettings

        return ServerSettings(
            url=self.url,
            served_model=self.served_model,
            api_key_env=self.api_key_env,
            window=self.concurrency,
            timeout_s=self.timeout_s,
            retries=self.retries,
            frames_as=self.frames_as,
            frame_times=self.frame_times,
            guide=self.guide,
            frame_px=self.frame_px,
        )

    def _digest(self) -> str:
        """The pin, so that what was measured can be looked at where the model is not, or that of the files."""
        from captioner.engines.checkpoint import checked, known_digest

        return self.model_sha256.lower() or known_digest(checked(self._folder()))

    def _folder(self) -> str:
        if not self.model:
            from captioner.engines.checkpoint import WANTED
            from pipeline.weights import MissingWeight

            raise MissingWeight(f'engine = "vllm" needs stage.{self.name}.model: {WANTED}')
        return self.model


def attempt_at(clip: Clip) -> int:
    """Which attempt at a clip the model is told of: over 1 on a retry of what it answered at fault.

    Of an engine or a server that failed it is not told: the run ends with the bytes of one in which nothing failed.
    """
    return clip.attempt if clip.failed == Reason.CAPTION_INVALID else 1
