"""Columns of lists as flat arrays, chunk by chunk, so that no table is too long for 32-bit offsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


def lengths(column: pa.ChunkedArray) -> Ints:
    """(rows,) values in each list; a null has none."""
    counted: Ints = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    return counted


def flat(column: pa.ChunkedArray, dtype: Any) -> npt.NDArray[Any]:
    """The values of all lists, one after the other."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)


def flat_rows(column: pa.ChunkedArray) -> npt.NDArray[np.float16]:
    """(n, width) the vectors of a column of lists of vectors. ValueError: they differ in length."""
    parts: list[npt.NDArray[np.float16]] = []
    for chunk in column.chunks:
        vectors = chunk.flatten()
        widths = np.unique(pc.list_value_length(vectors).to_numpy())
        if len(widths) > 1:
            raise ValueError(f"the vectors of one column have {widths.tolist()} values")
        if len(vectors):
            parts.append(vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), -1))
    if len({part.shape[1] for part in parts}) > 1:
        raise ValueError(f"the vectors of one column have {sorted({p.shape[1] for p in parts})} values")
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float16)


def flat_bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.int8]:
    """(n, width) int8 of a column of lists of fixed-size binaries."""
    parts = [np.zeros((0, width), np.int8)]
    for chunk in column.chunks:
        values = chunk.flatten()
        if len(values):
            data = np.frombuffer(values.buffers()[1], np.int8)
            parts.append(
                data[values.offset * width : (values.offset + len(values)) * width].reshape(-1, width)
            )
    return np.concatenate(parts)


def codes(column: pa.ChunkedArray) -> Ints:
    """(rows,) equal numbers for equal texts, -1 for null."""
    chunked = column.combine_chunks().dictionary_encode().indices.fill_null(-1)
    found: Ints = chunked.to_numpy().astype(np.int64)
    return found


def padded(values: npt.NDArray[Any], starts: Ints, rows: Ints, most: int) -> tuple[npt.NDArray[Any], Any]:
    """(rows, most, ...) the values of these rows, and a mask (rows, most) of those that are real.

    The values of row i are those from `starts[i]` to `starts[i + 1]`.
    """
    at = starts[rows][:, None] + np.arange(most)
    real = at < starts[rows + 1][:, None]
    return values[np.where(real, at, 0)], real
