"""CUDA graphs of decoding steps: captured once, then replayed."""

import logging
from collections.abc import Callable, Hashable

import torch

from musicgen_service import settings

_WARM_UPS = 2


def _log() -> logging.Logger:
    return logging.getLogger("musicgen_service")


class StepGraphs:
    """Runs steps, replaying a captured graph for a key that has one.

    A step is thousands of small kernels, which a GPU finishes faster than Python launches them.
    `MUSICGEN_CUDA_GRAPH=0` runs every step eagerly; so does a failed capture.

    Parameters
    ----------
    device : where the steps run
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._enabled = device.type == "cuda" and settings.load().cuda_graph
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._calls: dict[Hashable, int] = {}

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Run a step.

        Parameters
        ----------
        key : distinguishes steps of different shapes
        step : the step; it reads and writes tensors at fixed addresses and does nothing on the host
        """
        if key in self._graphs:
            self._graphs[key].replay()
            return
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if not self._enabled or calls <= _WARM_UPS:
            # The first runs also let the libraries select their kernels, which must not happen during a capture.
            step()
            return
        graph = self._capture(step)
        if graph is None:
            step()
            return
        self._graphs[key] = graph
        graph.replay()

    def _capture(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        try:
            # Thread-local: otherwise device calls of other threads fail during the capture, and the capture with them.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                step()
        except RuntimeError as error:
            self._enabled = False
            torch.cuda.synchronize(self._device)
            _log().warning("steps run eagerly, because capturing one as a CUDA graph failed: %s", error)
            return None
        return graph
