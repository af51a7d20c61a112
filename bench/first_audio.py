"""How soon audio is heard over HTTP, and how evenly it comes.

    python -m bench.first_audio

Starts `serve` with the shipped checkpoint and with a random one of a released size, and asks for clips at
`POST /predictions/stream`: one after the other, and several at once.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import implementations, machine
from musicgen_service import threads
from tests.support.harness import PROJECT, Server, serving, wait_until

import torch

TOGETHER = 4
TARGETS = {"demo": 0.15, "small": 0.8}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each clip (default %(default)g)")
    parser.add_argument("--turns", type=int, default=5, help="clips one after the other (default %(default)s)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"clips of {options.seconds:g} s; {machine.describe(device)}")
    _measure("demo", PROJECT / "weights", options.seconds, options.turns)
    with implementations.random_store("small", device.type) as store:
        _measure("small", store.root, options.seconds, options.turns)


def _measure(model: str, weights: Path, seconds: float, turns: int) -> None:
    settings = {"MUSICGEN_WEIGHTS": str(weights), "MUSICGEN_MODELS": model, "OMP_NUM_THREADS": str(threads.limit())}
    command = ["-m", "musicgen_service", "serve", "--port"]
    with tempfile.TemporaryDirectory() as folder, serving(command, PROJECT, Path(folder, "temp"), **settings) as server:
        _hear(server, model, seconds)
        alone = [_hear(server, model, seconds) for _ in range(turns)]
        with ThreadPoolExecutor(TOGETHER) as pool:
            together = list(pool.map(lambda _: _hear(server, model, seconds), range(TOGETHER)))
    for name, times in (("alone", alone), (f"{TOGETHER} at once", together)):
        first, last, factor = (statistics.median(values) for values in zip(*times, strict=True))
        print(
            f"{model:6} {name:10} first audio {first:6.3f} s, last {last:6.2f} s, real-time factor {factor:5.2f}",
            end="",
        )
        print(f"   target: first <= {TARGETS[model]} s" if name == "alone" else "")


def _hear(server: Server, model: str, seconds: float) -> tuple[float, float, float]:
    """Seconds until the first and the last byte of a clip's audio, and the real-time factor that the server tells."""
    inputs = {"prompt": implementations.TEXT, "model_version": model, "duration": seconds, "seed": 1}
    started = time.perf_counter()
    with server.client.stream("POST", "/predictions/stream", json={"input": inputs}) as reply:
        parts = reply.iter_raw()
        next(parts)
        first = time.perf_counter() - started
        for _ in parts:
            pass
        last = time.perf_counter() - started
    name = reply.headers["x-prediction-id"]
    wait_until(lambda: server.client.get(f"/predictions/{name}").json()["completed_at"] is not None)
    return first, last, float(reply.headers["x-real-time-factor"])


if __name__ == "__main__":
    main()
