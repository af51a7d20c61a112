"""Manifests are valid by the published schemas of what reads them; no test needs Kubernetes or Docker."""

import json
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.deployments import COMPOSE, COMPOSE_FILE, KUBERNETES, MANIFESTS, RAY_PODS, RAY_RESULTS, SCALED


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("manifest", KUBERNETES, ids=lambda manifest: manifest["kind"])
def test_manifests_match_the_kubernetes_schema(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_validation_rejects_a_wrong_manifest() -> None:
    wrong = {**MANIFESTS["Service"], "specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_compose_file_matches_its_schema() -> None:
    # The specification's schema as check-jsonschema ships it; see its builtin_schemas/vendor.
    vendor = Path(str(check_jsonschema.__file__)).with_name("builtin_schemas") / "vendor"
    schema = json.loads((vendor / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(COMPOSE_FILE)
    assert not validator.is_valid({"services": {"musicgen": COMPOSE | {"readonly": True}}})


def closed(schema: Any) -> Any:
    """A schema of Kubernetes that refuses what it does not know."""
    if isinstance(schema, dict):
        schema = {name: closed(part) for name, part in schema.items()}
        is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
            schema["additionalProperties"] = False
    return schema


def test_scaled_object_matches_the_schema_of_keda() -> None:
    definition = yaml.safe_load(Path("tests/data/schemas/keda-scaledobject.yaml").read_text())["spec"]
    [version] = definition["versions"]
    assert SCALED["apiVersion"] == f"{definition['group']}/{version['name']}"
    schema = closed(version["schema"]["openAPIV3Schema"])
    # Of any object's metadata, the schema says only that it is an object.
    schema["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(SCALED)
    [trigger] = SCALED["spec"]["triggers"]
    for wrong in ({"pollingSeconds": 15}, {"triggers": [trigger | {"metadata": {"threshold": 8}}]}):
        assert not validator.is_valid(SCALED | {"spec": SCALED["spec"] | wrong})


@pytest.mark.parametrize("template", RAY_PODS, ids=["head", "worker"])
def test_pods_of_ray_match_the_kubernetes_schema(template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **template}
    kubernetes_validate.validate(pod, "1.37", strict=True)


def test_volume_of_rays_results_matches_the_kubernetes_schema() -> None:
    kubernetes_validate.validate(RAY_RESULTS, "1.37", strict=True)
