"""Whether predictions can be made, as the supervisor of Cog's server sees it."""

from collections.abc import Callable
from typing import Any

from musicgen_service.serving.refusals import Refusal


class Availability:
    """What the supervisor, in its own thread, tells the gateway.

    Parameters
    ----------
    is_reachable : returns whether there is somebody to carry out predictions
    folder_problem : returns a sentence saying why the files of a prediction cannot be written, or None

    Attributes
    ----------
    failure : what `/health-check` answers while Cog's server cannot be started; `reason` is a sentence
    draining : whether the service is shutting down
    """

    def __init__(self, is_reachable: Callable[[], bool], folder_problem: Callable[[], str | None]) -> None:
        self._is_reachable = is_reachable
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
        return None if self._is_reachable() else {"status": "STARTING"}

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
        if not self._is_reachable():
            raise Refusal(503, "The service is starting: try again in a moment.")
        if problem := self._folder_problem():
            raise Refusal(503, problem)
