"""CUDA graphs of decoding steps: captured once, then replayed."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from musicgen_service import settings

MAX_GRAPHS = 16
"""Graphs that are kept: those used last. Each holds some megabytes of the device's memory."""
_WARM_UPS = 2


def _log() -> logging.Logger:
    return logging.getLogger("musicgen_service")


class StepGraphs:
    """Runs steps, replaying a captured graph for a key that has one.

    A step is hundreds of small kernels, which a GPU finishes faster than Python launches them.
    `MUSICGEN_CUDA_GRAPH=0` runs every step eagerly; a failed capture, those of its key.

    Parameters
    ----------
    device : where the steps run
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._enabled = device.type == "cuda" and settings.load().cuda_graph
        self._graphs: OrderedDict[Hashable, torch.cuda.CUDAGraph] = OrderedDict()
        self._calls: dict[Hashable, int] = {}
        self._failed: set[Hashable] = set()

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Run a step.

        Parameters
        ----------
        key : distinguishes steps of different shapes
        step : the step; it reads and writes tensors at fixed addresses and does nothing on the host
        """
        if key not in self._graphs and self._is_due(key):
            graph = self._capture(step)
            if graph is None:
                self._failed.add(key)
            else:
                self._graphs[key] = graph
        if key not in self._graphs:
            step()
            return
        self._graphs.move_to_end(key)
        if len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)
        self._graphs[key].replay()

    def _is_due(self, key: Hashable) -> bool:
        """Count a call, and return whether to capture this one."""
        if not self._enabled or key in self._failed:
            return False
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        # The first runs also let the libraries select their kernels, which must not happen during a capture.
        return calls > _WARM_UPS

    def _capture(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        try:
            # Thread-local: otherwise device calls of other threads fail during the capture, and the capture with them.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                step()
        except RuntimeError as error:
            torch.cuda.synchronize(self._device)
            _log().warning("steps run eagerly, because capturing one as a CUDA graph failed: %s", error)
            return None
        return graph
