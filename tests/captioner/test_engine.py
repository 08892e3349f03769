"""The engine seam: answers are matched to their clips, failures stay failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from captioner.engine import CaptionEngine, CaptionRequest, CaptionResult, Outcome, Status, ask, frames_digest
from captioner.schema import Caption
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch

EMPTY = Caption(
    subjects=(),
    shot_type="",
    shot_angle="",
    shot_position="",
    camera_motion="",
    environment="",
    lighting="",
)
OK = Outcome(Status.OK, "fake/1", "p1", attempts=1, finish_reason="stop")


def batch(seed: int) -> FrameBatch:
    images = np.random.default_rng(seed).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    return FrameBatch(images, np.array([0.0, 1.0]), np.array([0, 24]))


def request(clip_id: str, seed: int) -> CaptionRequest:
    frames = batch(seed)
    return CaptionRequest(clip_id, frames_digest(frames), frames, fps=24.0)


@dataclass(frozen=True)
class FakeEngine:
    """Answers every request with an empty caption, then lets `spoil` change the answers."""

    spoil: Callable[[list[CaptionResult]], list[CaptionResult]] = list
    name: str = "fake/1"

    def caption(self, requests: Sequence[CaptionRequest]) -> list[CaptionResult]:
        return self.spoil([CaptionResult(r.clip_id, r.frames_sha256, EMPTY, OK) for r in requests])


REQUESTS = [request("a", 1), request("b", 2)]


def test_answers_come_back_in_order() -> None:
    engine: CaptionEngine = FakeEngine()
    answers = ask(engine, REQUESTS)
    assert [answer.clip_id for answer in answers if isinstance(answer, CaptionResult)] == ["a", "b"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda results: results[::-1],
        lambda results: [replace(result, frames_sha256="0" * 64) for result in results],
        lambda results: [replace(result, clip_id="c") for result in results],
    ],
)
def test_an_answer_for_another_clip_or_other_frames_is_refused(
    spoil: Callable[[list[CaptionResult]], list[CaptionResult]],
) -> None:
    for answer in ask(FakeEngine(spoil), REQUESTS):
        assert isinstance(answer, ClipError)
        assert answer.reason is Reason.CAPTION_INVALID
        assert "fake/1 answered for clip" in answer.message


@pytest.mark.parametrize("spoil", [lambda results: results[:1], lambda results: [*results, results[0]]])
def test_another_number_of_answers_is_refused(
    spoil: Callable[[list[CaptionResult]], list[CaptionResult]],
) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        ask(FakeEngine(spoil), REQUESTS)


def test_a_failure_is_an_error_with_its_reason_and_harms_no_neighbour() -> None:
    def spoil(results: list[CaptionResult]) -> list[CaptionResult]:
        failed = replace(OK, status=Status.TRUNCATED, attempts=3, finish_reason="length")
        return [
            replace(results[0], caption=None, outcome=failed, message="cut after 2048 tokens"),
            results[1],
        ]

    first, second = ask(FakeEngine(spoil), REQUESTS)
    assert str(first) == "caption_invalid: fake/1 truncated after 3 attempts: cut after 2048 tokens"
    assert isinstance(second, CaptionResult)


def test_a_result_has_a_caption_exactly_when_it_is_ok() -> None:
    with pytest.raises(ValueError, match="status ok"):
        CaptionResult("a", "", None, OK)
    with pytest.raises(ValueError, match="status invalid"):
        CaptionResult("a", "", EMPTY, replace(OK, status=Status.INVALID))


def test_the_digest_sees_pixels_shape_and_times() -> None:
    frames = batch(1)
    reshaped = replace(frames, images=frames.images.reshape(2, 6, 4, 3))
    later = replace(frames, times_s=frames.times_s + 0.5)
    other = replace(frames, images=frames.images ^ 1)
    digests = {frames_digest(one) for one in (frames, reshaped, later, other)}
    assert len(digests) == 4
    assert frames_digest(batch(1)) == frames_digest(frames)
