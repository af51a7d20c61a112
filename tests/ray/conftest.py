"""Fixtures: a cluster of two nodes with two replicas, and a client; skipped where Ray is not installed."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest

if find_spec("ray"):
    # Ray reads them when it is imported.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0123456789" * 5, RAY_USAGE_STATS_ENABLED="0")
    from tests.support import ray_cluster
else:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ray_cluster.RayCluster]":
    """The cluster, deployed once."""
    with ray_cluster.running(tmp_path_factory.mktemp("ray")) as cluster:
        cluster.deploy()
        yield cluster


@pytest.fixture
def cluster(started: "ray_cluster.RayCluster") -> "Iterator[ray_cluster.RayCluster]":
    """The cluster, where nothing resumes yet."""
    started.resume.unlink(missing_ok=True)
    yield started
    started.resume.touch()


@pytest.fixture
def client(cluster: "ray_cluster.RayCluster") -> Iterator[httpx.Client]:
    with cluster.client() as client:
        yield client
