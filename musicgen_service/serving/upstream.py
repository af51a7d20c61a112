"""What carries predictions out, as the gateway sees it: Cog's server on this machine, or replicas on others."""

from typing import Any, Protocol

from musicgen_service.serving.prediction import Prediction


class UpstreamLost(Exception):
    """What carried a prediction out died in it."""


class Upstream(Protocol):
    """Carries predictions out."""

    @property
    def slots(self) -> int:
        """Number of predictions that it is given at the same time."""

    @property
    def running(self) -> int:
        """Number of predictions that it is carrying out; may be read by any thread."""

    def is_reachable(self) -> bool:
        """Whether there is somebody to carry out predictions."""

    async def open(self) -> None:
        """Start."""

    async def close(self) -> None:
        """Stop, and close every connection."""

    async def predict(self, prediction: Prediction) -> dict[str, Any]:
        """Have a prediction carried out; returns the reply in Cog's form.

        Raises
        ------
        UpstreamLost
            When what carried it out died.
        Refusal
            When it cannot be carried out, or is refused.
        """

    async def cancel(self, prediction: Prediction) -> bool:
        """Cancel a prediction; returns whether it will be replied to all the same."""

    async def loaded(self) -> set[str]:
        """Labels of the models that are in memory; see `models.musicgen.MusicGenModel`."""

    async def health(self) -> dict[str, Any] | None:
        """The content of the health check; None when there is no answer."""
