"""The files under deploy/ match the service; no test needs Kubernetes or Docker."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import check_jsonschema
import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import torch
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy import pins
from musicgen_service import __version__, cli, settings
from musicgen_service.models import fetching
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.store import WeightStore
from musicgen_service.service import MusicGenService
from musicgen_service.serving import cog_server, supervisor, worker_metrics
from musicgen_service.serving.api_keys import ApiKeys
from musicgen_service.serving.routes import ROUTES
from tests.serving.conftest import gateway_of

KUBERNETES = [
    manifest
    for file in ("deploy/kubernetes.yaml", "deploy/kubernetes-weights.yaml")
    for manifest in yaml.safe_load_all(Path(file).read_text())
]
SCALED = yaml.safe_load(Path("deploy/kubernetes-scaling.yaml").read_text())
DASHBOARD = json.loads(Path("deploy/grafana.json").read_text())
MANIFESTS = {manifest["kind"]: manifest for manifest in KUBERNETES}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
JOB = MANIFESTS["Job"]["spec"]["template"]["spec"]
[FETCH] = JOB["containers"]
RAY = yaml.safe_load(Path("deploy/ray.yaml").read_text())
[RAY_APPLICATION] = RAY["applications"]
RAY_SERVICE, RAY_RESULTS = yaml.safe_load_all(Path("deploy/kuberay.yaml").read_text())
RAY_CLUSTER = RAY_SERVICE["spec"]["rayClusterConfig"]
RAY_PODS = [group["template"] for group in (RAY_CLUSTER["headGroupSpec"], *RAY_CLUSTER["workerGroupSpecs"])]
COMPOSE_FILE = yaml.safe_load(Path("deploy/compose.yaml").read_text())
COMPOSE = COMPOSE_FILE["services"]["musicgen"]
COMPOSE_FETCH = COMPOSE_FILE["services"]["weights"]
COMPOSE_KEYS = COMPOSE_FILE["services"]["keys"]
SERVE = ["python", "-m", "musicgen_service", "serve", "--host", "0.0.0.0", "--port", "5000"]
IMAGE = f"musicgen:{__version__}"


SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "info": ["_info"]}


@pytest.fixture(scope="module")
def known_metrics(store: WeightStore) -> set[str]:
    """The names of all metrics: those of the gateway, and of a worker on a GPU."""
    gateway = gateway_of(lambda: None)
    families: list[Any] = list(text_string_to_metric_families(asyncio.run(gateway.metrics.text()).decode()))
    gateway.stop()
    service = MusicGenService(store)
    service.device = torch.device("cuda")
    with patch("torch.cuda.mem_get_info", Mock(return_value=(3, 10))):
        families += worker_metrics.registry_of(service).collect()
    return {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, [""])}


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


def test_replicas_follow_the_queue() -> None:
    assert SCALED["spec"]["scaleTargetRef"]["name"] == MANIFESTS["Deployment"]["metadata"]["name"]
    [trigger] = SCALED["spec"]["triggers"]
    assert metrics_in(trigger["metadata"]["query"]) == {"musicgen_queue_length", "musicgen_predictions_running"}
    assert int(trigger["metadata"]["threshold"]) == settings.Settings().slots


def test_prometheus_finds_the_metrics() -> None:
    assert MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(CONTAINER["ports"][0]["containerPort"]),
        "prometheus.io/path": "/metrics",
    }
    assert "GET /metrics" in ROUTES


def test_clients_stay_with_their_replica() -> None:
    assert MANIFESTS["Service"]["spec"]["sessionAffinity"] == "ClientIP"


def metrics_in(query: str) -> set[str]:
    """The names in a query of Prometheus, which is parsed."""
    found: set[str] = set()

    def visit(expression: Any) -> bool:
        if isinstance(expression, promql_parser.VectorSelector):
            found.add(str(expression.name))
        return True

    promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "5m")), visit)
    return found


def test_every_query_of_the_dashboard_asks_for_metrics_that_there_are(known_metrics: set[str]) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            asked = metrics_in(target["expr"])
            assert asked and asked <= known_metrics, (panel["title"], asked - known_metrics)
    for query in [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]:
        assert re.fullmatch(r"label_values\((\w+), instance\)", query["query"])[1] in known_metrics  # type: ignore[index]


def test_the_dashboard_shows_every_metric_of_the_service(known_metrics: set[str]) -> None:
    shown = set().union(*(metrics_in(target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known_metrics if name.startswith("musicgen_")}
    left_out = {"musicgen_queue_places", "musicgen_requests_held_bytes"}
    assert {name for name in ours - families if not name.startswith("musicgen_worker_process_")} == left_out


def test_panels_have_places_of_their_own() -> None:
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_page_for_operators_has_every_metric(known_metrics: set[str]) -> None:
    page = Path("docs/operators.md").read_text()
    for name in known_metrics:
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        assert f"`{family}`" in page or family.startswith(("process_", "python_", "musicgen_worker_process_")), family


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
def test_pods_of_ray_match_the_kubernetes_schema(template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **template}
    kubernetes_validate.validate(pod, "1.37", strict=True)
    [container] = template["spec"]["containers"]
    assert container["image"] == f"musicgen-ray:{__version__}"
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in template["spec"]["volumes"]}
    variables = RAY_APPLICATION["runtime_env"]["env_vars"]
    assert variables["MUSICGEN_WEIGHTS"] == mounted["weights"]
    assert Path(variables["MUSICGEN_API_KEYS_FILE"]).parent == Path(mounted["keys"])
    assert mounted.get("results", "/results") == variables["MUSICGEN_RESULTS"]


def test_volume_of_rays_results_matches_the_kubernetes_schema() -> None:
    kubernetes_validate.validate(RAY_RESULTS, "1.37", strict=True)


def test_image_for_ray_has_what_it_runs() -> None:
    dockerfile = Path("deploy/ray.Dockerfile").read_text()
    assert f"FROM {IMAGE}\n" in dockerfile
    allowed = Path("deploy/ray.Dockerfile.dockerignore").read_text().splitlines()
    copied = [word for line in re.findall("^COPY (.*) ", dockerfile, re.M) for word in line.split()]
    assert {f"!{file}" for file in copied} == {line for line in allowed if line.startswith("!")}
    assert {str(file) for file in Path("deploy").glob("ray_*.py")} <= set(copied)
