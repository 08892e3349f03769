"""How busy the GPUs are that this process sees, as their driver counts it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

EVERY_S = 0.5
"""Between two looks. Ours."""


class GpuWatch:
    """Looks at the GPUs now and then while it is entered; without a `look` it sees nothing."""

    def __init__(self, look: Callable[[], float] | None = None, every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._ended = threading.Event()
        self._busy = 0.0
        self._looks = 0

    @classmethod
    def here(cls) -> GpuWatch:
        """One that asks the driver, where PyTorch and NVML can; else one that sees nothing."""
        import torch

        if not torch.cuda.is_available():
            return cls()
        try:
            torch.cuda.utilization(0)
        except (ImportError, RuntimeError):  # no nvidia-ml-py, or a driver that does not say
            return cls()
        count = torch.cuda.device_count()
        return cls(lambda: sum(torch.cuda.utilization(i) for i in range(count)) / count / 100)

    def figures(self) -> dict[str, float]:
        """`gpu_busy`, the sum of the shares seen, and `gpu_looks`, their number; nothing where nothing was seen."""
        return {"gpu_busy": self._busy, "gpu_looks": float(self._looks)} if self._looks else {}

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self._look is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._look is not None:
            self._thread.join()

    def _watch(self) -> None:
        assert self._look is not None
        while not self._ended.wait(self._every_s):
            self._busy += self._look()
            self._looks += 1
