"""Base class of our own predictor: it carries out the requests of every drop-in, too."""

import json
from collections.abc import Mapping
from typing import Any

from cog import current_scope

from musicgen_service import predictors
from musicgen_service.serving.cog_runner import ServiceRunner

SYSTEM = "system"
"""The entry of Cog's context with the name of a drop-in, whose inputs are JSON in the input `prompt`.

Cog checks inputs against the schema of our own predictor, and limits the size of its context, but not that of a text.
"""


class AnySystem(ServiceRunner):
    """A predictor that has drop-ins beside it; all of them use the same models in memory."""

    trains = True

    def __init__(self) -> None:
        super().__init__()
        self._drop_ins: dict[str, ServiceRunner] = {}

    async def run_request(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Carry out a call of `run`, or else of the drop-in that the context names; see `ServiceRunner.run_request`.

        Returns
        -------
        The generated files; of a drop-in, what it returns, as the only item.
        """
        system = current_scope().context.get(SYSTEM)
        if system is None:
            return await super().run_request(arguments)
        drop_in = self._drop_in(system)
        defaults = {name: field.default for name, field in drop_in.fields.items()}
        return [await drop_in.run(**defaults | json.loads(arguments["prompt"]))]

    def _drop_in(self, system: str) -> ServiceRunner:
        if system not in self._drop_ins:
            if system not in predictors.names():
                raise ValueError(f"There is no drop-in '{system}'.")
            self._drop_ins[system] = predictors.load(system)
            self._drop_ins[system].service = self.service
        return self._drop_ins[system]
