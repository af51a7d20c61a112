"""What is under deploy/, parsed."""

from pathlib import Path

import yaml

from musicgen_service import __version__

KUBERNETES = [
    manifest
    for file in ("deploy/kubernetes.yaml", "deploy/kubernetes-weights.yaml")
    for manifest in yaml.safe_load_all(Path(file).read_text())
]
MANIFESTS = {manifest["kind"]: manifest for manifest in KUBERNETES}
SCALED = yaml.safe_load(Path("deploy/kubernetes-scaling.yaml").read_text())
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
JOB = MANIFESTS["Job"]["spec"]["template"]["spec"]
[FETCH] = JOB["containers"]
COMPOSE_FILE = yaml.safe_load(Path("deploy/compose.yaml").read_text())
COMPOSE = COMPOSE_FILE["services"]["musicgen"]
COMPOSE_FETCH = COMPOSE_FILE["services"]["weights"]
COMPOSE_KEYS = COMPOSE_FILE["services"]["keys"]
RAY = yaml.safe_load(Path("deploy/ray.yaml").read_text())
[RAY_APPLICATION] = RAY["applications"]
RAY_SERVICE, RAY_RESULTS = yaml.safe_load_all(Path("deploy/kuberay.yaml").read_text())
RAY_CLUSTER = RAY_SERVICE["spec"]["rayClusterConfig"]
RAY_PODS = [group["template"] for group in (RAY_CLUSTER["headGroupSpec"], *RAY_CLUSTER["workerGroupSpecs"])]
IMAGE = f"musicgen:{__version__}"
