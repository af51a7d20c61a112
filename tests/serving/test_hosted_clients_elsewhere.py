"""The hosted platform's clients that are not installed beside the tests: JavaScript's, and Python's newest.

Each runs a program of `tests/data` against the gateway. They are fetched, so these tests are skipped without a network.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_service.serving.gateway import Gateway
from tests.support.fake_cog import FakeCog
from tests.support.harness import PROJECT

pytestmark = pytest.mark.slow

NEWEST = "replicate==2.0.0b4"


@pytest.fixture(autouse=True)
def private_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")


def fetch(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the client cannot be fetched: {done.stderr[-200:]}")


def run(*command: str, gateway: Gateway, folder: Path, **environment: str) -> None:
    address = f"http://127.0.0.1:{gateway.address[1]}"
    own = {"REPLICATE_BASE_URL": f"{address}/v1", "REPLICATE_API_TOKEN": "anything"}
    done = subprocess.run(
        [*command, address], cwd=folder, env=os.environ | own | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node with npm")
def test_the_client_for_javascript(gateway: Gateway, cog: FakeCog, tmp_path: Path) -> None:
    for file in (PROJECT / "tests/data/javascript").iterdir():
        shutil.copy(file, tmp_path)
    fetch("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=tmp_path)
    run("node", "client.mjs", gateway=gateway, folder=tmp_path)


def test_the_newest_client_for_python(gateway: Gateway, cog: FakeCog, tmp_path: Path) -> None:
    fetch(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", "site", NEWEST, folder=tmp_path)
    script = PROJECT / "tests/data/newest_client.py"
    run(sys.executable, str(script), gateway=gateway, folder=tmp_path, PYTHONPATH=str(tmp_path / "site"))
