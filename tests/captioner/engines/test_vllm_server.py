"""A real vLLM server on a tiny checkpoint, asked as any server is: part of `make test-vllm`."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioner.engine import frames_digest
from captioner.engines.server import ServerGenerator, ServerSettings
from captioner.generate import Answer, Finish, Prompt
from captioner.schema import json_schema
from pipeline.stage import FrameBatch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="make test-vllm has it"),
]
START_S = 600.0
LEARNT = 160
SERVER = (
    *("--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "4"),
    *(
        "--no-enable-chunked-prefill",
        "--max-num-batched-tokens",
        "4096",
    ),  # seeds on a CPU: captioner/engines/vllm.py
    *("--limit-mm-per-prompt", '{"video": 1, "image": 16}'),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)
ON_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@pytest.fixture(scope="module")
def server(
    checkpoint: Callable[[str, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerSettings]:
    """A server that is up, and how it is asked."""
    folder = checkpoint("qwen2_5_vl", LEARNT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = (
        "--model",
        str(folder),
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    )
    log = tmp_path_factory.mktemp("server") / "log"
    program = (sys.executable, "-m", "vllm.entrypoints.openai.api_server", *where, *SERVER)
    with log.open("wb") as said:
        process = subprocess.Popen(program, env={**os.environ, **ON_CPU}, stdout=said, stderr=said)
    try:
        url = f"http://127.0.0.1:{port}"
        until_it_answers(f"{url}/health", process, log)
        yield ServerSettings(f"{url}/v1", "tiny", window=4, timeout_s=300.0)
    finally:
        process.terminate()
        process.wait()


def until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    late = time.monotonic() + START_S
    while time.monotonic() < late and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    pytest.fail(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


def frames(count: int, seed: int) -> FrameBatch:
    images = np.random.default_rng(seed).integers(0, 256, (count, 96, 160, 3), dtype=np.uint8)
    return FrameBatch(images, np.arange(count) / 2, np.arange(count) * 12)


def prompt(key: str, shown: FrameBatch | None, **changes: Any) -> Prompt:
    digest = frames_digest(shown) if shown is not None else ""
    asked = Prompt(key, "Say what you see.", "You watch.", shown, digest, 24.0, max_tokens=300, seed=7)
    return replace(asked, **changes)


def asked(settings: ServerSettings, *prompts: Prompt) -> dict[str, Answer]:
    generator = ServerGenerator(settings)
    try:
        return {answer.key: answer for answer in generator.generate(prompts)}
    finally:
        generator.close()


@pytest.mark.parametrize("frames_as", ["video", "images"])
def test_clips_are_captioned_in_the_schema(
    server: ServerSettings, short_schema: dict[str, Any], frames_as: Any
) -> None:
    shown = {f"c{count}": frames(count, count) for count in (1, 2, 5, 8, 3, 4)}
    prompts = [prompt(key, batch, schema=short_schema, max_tokens=700) for key, batch in shown.items()]
    answers = asked(replace(server, frames_as=frames_as), *prompts)
    assert {key: one.frames_sha256 for key, one in answers.items()} == {
        key: frames_digest(batch) for key, batch in shown.items()
    }
    assert {key: (one.finish, one.message) for key, one in answers.items()} == dict.fromkeys(
        shown, (Finish.STOP, "")
    )
    assert all(list(json.loads(one.text)) == list(json_schema()["properties"]) for one in answers.values())
    assert answers["c8"].prompt_tokens > answers["c2"].prompt_tokens


def test_what_the_server_refuses_is_that_prompts_error(server: ServerSettings) -> None:
    answers = asked(
        server,
        prompt("long", None, user="word " * 4000),
        prompt("good", None, max_tokens=4),
        prompt("guided", None, schema={"type": "string", "pattern": "^[a-z]{3}$"}),
    )
    assert answers["long"].finish is Finish.ERROR
    assert answers["good"].finish is Finish.LENGTH
    assert answers["good"].output_tokens == 4
    assert len(json.loads(answers["guided"].text)) == 3


def test_it_says_which_models_it_has(server: ServerSettings) -> None:
    generator = ServerGenerator(server)
    try:
        assert generator.models() == ["tiny"]
    finally:
        generator.close()
