"""OpenAI's chat API as it goes over the wire: what is sent for a prompt, and the answer in a reply."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from captioner.engines.pictures import fitted, metadata, paired
from captioner.generate import Answer, Finish, Prompt
from captioner.schema import clean
from pipeline.stage import FrameBatch

FINISHES = {"stop": Finish.STOP, "eos": Finish.STOP, "length": Finish.LENGTH}
FACTOR = 28
"""Sides of the frames are multiples of this, as Qwen2.5-VL's processor would make them."""


@dataclass(frozen=True)
class ServerSettings:
    """Where the server is and how it is asked."""

    url: str
    """Up to the version: http://127.0.0.1:8000/v1"""
    served_model: str
    """The model's name there."""
    api_key_env: str = ""
    """Variable of the environment that holds the key; empty sends none."""
    window: int = 32
    """Prompts at work at once."""
    timeout_s: float = 300.0
    """For one answer, from the first byte sent to the last received."""
    retries: int = 5
    """Further tries of a prompt when the server fails."""
    backoff_s: float = 1.0
    """Before the first further try; twice as long before each next."""
    frames_as: Literal["video", "images"] = "video"
    """`video`: one data:video/jpeg URL (vLLM); `images`: a list of image_url (any server)."""
    frame_times: bool = False
    """Say the frames' times beside the video: vLLM with --trust-request-mm-kwargs."""
    guide: Literal["response_format", "structured_outputs", "guided_json"] = "response_format"
    """How a schema is handed over: OpenAI's way, vLLM's, or that of vLLM before 0.12."""
    frame_px: int = 360 * 420
    """Pixels of a frame, at most."""
    jpeg_quality: int = 92


def asked_of(settings: ServerSettings, prompt: Prompt) -> dict[str, Any]:
    """What is sent for a prompt, as plain JSON values."""
    messages: list[dict[str, Any]] = []
    if prompt.system:
        messages.append({"role": "system", "content": prompt.system})
    shown = _shown(settings, prompt.frames) if prompt.frames is not None else []
    text = {"type": "text", "text": prompt.user}
    messages.append({"role": "user", "content": [*shown, text] if shown else prompt.user})
    asked: dict[str, Any] = {
        "model": settings.served_model,
        "messages": messages,
        "temperature": prompt.temperature,
        "max_tokens": prompt.max_tokens,
        "seed": prompt.seed,
    }
    if prompt.stop:
        asked["stop"] = list(prompt.stop)
    if prompt.schema is not None:
        asked |= _guided(settings.guide, prompt.schema)
    if settings.frame_times and settings.frames_as == "video" and prompt.frames is not None:
        times = metadata(paired(prompt.frames.images, prompt.frames.times_s)[1], prompt.fps)
        kept = ("fps", "total_num_frames", "duration", "frames_indices", "do_sample_frames")
        asked["media_io_kwargs"] = {"video": {name: times[name] for name in kept}}
    return asked


def _shown(settings: ServerSettings, frames: FrameBatch) -> list[dict[str, Any]]:
    """The frames as parts of a message."""
    video = settings.frames_as == "video"
    shown, _ = paired(frames.images, frames.times_s) if video else (frames.images, None)
    images = fitted(shown, settings.frame_px, FACTOR)
    jpegs = [base64.b64encode(_jpeg(one, settings.jpeg_quality)).decode() for one in images]
    if video:
        return [{"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(jpegs)}}]
    return [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{one}"}} for one in jpegs]


def _guided(guide: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    if guide == "structured_outputs":
        return {"structured_outputs": {"json": dict(schema)}}
    if guide == "guided_json":
        return {"guided_json": dict(schema)}
    named = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _jpeg(image: Any, quality: int) -> bytes:
    import cv2

    cv2.setNumThreads(1)
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return bytes(data.data)


def answer_in(prompt: Prompt, plain: Mapping[str, Any]) -> Answer:
    """The answer in a chat completion. Raises AttributeError, LookupError, TypeError, ValueError when it is none."""
    choice = plain["choices"][0]
    content = choice["message"]["content"]
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("the content is no text")
    reason = choice.get("finish_reason") or "stop"
    finish = FINISHES.get(reason, Finish.ERROR)
    usage = plain.get("usage") or {}
    return Answer(
        prompt.key,
        prompt.frames_sha256,
        content or "",
        finish,
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        f"the server ended it: {clean(str(reason))[:80]}" if finish is Finish.ERROR else "",
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0
