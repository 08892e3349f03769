"""Hashes of ids by a seed, whole columns at once: what is drawn, ordered or left out by them is so on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

WORD_BYTES = 8
Words = npt.NDArray[np.uint64]


def keyed_hash(ids: pa.ChunkedArray, seed: int) -> Words:
    """(rows,) 64-bit hashes of (seed, id), the same on every machine: splitmix64 (Steele et al. 2014) chained."""
    column = ids.cast(pa.large_string()).combine_chunks()
    lengths = pc.binary_length(column).to_numpy()
    words = -(-int(lengths.max(initial=0)) // WORD_BYTES)
    hashes = np.full(len(column), np.uint64(seed % 2**64))
    if words:
        # Zero bytes after the text lay the ids out as a grid; words past an id's own end are not hashed.
        padded = pc.ascii_rpad(column, width=words * WORD_BYTES, padding="\0")
        text = np.frombuffer(padded.buffers()[2], dtype="<u8", count=len(column) * words)
        for number, word in enumerate(text.reshape(len(column), words).T):
            hashes = np.where(lengths > number * WORD_BYTES, _mixed(hashes ^ word), hashes)
    return _mixed(hashes)


def _mixed(values: Words) -> Words:
    """One step of splitmix64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
