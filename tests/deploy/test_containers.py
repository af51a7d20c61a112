"""Kubernetes and compose run the same containers: commands, users, memory, volumes, keys, probes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from musicgen_service import cli, settings
from musicgen_service.models import fetching
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.serving import cog_server, supervisor
from musicgen_service.serving.api_keys import ApiKeys
from tests.support.deployments import (
    COMPOSE,
    COMPOSE_FETCH,
    COMPOSE_KEYS,
    CONTAINER,
    FETCH,
    IMAGE,
    JOB,
    MANIFESTS,
    POD,
)

SERVE = ["python", "-m", "musicgen_service", "serve", "--host", "0.0.0.0", "--port", "5000"]


def test_image_limits_memory_like_serve() -> None:
    environment = dict(line.split("=") for line in yaml.safe_load(Path("cog.yaml").read_text())["environment"])
    assert cog_server.MEMORY and cog_server.MEMORY.items() <= environment.items()


def test_both_deployments_run_the_supervisor() -> None:
    # `args`: with `command` Kubernetes would leave out the image's entrypoint, tini.
    assert CONTAINER["args"] == COMPOSE["command"] == SERVE
    for container in (CONTAINER, FETCH, COMPOSE, COMPOSE_FETCH, COMPOSE_KEYS):
        assert "entrypoint" not in container
    assert "command" not in CONTAINER and "command" not in FETCH
    assert CONTAINER["ports"][0]["containerPort"] == 5000
    assert MANIFESTS["Service"]["spec"]["ports"][0]["targetPort"] == CONTAINER["ports"][0]["name"]


def test_clients_stay_with_their_replica() -> None:
    assert MANIFESTS["Service"]["spec"]["sessionAffinity"] == "ClientIP"


def test_probes_ask_by_status_code() -> None:
    found = {kind: CONTAINER[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    port = CONTAINER["ports"][0]["name"]
    assert found == {
        "startup": {"path": "/livez", "port": port},
        "readiness": {"path": "/readyz", "port": port},
        "liveness": {"path": "/livez", "port": port},
    }
    *command, code = COMPOSE["healthcheck"]["test"]
    assert command == ["CMD", "python", "-c"] and "'http://127.0.0.1:5000/readyz'" in code
    compile(code, "healthcheck", "exec")


def test_grace_period_exceeds_drain_time() -> None:
    environment = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    minimum = settings.load(environment).drain_seconds + supervisor.CANCEL_TIMEOUT + 10
    assert POD["terminationGracePeriodSeconds"] >= minimum
    assert int(COMPOSE["stop_grace_period"].removesuffix("s")) >= minimum
    assert COMPOSE["environment"]["MUSICGEN_DRAIN_SECONDS"] == environment["MUSICGEN_DRAIN_SECONDS"]


def test_both_run_as_an_ordinary_user() -> None:
    assert POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["runAsUser"] >= 1000
    assert JOB["securityContext"] == POD["securityContext"]
    for container in (CONTAINER, FETCH):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert COMPOSE["user"] == COMPOSE_KEYS["user"] == "1000:1000"
    assert COMPOSE_FETCH["user"].endswith("1000:1000}")
    for service in (COMPOSE, COMPOSE_FETCH, COMPOSE_KEYS):
        assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_home_and_temporary_files_are_in_tmp() -> None:
    environments = [{entry["name"]: entry["value"] for entry in container["env"]} for container in (CONTAINER, FETCH)]
    environments += [COMPOSE["environment"], COMPOSE_FETCH["environment"], COMPOSE_KEYS["environment"]]
    assert {environment["HOME"] for environment in environments} == {"/tmp"}
    for container in (CONTAINER, FETCH):
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert all(service["tmpfs"][0].startswith("/tmp:") for service in (COMPOSE, COMPOSE_FETCH, COMPOSE_KEYS))


def test_every_image_has_the_tag_that_the_page_for_operators_builds() -> None:
    images = {container["image"] for container in (CONTAINER, FETCH, COMPOSE, COMPOSE_FETCH, COMPOSE_KEYS)}
    assert images == {IMAGE}
    assert set(re.findall(r"cog build .*?-t (\S+)", Path("docs/operators.md").read_text())) == {IMAGE}


def test_memory_is_limited() -> None:
    for container in (CONTAINER, FETCH):
        assert container["resources"]["limits"]["memory"]
    for service in (COMPOSE, COMPOSE_FETCH, COMPOSE_KEYS):
        assert service["deploy"]["resources"]["limits"]["memory"]
    assert CONTAINER["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_pod_tolerates_gpu_nodes() -> None:
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in POD["tolerations"]


def test_weights_volume_is_defined_filled_and_mounted() -> None:
    claim = MANIFESTS["PersistentVolumeClaim"]["metadata"]["name"]
    read, written = ({volume["name"]: volume for volume in pod["volumes"]}["weights"] for pod in (POD, JOB))
    assert read["persistentVolumeClaim"] == {"claimName": claim, "readOnly": True}
    assert written["persistentVolumeClaim"] == {"claimName": claim}
    assert {"name": "weights", "mountPath": "/weights"} in FETCH["volumeMounts"]
    for environment in ({entry["name"]: entry["value"] for entry in FETCH["env"]}, COMPOSE_FETCH["environment"]):
        assert environment["MUSICGEN_WEIGHTS"] == "/weights"
    assert COMPOSE_FETCH["volumes"] == ["../weights:/weights"] and "../weights:/weights:ro" in COMPOSE["volumes"]


def test_keys_are_required_and_mounted() -> None:
    environment = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    for given in (environment, COMPOSE["environment"], COMPOSE_KEYS["environment"]):
        assert given["MUSICGEN_API_KEYS_FILE"] == "/keys/api-keys"
    # Folders: of a file that is replaced, a mount would keep showing what it was.
    assert {"name": "keys", "mountPath": "/keys", "readOnly": True} in CONTAINER["volumeMounts"]
    volume = {volume["name"]: volume for volume in POD["volumes"]}["keys"]
    assert "items" not in volume["secret"] and volume["secret"]["defaultMode"] == 0o440
    assert "../keys:/keys:ro" in COMPOSE["volumes"] and COMPOSE_KEYS["volumes"] == ["../keys:/keys"]
    assert (
        f"generic {volume['secret']['secretName']} --from-file=api-keys" in Path("deploy/kubernetes.yaml").read_text()
    )


def test_a_key_is_made_as_the_compose_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    *command, name = COMPOSE_KEYS["command"]
    assert command[:3] == ["python", "-m", "musicgen_service"]
    monkeypatch.setenv("MUSICGEN_API_KEYS_FILE", str(tmp_path / "api-keys"))
    cli.main([*command[3:], name.removeprefix("${NAME:-").removesuffix("}")])
    assert ApiKeys(tmp_path / "api-keys").name_of(capsys.readouterr().out.strip()) == "default"


@pytest.mark.parametrize("command", [FETCH["args"], COMPOSE_FETCH["command"]], ids=["kubernetes", "compose"])
def test_job_fetches_an_existing_checkpoint(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    *command, checkpoint = command
    assert command == ["python", "-m", "musicgen_service", "weights", "fetch"]
    checkpoint = checkpoint.removeprefix("${CHECKPOINT:-").removesuffix("}")
    assert CHECKPOINTS[checkpoint].hub_id
    monkeypatch.setattr(fetching, "fetch", lambda _store, name: iter([f"asked for {name}"]))
    cli.main(["weights", "fetch", checkpoint])
    assert capsys.readouterr().out == f"asked for {checkpoint}\n"


def test_selectors_match_labels() -> None:
    labels: dict[str, Any] = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    for pod, container in ((POD, CONTAINER), (JOB, FETCH)):
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    # Its policy lets the service fetch from nowhere but the internet; the job is no pod of the service.
    assert not labels.items() <= MANIFESTS["Job"]["spec"]["template"]["metadata"]["labels"].items()


def test_kubernetes_service_variables_are_disabled() -> None:
    assert POD["enableServiceLinks"] is False
