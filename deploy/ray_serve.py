"""The service on Ray Serve, on one machine or many: `serve run deploy.ray_serve:app`.

A `Gateway` answers clients and keeps the queue and the results. A `Replica`, one for each GPU, is Cog's server with its
worker. docs/ray.md says how to run and size a cluster.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
from pydantic import BaseModel
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.ray_replica import Replica
from deploy.ray_router import STATS_INTERVAL, ModelRouter
from deploy.ray_upstream import RayUpstream
from musicgen_service import cgroups, folders, settings
from musicgen_service.serving import cog_server
from musicgen_service.serving.application import Application
from musicgen_service.serving.audio_socket import AudioSocket
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.cog_process import CogProcess
from musicgen_service.serving.files import Files
from musicgen_service.serving.hosts import is_loopback
from musicgen_service.serving.refusals import Refusal
from musicgen_service.settings import Settings

_CLIENTS = 10_000
"""Maximum number of requests of clients that are answered at the same time; most of them wait."""
_NO_KEYS = "Without MUSICGEN_API_KEYS_FILE only this machine may use the service; `insecure: true` lets everybody in."


class Gateway:
    """Answers clients, through every proxy of the cluster.

    Parameters
    ----------
    replicas : carry predictions out
    is_insecure : whether others than the nodes themselves may use it without an API key
    """

    def __init__(self, replicas: DeploymentHandle, is_insecure: bool) -> None:
        given = settings.load()
        # Whoever carries predictions out reads the weights of its own node.
        options = replace(cog_server.gateway_options(given), trainings=False)
        self._is_local = options.keys is None and not is_insecure

        def connect(_: Availability, audio: AudioSocket, files: Files) -> RayUpstream:
            self._upstream = RayUpstream(replicas, given.slots, audio, files, self._start_next)
            return self._upstream

        self._application = Application("ray", self._is_local, connect, folders.problem, options)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if self._is_local and scope["type"] == "http" and not is_loopback(scope["server"][0]):
                await Refusal(403, _NO_KEYS).response()(scope, receive, send)
            else:
                await self._application.asgi(scope, receive, send)

        return answer

    def _start_next(self) -> None:
        self._application.start_next()

    async def wanted(self, key: str) -> bool:
        """Whether somebody listens to a prediction; see `RayUpstream.wanted`."""
        return await self._upstream.wanted(key)


class Arguments(BaseModel, extra="forbid"):
    """What `args` may say, or words such as `insecure=true` after `serve run`; Serve checks it."""

    insecure: bool = False


def app(args: Arguments) -> serve.Application:
    """The application."""
    return build(cog_server.process, is_insecure=args.insecure)


def cores() -> int:
    """Number of cores of this machine that a process may use, as torch counts them."""
    physical = psutil.cpu_count(logical=False) or math.inf
    return max(1, math.floor(min(cgroups.cpu_quota(), physical, len(os.sched_getaffinity(0)))))


def build(process: Callable[[Settings], CogProcess], *, is_insecure: bool = False, **options: Any) -> serve.Application:
    """The application, with what starts the Cog server of a replica, and other options of Serve for replicas."""
    given = settings.load()
    # Their period is also the time within which Serve notices that one has died.
    both = {"graceful_shutdown_timeout_s": given.drain_seconds, "health_check_period_s": 1}
    own = {
        **both,
        "max_ongoing_requests": given.slots,
        # A request that waits at Serve looks for a free slot so often; it looks less and less often by default.
        "request_router_config": {
            "max_backoff_s": 0.05,
            "request_router_class": ModelRouter,
            "request_routing_stats_period_s": STATS_INTERVAL,
        },
        # Ray makes it the number of threads that a replica computes with. The gateway, which mostly waits, has none.
        "ray_actor_options": {"num_cpus": cores()},
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 4, "metrics_interval_s": 1, "look_back_period_s": 5},
    }
    light = {"max_ongoing_requests": _CLIENTS, "ray_actor_options": {"num_cpus": 0}}
    gateway = serve.deployment(**both | light)(serve.ingress()(Gateway))
    replica = serve.deployment(**own | options)(Replica)
    return gateway.bind(replica.bind(process), is_insecure)
