"""What an engine did and how well it was fed, in words: for a line of progress and for the report."""

from __future__ import annotations

from collections.abc import Mapping

RATES = {"answers": "answers", "output_tokens": "tokens", "prompt_tokens": "prompt tokens"}
"""What is told as a rate, and its words."""
WAITED = 0.25
"""Share of a stage's time from which its waiting for frames is worth a word. Ours."""
IDLE = 0.05
"""Share of an engine's time up to which it counts as busy. Ours."""


def said(flow: Mapping[str, float], wall_s: float) -> list[str]:
    """Answers and tokens a second of wall time, idle shares of the GPUs and the engine, and that of waiting for frames.

    `flow` is the sum of what workers told (pipeline.runner.Done); what it does not hold is not said.
    """
    lines = []
    if wall_s > 0:
        lines += [f"{rate(flow[name] / wall_s)} {words}/s" for name, words in RATES.items() if flow.get(name)]
    if flow.get("gpu_looks"):
        lines.append(f"GPU idle {percent(1 - flow['gpu_busy'] / flow['gpu_looks'])}")
    working_s = flow.get("busy_s", 0.0) + flow.get("idle_s", 0.0)
    if working_s > 0:
        lines.append(f"engine idle {percent(flow['idle_s'] / working_s)}")
    if flow.get("stage_s"):
        lines.append(f"waited for frames {percent(flow['frames_wait_s'] / flow['stage_s'])}")
    if flow.get("answers") and flow.get("errors"):
        lines.append(f"{flow['errors']:.0f} of {flow['answers']:.0f} answers were errors")
    return lines


def advice(label: str, flow: Mapping[str, float]) -> str:
    """What would feed a stage's engine better, where it waited for frames too long; else empty.

    An engine that knows its idle time and has none to speak of loses nothing by the waiting.
    """
    stage_s = flow.get("stage_s", 0.0)
    if not flow.get("answers") or stage_s <= 0 or flow["frames_wait_s"] < WAITED * stage_s:
        return ""
    working_s = flow.get("busy_s", 0.0) + flow.get("idle_s", 0.0)
    if working_s > 0 and flow["idle_s"] < IDLE * working_s:
        return ""
    waited = percent(flow["frames_wait_s"] / stage_s)
    return (
        f"{label} waited for frames {waited} of its time: more CPUs (stage.{label}.decoders),"
        f" or frames that the proxy holds (stage.{label}.every_s = 1.0), would feed it better"
    )


def rate(value: float) -> str:
    """Three digits that matter, and all those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share in whole percent, never outside 0 to 100."""
    return f"{100 * min(max(share, 0.0), 1.0):.0f} %"
