"""The interpreter of another environment, asked before a run begins whether workers can live there."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

from pipeline.weights import WeightError

WAIT_S = 60.0
"""For an interpreter to start on a busy machine."""
NEEDED = ("vllm", "ray", "pipeline")
"""Modules that a worker imports there; the last is rushes itself."""
QUESTION = f"""
import importlib.metadata, importlib.util, json, sys
has = [name for name in {NEEDED!r} if importlib.util.find_spec(name)]
ray = importlib.metadata.version("ray") if "ray" in has else ""
print(json.dumps({{"python": list(sys.version_info[:2]), "ray": ray, "has": has}}))
"""


def checked_interpreter(python: str) -> None:
    """WeightError: it cannot be started, lacks vLLM, Ray or rushes, or has another Python or Ray than this one."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", QUESTION], capture_output=True, text=True, timeout=WAIT_S, check=True
        )
        said = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise WeightError(
            f"'{python}' is no interpreter that can be started: {type(error).__name__}"
        ) from None
    lacks = [name for name in NEEDED if name not in said["has"]]
    if lacks:
        named = {"pipeline": "rushes"}.get(lacks[0], lacks[0])
        raise WeightError(f"'{python}' lacks {named}: install it in that environment (docs/engines.md)")
    wanted: dict[str, list[int] | str] = {"python": list(sys.version_info[:2]), "ray": version("ray")}
    for name, own in wanted.items():
        if said[name] != own:
            raise WeightError(
                f"'{python}' has {name} {_dotted(said[name])}, this command {_dotted(own)}: Ray wants the same in both"
            )


def _dotted(number: list[int] | str) -> str:
    return number if isinstance(number, str) else ".".join(map(str, number))
