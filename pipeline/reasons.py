"""The closed list of reasons for which an item is refused or fails. Documented in docs/failures.md."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an item was refused or failed; the value is what tables and reports show."""

    # the file
    NOT_FOUND = "not_found"  # the path does not exist
    NOT_A_FILE = "not_a_file"  # a directory, FIFO, socket, device or link where a regular file is wanted
    UNREADABLE = "unreadable"  # no permission, a name that is not UTF-8, or its storage refused it
    EMPTY = "empty"  # zero bytes
    OUTSIDE_ROOT = "outside_root"  # a manifest names a path outside its root
    BAD_ROW = "bad_row"  # a manifest row without a usable path, or with cells that belong nowhere
    DUPLICATE = "duplicate"  # the same bytes as another item of this run
    CHANGED = "changed"  # the bytes are no longer those that were ingested, or change while they are
    # the container
    NOT_MEDIA = "not_media"  # no demuxer of the allow-list opens it
    NO_VIDEO = "no_video"  # audio, subtitles or cover art only
    UNSUPPORTED_CODEC = "unsupported_codec"  # no decoder, or one outside the allow-list
    NO_FRAMES = "no_frames"  # a video stream without a single frame
    TOO_LARGE = "too_large"  # more bytes, pixels, frames or seconds than the limits
    TOO_SMALL = "too_small"  # a picture side under 16 pixels
    BAD_TIMESTAMPS = "bad_timestamps"  # missing, repeated or wildly spaced timestamps
    SIZE_CHANGES = "size_changes"  # the picture size changes mid-stream
    TRUNCATED = "truncated"  # fewer frames than the container claims, or a file of holes
    # decoding
    DECODE_ERROR = "decode_error"  # the decoder reported damaged data
    DECODER_CRASHED = "decoder_crashed"  # the decoding process died on it
    DECODER_TIMEOUT = "decoder_timeout"  # decoding passed its deadline
    DECODER_MEMORY = "decoder_memory"  # decoding passed its memory bound
    # measuring
    STAGE_ERROR = "stage_error"  # a stage could not measure this clip
    NOT_FINITE = "not_finite"  # a model returned NaN or infinity
    CAPTION_INVALID = "caption_invalid"  # the captioner's answer does not fit the schema
    ENGINE_FAILED = "engine_failed"  # the captioning engine or its server gave no answer
    WORKER_DIED = "worker_died"  # the worker process died on it more often than allowed
    # sharding
    ENCODE_ERROR = "encode_error"  # the clip could not be encoded


class MediaError(Exception):
    """This file cannot be used or decoded: a reason from the closed list and one sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
