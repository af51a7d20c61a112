"""Whether predictions can be made, as the supervisor of Cog's server sees it."""

from collections.abc import Callable
from typing import Any

from musicgen_service.serving.refusals import Refusal


class Availability:
    """What the supervisor, in its own thread, tells the gateway.

    Parameters
    ----------
    upstream_port : returns the port of Cog's server on this machine, or None while it is not reachable
    folder_problem : returns a sentence saying why the files of a prediction cannot be written, or None

    Attributes
    ----------
    failure : what `/health-check` answers while Cog's server cannot be started; `reason` is a sentence
    draining : whether the service is shutting down
    """

    def __init__(self, upstream_port: Callable[[], int | None], folder_problem: Callable[[], str | None]) -> None:
        self.upstream_port = upstream_port
        self._folder_problem = folder_problem
        self.failure: dict[str, Any] | None = None
        self.draining = False

    def start_problem(self) -> str | None:
        """Why Cog's server cannot be started, as a sentence, or None."""
        failure = self.failure
        return (
            None
            if failure is None
            else f"The service could not be started and will be tried again: {failure['reason']}"
        )

    def health(self) -> dict[str, Any] | None:
        """The health of a service that is not in normal operation; None when Cog's server is to be asked."""
        if self.draining:
            return {"status": "DRAINING"}
        if self.failure:
            return self.failure
        return {"status": "STARTING"} if self.upstream_port() is None else None

    def check(self) -> None:
        """Check that a new prediction may be accepted; writes a file to find out.

        Raises
        ------
        Refusal
            When it may not.
        """
        if self.draining:
            raise Refusal(503, "The service is shutting down.")
        if problem := self.start_problem():
            raise Refusal(503, problem)
        if self.upstream_port() is None:
            raise Refusal(503, "The service is starting: try again in a moment.")
        if problem := self._folder_problem():
            raise Refusal(503, problem)
