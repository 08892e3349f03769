"""Lets a torchvision built for CUDA be imported beside a PyTorch built for the CPU; does nothing beside any other.

Such a torchvision cannot load its compiled operators and then fails on the schemas of two operators that nothing which
prepares frames calls. Here they are declared first, so that its transforms work; the two still do not. Only for the
environment of `make test-vllm`, which puts this file in its site-packages and has every interpreter import it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

AFTER_OPERATORS = "torchvision._meta_registrations"
"""The module that names them first; torchvision imports it once it has tried to load its operators."""
OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class DeclareOperators:
    """An importer that finds nothing, and declares what is missing on the way."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, always: the usual importers go on to find the module."""
        if name == AFTER_OPERATORS:
            import torch

            if not hasattr(torch.ops.torchvision, "nms"):
                self._kept = torch.library.Library("torchvision", "FRAGMENT")
                for operator in OPERATORS:
                    self._kept.define(operator + SCHEMA)
        return None


sys.meta_path.insert(0, DeclareOperators())
