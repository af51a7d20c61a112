"""The package in the repository, and as a wheel that is installed elsewhere."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicgen_service import __version__, installation
from musicgen_service.audio import recipe
from musicgen_service.models.store import WeightStore
from tests.support.harness import serving

PROJECT = Path(__file__).resolve().parents[1]


def test_repository_files_lie_around_the_package() -> None:
    assert PROJECT == installation.PROJECT
    assert installation.weights_folder() == PROJECT / "weights"
    assert installation.SHIPPED_WEIGHTS is None


def test_weights_folder_takes_precedence_over_shipped_weights(weights: Path, tmp_path: Path) -> None:
    store = WeightStore(tmp_path, shipped=weights)
    assert store.present() == WeightStore(weights).present()
    assert store.path("small") == weights / "small"
    (tmp_path / "small").mkdir()
    assert store.path("small") == tmp_path / "small" and not store.has("small")
    assert store.path("large") == tmp_path / "large"


@dataclass(frozen=True)
class Installation:
    """A wheel installed in a separate environment and run in an empty folder."""

    environment: Path
    folder: Path
    variables: dict[str, str]

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def run(self, *command: str) -> str:
        """Run a command of the environment; returns its output."""
        done = subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the source distribution of this repository, and the wheel built from the latter."""
    folder = tmp_path_factory.mktemp("dist")
    _build(PROJECT, folder)
    [wheel], [source] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    _build(unpacked, folder / "again")
    [again] = (folder / "again").glob("*.whl")
    return {"wheel": wheel, "source": source, "again": again}


def _build(project: Path, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=project, check=True)


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, installed beside this environment's other packages; nothing is downloaded."""
    environment, folder = tmp_path_factory.mktemp("venv"), tmp_path_factory.mktemp("empty")
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(built["wheel"])]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    own = {"XDG_DATA_HOME": str(folder / "data"), "HOME": str(folder)}
    # Empty ones are as good as none. The demo is what drop-ins then take, whatever they would.
    own |= {"PYTHONPATH": "", "MUSICGEN_WEIGHTS": "", "MUSICGEN_MODELS": "demo"}
    return Installation(environment, folder, own)


@pytest.mark.slow
def test_wheel_contains_what_it_runs_in_one_package(built: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(built["wheel"]).namelist())
    info = f"musicgen_service-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"musicgen_service", info}
    inside = {
        *("predict.py", "compat/dropin.py", "compat/m3maker/cog.yaml", "requirements-no-deps.txt"),
        *("weights/demo/state_dict.bin", "weights/demo/t5/model.safetensors"),
    }
    assert {f"musicgen_service/_project/{name}" for name in inside} <= names
    page = (PROJECT / "musicgen_service/serving/page").rglob("*")
    assert {str(path.relative_to(PROJECT)) for path in page if path.is_file()} <= names
    assert {"musicgen_service/py.typed", f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("musicgen_service/_project/demo")]
    assert names == set(zipfile.ZipFile(built["again"]).namelist())


@pytest.mark.slow
def test_installation_and_repository_make_the_same_clip(installed: Installation, tmp_path: Path) -> None:
    words = ["predict", "lofi piano", "--duration", "1", "--seed", "1"]
    installed.run("musicgen", *words, "-o", "a.wav")
    file = installed.folder / "a.wav"
    assert recipe.read(file)["model_version"] == "demo"
    ours = [sys.executable, "-m", "musicgen_service", *words, "-i", "model_version=demo", "-o", str(tmp_path / "a.wav")]
    subprocess.run(ours, cwd=PROJECT, check=True)
    assert file.read_bytes() == (tmp_path / "a.wav").read_bytes()
    code = 'from musicgen_service import load; load("demo").generate("lofi piano", duration=1, seed=1).save("b.wav")'
    installed.run("python", "-c", code)
    assert (installed.folder / "b.wav").read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_installation_has_the_demo_and_the_users_weights(installed: Installation) -> None:
    assert installed.run("musicgen", "weights", "path") == f"{installed.folder}/data/musicgen-service/weights\n"
    weights, _packages = installed.run("musicgen", "weights", "list").split("\n\n")
    assert [line.split()[0] for line in weights.splitlines() if " yes " in line] == ["demo"]
    assert installed.run("musicgen", "weights", "verify") == "checksums agree: demo\n"
    where = installed.run("python", "-c", "import musicgen_service; print(musicgen_service.__file__)")
    assert Path(where).is_relative_to(installed.environment)


@pytest.mark.slow
def test_installed_script_has_every_command(installed: Installation) -> None:
    assert installed.run("musicgen", "--help").startswith("usage: musicgen [-h]")
    assert installed.run("musicgen", "--version") == f"musicgen-service {__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("system", [None, "meta_musicgen"])
def test_an_installation_serves(installed: Installation, system: str | None, tmp_path: Path) -> None:
    place = [] if system is None else ["--as", system]
    command = [str(installed.environment / "bin" / "musicgen"), "serve", *place, "--port"]
    with serving(
        command, installed.folder, tmp_path / "temp", python=installed.python, **installed.variables
    ) as server:
        reply = server.predict(prompt="rock", duration=1)
    assert reply["status"] == "succeeded", reply
    assert "site-packages" not in str(reply)


@pytest.mark.slow
def test_installation_serves_drop_ins(installed: Installation) -> None:
    assert installed.run("musicgen", "predict", "rock", "--as", "m3maker", "--duration", "1", "-o", "c.wav")


def test_version_is_defined_once() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "musicgen_service/__init__.py"
