"""Which replica a prediction goes to: one that has its model in memory, or else where that is cheapest to load.

Serve sends what this module defines, and each object that it has imported, as copies to the processes that use it; a
module that it has imported is theirs.
"""

import random
from collections import defaultdict
from itertools import chain

from ray.serve.request_router import FIFOMixin, MultiplexMixin, PendingRequest, RequestRouter, RunningReplica

from deploy import ray_models
from deploy.ray_models import Needed

LOADED, RUNNING = "loaded", "running"
"""What replicas tell the router: labels of models in memory, and which models what they carry out needs."""
STATS_INTERVAL = 1.0
"""Seconds between two times that they do."""
_COMPARED = 2
"""Number of replicas, equally good otherwise, of which the one with fewer requests is taken."""


class ModelRouter(FIFOMixin, MultiplexMixin, RequestRouter):
    """Prefers replicas with the model, then those with its checkpoint, then those with the fewest models.

    Where all of the better ones are full, the next ones are asked. A replica that is found goes to the first request
    that needs the same model, or else to the first one.
    """

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Called by Serve when there are other replicas, or they have told something else."""
        super().update_replicas(replicas)
        labels = (replica.routing_stats.get(LOADED, ()) for replica in replicas)
        ray_models.IN_MEMORY.labels = frozenset(chain.from_iterable(labels))

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Groups of replicas, the best first; called by Serve, again and again as long as all of them are full."""
        needed = Needed()
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
            needed = Needed.read(pending_request.metadata.multiplexed_model_id)
        groups = defaultdict(list)
        for replica in candidate_replicas:
            groups[cost(needed, replica.routing_stats)].append(replica)
        return [random.sample(group, min(_COMPARED, len(group))) for _, group in sorted(groups.items())]


def cost(needed: Needed, stats: dict[str, list[str]]) -> tuple[int, int]:
    """How much a replica would have to load: comparable with that of others.

    Parameters
    ----------
    needed : a model
    stats : what the replica has told
    """
    loaded, running = stats.get(LOADED, []), [Needed.read(text) for text in stats.get(RUNNING, [])]
    if needed == Needed():
        return 0, 0
    if needed in running or needed.is_in(loaded):
        return 0, 0
    base = needed.without_adapters
    if needed.checkpoint and (base.is_in(loaded) or any(needed.checkpoint == other.checkpoint for other in running)):
        return 1, 0
    return 2, len(loaded)
