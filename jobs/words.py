"""Numbers, durations, sizes and reasons as a person reads them; no line breaks between a number and its unit."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.reasons import Reason

NB = "\u00a0"
"""No-break space."""
MAX_TEXT = 2_000
"""Characters shown of one text; the reader is told how many there are beyond."""


def count_text(value: float) -> str:
    """1234.0 -> '1,234'."""
    return f"{value:,.0f}"


def duration_text(seconds: float) -> str:
    """Seconds as a person says them: '4.2 s', '3 min 12 s', '2 h 05 min', '12,345 h'."""
    if seconds == 0:
        return f"0{NB}s"
    if seconds < 59.95:
        return f"{seconds:.1f}{NB}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NB}min {whole % 60:02d}{NB}s"
    minutes = round(seconds / 60)
    if minutes < 6000:
        return f"{minutes // 60}{NB}h {minutes % 60:02d}{NB}min"
    return f"{seconds / 3600:,.0f}{NB}h"


def bytes_text(size: float) -> str:
    """Bytes in decimal units: '48.1 MB'."""
    if size < 1000:
        return f"{size:.0f}{NB}bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f}{NB}{unit}"
    return f"{size / 1000:,.1f}{NB}TB"


def value_text(value: float) -> str:
    """A score in three significant digits, without an exponent where that is short."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def percent(part: float, whole: float) -> str:
    """The share in whole percent; never 0 % for something, never 100 % for less than all."""
    if whole <= 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 1:
        return f"<1{NB}%"
    return f">99{NB}%" if 99 < share < 100 else f"{share:.0f}{NB}%"


def timecode(seconds: float) -> str:
    """Seconds from the start of the video: '1:02:03.4', '2:03.4'."""
    tenths = max(round(seconds * 10), 0)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def clipped(text: str) -> str:
    """The text, cut after MAX_TEXT characters with a note of how many follow."""
    return (
        text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} … ({len(text) - MAX_TEXT:,} more characters)"
    )


def plural(number: float, word: str) -> str:
    """'1 clip', '2 clips'."""
    return f"{number:,.0f} {word}{'' if number == 1 else 's'}"


EXPLAINED: Mapping[str, str] = {
    Reason.NOT_FOUND: "there is no such file",
    Reason.NOT_A_FILE: "a folder, pipe or device stands where a regular file is wanted",
    Reason.UNREADABLE: "no permission to read it, a name that is not UTF-8, or its storage twice broke off",
    Reason.EMPTY: "the file has no bytes",
    Reason.OUTSIDE_ROOT: "the manifest names a path outside the folders that it may name",
    Reason.BAD_ROW: "the manifest's row has no usable path, too many cells, or a column twice",
    Reason.DUPLICATE: "another item of this run has the same bytes",
    Reason.CHANGED: "the file is no longer the one that was ingested, or was being written just then",
    Reason.NOT_MEDIA: "the content is no video or image of an accepted kind",
    Reason.NO_VIDEO: "there is sound, text or cover art in it, but no video",
    Reason.UNSUPPORTED_CODEC: "its codec is not among those that are decoded",
    Reason.NO_FRAMES: "it has a video stream without a single frame",
    Reason.TOO_LARGE: "it has more bytes than stated or allowed, or claims too many pixels, frames or seconds",
    Reason.TOO_SMALL: "a side of the picture is under 16 pixels",
    Reason.BAD_TIMESTAMPS: "its frames' times are missing, repeated or wildly spaced",
    Reason.SIZE_CHANGES: "the picture's size changes within the video",
    Reason.TRUNCATED: "it ends before the container says it should, or nearly all of it was never written",
    Reason.DECODE_ERROR: "the decoder met damaged data",
    Reason.DECODER_CRASHED: "the decoding process died on it",
    Reason.DECODER_TIMEOUT: "decoding passed its deadline",
    Reason.DECODER_MEMORY: "decoding passed its memory bound",
    Reason.STAGE_ERROR: "a stage could not measure this clip",
    Reason.NOT_FINITE: "a model answered NaN or infinity",
    Reason.CAPTION_INVALID: "the captioner's answer does not fit the schema",
    Reason.ENGINE_FAILED: "the captioning engine or its server gave no answer",
    Reason.WORKER_DIED: "the worker died on it more often than allowed",
    Reason.ENCODE_ERROR: "the clip could not be encoded",
}
"""Each reason in words."""
