"""The input files of `make container`; nothing is built."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import pins
from deploy.container import stage

CONFIG: dict[str, Any] = yaml.safe_load(Path("cog.yaml").read_text())


def test_dockerfile_uses_every_setting_of_cog_yaml() -> None:
    lines = stage.dockerfile(CONFIG).splitlines()
    [environment] = [line for line in lines if line.startswith("ENV GOMP")]
    assert set(environment.split()[1:]) == set(CONFIG["environment"])
    runs = [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ")]
    assert runs[-len(CONFIG["build"]["run"]) :] == CONFIG["build"]["run"]
    assert any(line.endswith(f"--no-cache cog=={CONFIG['build']['sdk_version']}") for line in runs)
    assert f'ENV COG_PREDICT_TYPE_STUB="{CONFIG["run"]}"' in lines
    assert "ENV COG_MAX_CONCURRENCY=8" in lines


def test_steps_are_in_cogs_order() -> None:
    """`GenerateInitialSteps`: the source comes after everything that is installed."""
    text = stage.dockerfile(CONFIG)
    steps = [
        "FROM",
        "ENV GOMP",
        "COPY --from=uv",
        "ln -sf",
        "uv run pip",
        "uv pip",
        "chmod",
        "WORKDIR",
        "CMD",
        "COPY . ",
    ]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)


def test_requirements_are_the_images_without_cuda() -> None:
    image = {pin.name: pin for pin in pins.read(Path("requirements-image.txt").read_text())}
    ours = {pin.name: pin for pin in pins.read(stage.requirements())}
    assert {name for name in image if not pins.CUDA.fullmatch(name)} == set(ours)
    assert all(ours[name] == image[name] for name in ours if name != "torch")
    assert set(ours["torch"].hashes) < set(image["torch"].hashes)


def test_pip_settings_are_mounted_and_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    options = stage.pip_mounts(tmp_path)
    assert all(option.startswith("--volume=") and option.endswith(":ro") for option in options)
    assert f"--volume={tmp_path}/wheels:{tmp_path}/wheels:ro" in options
    assert f"find-links = {tmp_path}/wheels" in (tmp_path / "pip.conf").read_text()
    assert 'url = "https://index.example/simple"' in (tmp_path / "uv.toml").read_text()
    assert "index.example" not in stage.dockerfile(CONFIG) + stage.requirements()
