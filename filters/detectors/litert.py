"""TensorFlow Lite models on LiteRT: one tensor in, one out, one thread, and nothing on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class LiteModel:
    """A model of one input and one output; the input may change its shape from call to call."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with silenced():
            self._model: Any = Interpreter(str(model), num_threads=1)
            self._model.allocate_tensors()
        (self._input,) = (one["index"] for one in self._model.get_input_details())
        (self._output,) = (one["index"] for one in self._model.get_output_details())

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The output for an input tensor of the model's own dtype."""
        if tuple(self._model.get_input_details()[0]["shape"]) != tensor.shape:
            with silenced():
                self._model.resize_tensor_input(self._input, tensor.shape)
                self._model.allocate_tensors()
        self._model.set_tensor(self._input, tensor)
        self._model.invoke()
        output: npt.NDArray[np.float32] = self._model.get_tensor(self._output)
        return output


@contextmanager
def silenced() -> Iterator[None]:
    """Standard error goes nowhere: the library tells of its kernels at each load, and no setting stops it."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
