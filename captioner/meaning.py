"""Vectors of what short English texts mean: all-MiniLM-L6-v2, on the CPU."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

WEIGHTS = ("text.minilm", "text.minilm_tokenizer")
MOST_TOKENS = 128
"""Of a text; what the model was trained on (sentence-transformers/all-MiniLM-L6-v2)."""
_CLS, _SEP, _UNK = 101, 102, 100
_LONGEST_WORD = 100

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Meaning:
    """The model at work."""

    session: Any
    vocabulary: Mapping[str, int]

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """(n, 384) unit vectors. One text at a time: quantised on the fly, a batch would change each of its texts."""
        return np.stack([self._vector(text) for text in texts]) if texts else np.zeros((0, 384), np.float32)

    def _vector(self, text: str) -> Vectors:
        ids = np.array([tokens(text, self.vocabulary)], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self.session.run(None, given)
        mean = hidden[0].mean(axis=0)
        unit: Vectors = (mean / np.linalg.norm(mean)).astype(np.float32)
        return unit


def load(model: Path, tokenizer: Path) -> Meaning:
    """The model in these two files (WEIGHTS), on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return Meaning(session, json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"])


def tokens(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    """BERT's WordPiece ids, uncased, between its marks (Devlin et al. 2019); at most MOST_TOKENS."""
    ids = [piece for word in _words(text) for piece in _pieces(word, vocabulary)]
    return [_CLS, *ids[: MOST_TOKENS - 2], _SEP]


def _words(text: str) -> list[str]:
    """Lower-case words without accents; every punctuation sign and every Chinese character by itself."""
    plain = "".join(
        " " if char.isspace() else char for char in text if char.isspace() or not _is_control(char)
    )
    spaced = "".join(f" {char} " if _stands_alone(char) else char for char in plain)
    folded = unicodedata.normalize("NFD", spaced.lower())
    kept = "".join(char for char in folded if unicodedata.category(char) != "Mn")
    return [part for word in kept.split() for part in re.findall(r"[^\W_]+|[\W_]", word)]


def _is_control(char: str) -> bool:
    return char in "\x00\ufffd" or unicodedata.category(char).startswith("C")


def _stands_alone(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf" or "\uf900" <= char <= "\ufaff"


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    return list(_longest(word, vocabulary)) if len(word) <= _LONGEST_WORD else [_UNK]


def _longest(word: str, vocabulary: Mapping[str, int]) -> Iterator[int]:
    """The longest known pieces from the left; one unknown mark where a word cannot be cut so."""
    found: list[int] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            yield _UNK
            return
    yield from found
