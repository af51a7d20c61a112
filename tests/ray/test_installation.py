"""What Ray needs beside the service: pinned, installed, permissive; and what its configuration says."""

from importlib import metadata
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from tests import test_pins
from tests.support import licences

pytestmark = pytest.mark.ray

FILE = "requirements-ray.txt"


def test_pins_are_exactly_the_required_packages() -> None:
    have = {pin.name for pin in test_pins.pinned("requirements.txt", FILE) if pin.holds(test_pins.HERE)}
    only_cuda = {pin.name for pin in test_pins.pinned("requirements-cuda.txt")} - have
    assert test_pins.needed(test_pins.requirements_of("ray")) - only_cuda == have


def test_pins_are_installed_at_the_versions_of_the_other_files() -> None:
    others = {pin.name: pin.version for pin in test_pins.pinned("requirements.txt", "requirements-dev.txt")}
    for pin in test_pins.pinned(FILE):
        assert others.get(pin.name, pin.version) == pin.version
        assert not pin.holds(test_pins.HERE) or metadata.version(pin.name) == pin.version, "run make ray"


def test_licences_are_allowed() -> None:
    found = licences.found(FILE)
    assert {"ray", "grpcio", "aiohttp"} <= found.keys() and licences.objections(found) == []


def test_ray_accepts_the_configuration() -> None:
    configuration = ServeDeploySchema.model_validate(yaml.safe_load(Path("deploy/ray.yaml").read_text()))
    [application] = configuration.applications
    assert [deployment.name for deployment in application.deployments] == ["Gateway", "Replica"]
