"""What the gateway costs a request: the same prediction to plain Cog and to the gateway before it, in turns.

    python -m bench.overhead

The predictor returns its input at once, so that nothing else is measured. Each figure is the time within which the
fastest tenth of the requests was answered, which other work on the machine disturbs least. The last one is processor
time, of the gateway's process for a request.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from bench import machine
from musicgen_service import predictors
from musicgen_service.serving import schema
from tests.support.harness import PROJECT, Server, serving

import psutil
import torch

PREDICTOR = """
from cog import BaseRunner

class Predictor(BaseRunner):
    async def run(self, text: str = "x") -> str:
        return text
"""
SERVE = """
import sys
from pathlib import Path
from musicgen_service import predictors
from musicgen_service.serving import cog_server
predictors.PROJECT = Path.cwd()
cog_server.serve("127.0.0.1", int(sys.argv[2]))
"""
TARGET_MS = 5.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="of each kind (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _servers(Path(folder)) as (cog, gateway):
        kinds: dict[str, Callable[[], object]] = {
            "plain Cog": lambda: _ask(cog),
            "gateway": lambda: _ask(gateway),
            "gateway, with an id": lambda: _ask(gateway, id="measured"),
            "gateway, with addresses": lambda: _ask(gateway, Prefer="output=url"),
        }
        for ask in kinds.values():
            ask()
        process = psutil.Process(gateway.process.pid)
        before = sum(process.cpu_times()[:2])
        times = [{name: _timed(ask) for name, ask in kinds.items()} for _ in range(options.requests)]
        used = 1000 * (sum(process.cpu_times()[:2]) - before) / options.requests / (len(kinds) - 1)
    print(f"{options.requests} requests of each kind, in turns; {machine.describe(torch.device('cpu'))}\n")
    fast = {name: statistics.quantiles((turn[name] for turn in times), n=10)[0] for name in kinds}
    for name, own in fast.items():
        more = own - fast["plain Cog"]
        print(f"{name:28}{own:8.2f} ms" + (f"{more:+8.2f} ms   target <= {TARGET_MS:g}" * (name != "plain Cog")))
    print(f"{'gateway, processor time':28}{used:8.2f} ms")


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[Server, Server]]:
    """Plain Cog and the service, with the same predictor."""
    (folder / "predict.py").write_text(PREDICTOR)
    with patch.object(predictors, "PROJECT", folder):
        schema.write(folder, "predict.py:Predictor")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    plain = {"PATH": path, "COG_PREDICT_TYPE_STUB": "predict.py:Predictor", "COG_MAX_CONCURRENCY": "8"}
    command = ["-m", "cog.server.http", "--host", "127.0.0.1"]
    served = {"PYTHONPATH": str(PROJECT)}
    with (
        serving(command, folder, folder / "plain", **plain) as cog,
        serving(["-c", SERVE, "--port"], folder, folder / "served", **served) as gateway,
    ):
        yield cog, gateway


def _ask(server: Server, **fields: str) -> None:
    headers = {name: fields.pop(name) for name in list(fields) if name == "Prefer"}
    reply = server.post({"input": {"text": "y"}, **fields}, **headers)
    assert reply.status_code == 200 and reply.json()["output"] == "y", reply.text


def _timed(ask: Callable[[], object]) -> float:
    """Milliseconds that a request takes."""
    started = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
