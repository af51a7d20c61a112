"""The files for Ray agree with one another and with the service."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import pins
from musicgen_service import __version__, settings
from tests.support.deployments import IMAGE, RAY, RAY_APPLICATION, RAY_CLUSTER, RAY_PODS, RAY_SERVICE


def test_ray_has_the_same_configuration_everywhere() -> None:
    assert yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"]) == RAY
    deployments = {deployment["name"]: deployment for deployment in RAY_APPLICATION["deployments"]}
    given = settings.load(RAY_APPLICATION["runtime_env"]["env_vars"])
    assert deployments["Replica"]["max_ongoing_requests"] == given.slots
    scaling, [workers] = deployments["Replica"]["autoscaling_config"], RAY_CLUSTER["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (scaling["min_replicas"], scaling["max_replicas"])
    assert scaling["target_ongoing_requests"] < given.slots
    [pin] = [pin for pin in pins.read(Path("requirements-ray.txt").read_text()) if pin.name == "ray"]
    assert RAY_CLUSTER["rayVersion"] == pin.version and RAY_CLUSTER["authOptions"] == {"mode": "token"}
    [resource] = json.loads(json.loads(RAY_CLUSTER["headGroupSpec"]["rayStartParams"]["resources"]))
    assert deployments["Gateway"]["ray_actor_options"]["resources"].keys() == {resource}


@pytest.mark.parametrize("template", RAY_PODS, ids=["head", "worker"])
def test_pods_have_the_volumes_that_the_service_needs(template: dict[str, Any]) -> None:
    [container] = template["spec"]["containers"]
    assert container["image"] == f"musicgen-ray:{__version__}"
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in template["spec"]["volumes"]}
    variables = RAY_APPLICATION["runtime_env"]["env_vars"]
    assert variables["MUSICGEN_WEIGHTS"] == mounted["weights"]
    assert Path(variables["MUSICGEN_API_KEYS_FILE"]).parent == Path(mounted["keys"])
    assert mounted.get("results", "/results") == variables["MUSICGEN_RESULTS"]


def test_image_for_ray_has_what_it_runs() -> None:
    dockerfile = Path("deploy/ray.Dockerfile").read_text()
    assert f"FROM {IMAGE}\n" in dockerfile
    allowed = Path("deploy/ray.Dockerfile.dockerignore").read_text().splitlines()
    copied = [word for line in re.findall("^COPY (.*) ", dockerfile, re.M) for word in line.split()]
    assert {f"!{file}" for file in copied} == {line for line in allowed if line.startswith("!")}
    assert {str(file) for file in Path("deploy").glob("ray_*.py")} <= set(copied)
