"""Keyed hashes of ids: fair, the same everywhere, and each id's own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hashes import keyed_hash


def test_hashes_are_fair_and_differ_by_seed() -> None:
    ids = pa.chunked_array([[f"{i:020x}" for i in range(100_000)]])
    hashes = keyed_hash(ids, 5)
    assert len(np.unique(hashes)) == 100_000
    assert np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16).min() > 6_250 * 0.93
    agree = np.bitwise_count(hashes ^ keyed_hash(ids, 6)).mean()
    assert agree == pytest.approx(32, abs=0.1)
    assert keyed_hash(pa.chunked_array([], pa.string()), 5).tolist() == []


@given(st.lists(st.text("0123456789abcdef-é", max_size=30)), st.integers(-(2**63), 2**64))
def test_a_hash_is_that_of_each_id_alone(ids: list[str], seed: int) -> None:
    assert keyed_hash(pa.chunked_array([ids], pa.string()), seed).tolist() == [
        plain_hash(one, seed) for one in ids
    ]


def plain_hash(text: str, seed: int) -> int:
    """splitmix64 over the words of the text, one number at a time."""
    data = text.encode()
    value = seed % 2**64
    for start in range(0, len(data), 8):
        value = mixed(value ^ int.from_bytes(data[start : start + 8], "little"))
    return mixed(value)


def mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)
