"""Contents of the image by .dockerignore, checked with the matcher of Docker's own client."""

import subprocess
from pathlib import Path

import pytest
from docker.utils.build import PatternMatcher

PATTERNS = [line for line in Path(".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
PLACES = ("", "musicgen_service/", "musicgen_service/models/", "compat/", "weights/", "weights/small/")


def kept(root: Path) -> set[str]:
    """The files of a folder that would be copied into the image."""
    # Docker sends .dockerignore to the builder, which copies it only where the patterns let it.
    sent = PatternMatcher(list(PATTERNS)).walk(str(root))
    return {path for path in sent if (root / path).is_file() and path != ".dockerignore"}


def tree(root: Path, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)


def test_image_contains_what_it_runs(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    tree(tmp_path, *tracked)
    whole = (*"predict.py cog.yaml LICENSE NOTICE requirements-no-deps.txt musicgen_service/ compat/ weights/".split(),)
    assert kept(tmp_path) == {file for file in tracked if file.startswith(whole) and not file.endswith(".md")}


def test_image_contains_fetched_weights(tmp_path: Path) -> None:
    fetched = {"weights/small/state_dict.bin", "weights/t5-base/spiece.model", "weights/htdemucs/955717e8.safetensors"}
    tree(tmp_path, *fetched, "weights/.partial/small/state_dict.bin.0.unfinished", "weights/.partial/small.lock")
    assert kept(tmp_path) == fetched


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "file",
    [
        *(".env", ".env.local", ".env.production", ".envrc", "production.env"),
        *("server.pem", "server.key", "client.p12", "client.pfx", "store.jks", "id_rsa", "id_ed25519", "login.kdbx"),
        *(".netrc", ".pypirc", ".npmrc", ".ssh/config", ".aws/credentials", ".kube/config", ".huggingface/token"),
        *("hub.token", "credentials.json", "secrets.yaml"),
        *(".venv/bin/python", "venv/bin/python", ".venv3.12/lib/six.py", "env/bin/python", "ENV/bin/python"),
        *("my-venv/bin/python", "virtualenv/bin/python"),
        *(".git/config", ".ci/run", "__pycache__/predict.cpython-311.pyc", ".mypy_cache/x.json", ".DS_Store"),
    ],
)
def test_secrets_and_environments_stay_out(tmp_path: Path, place: str, file: str) -> None:
    tree(tmp_path, place + file)
    assert kept(tmp_path) == set()


@pytest.mark.parametrize(
    "file",
    [
        *(
            "demo/train.py",
            "demo/synth/song.py",
            "docs/pictures/loop.png",
            "bench/results/figures.txt",
            "bench/speed.py",
        ),
        *("tests/test_docs.py", "deploy/compose.yaml", "out/clip.wav", "build/x", "notes.txt", "recording.wav"),
        *("compat/README.md", "weights/README.md", "requirements.txt", "shared/anything"),
    ],
)
def test_development_files_stay_out(tmp_path: Path, file: str) -> None:
    tree(tmp_path, file)
    assert kept(tmp_path) == set()
