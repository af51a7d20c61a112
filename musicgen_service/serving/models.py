"""The models that a service serves, by the names under which clients of the hosted platform know them."""

import hashlib
import importlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from musicgen_service import predictors
from musicgen_service.serving import json_text, schema, timestamps
from musicgen_service.serving.input_checks import InputChecks
from musicgen_service.serving.refusals import Refusal

OWN_NAME = "musicgen-service/musicgen"
"""Our own predictor."""
_DIGITS = 8
"""The first digits of a version tell it from others."""
_VERSION = re.compile(rf"[0-9a-f]{{{_DIGITS},64}}")


class ModelNameError(ValueError):
    """A further name is given to a model that is not served."""


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes
    ----------
    name : as `owner/name`
    versions : each with its first eight digits at least; the first one is its own
    system : name of its drop-in where our own predictor carries out its requests; None where it does so without one
    schema : of its inputs and output, in the form of Cog's; None when there is none
    checks : of requests; None without a schema
    trains : whether adapters for it can be trained
    preset : inputs that it has where a request does not give them
    """

    name: str
    versions: tuple[str, ...] = ("",)
    system: str | None = None
    schema: Mapping[str, Any] | None = None
    checks: InputChecks | None = None
    trains: bool = False
    preset: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, predictor: str, *, in_own_predictor: bool = False) -> "Model":
        """The model of a predictor, named as in cog.yaml.

        Parameters
        ----------
        predictor : a drop-in, or our own
        in_own_predictor : whether our own predictor carries out the requests of this drop-in
        """
        module, name = predictors.importable(predictor)
        kind = getattr(importlib.import_module(module), name)
        described = schema.build(predictor)
        return cls(
            getattr(kind, "hosted_as", OWN_NAME),
            getattr(kind, "versions", ()) or (hashlib.sha256(json_text.encode(described)).hexdigest(),),
            module.rpartition(".")[2] if in_own_predictor else None,
            described,
            InputChecks(described),
            getattr(kind, "trains", False),
        )


Find = Callable[[str, Sequence[Model]], Model | None]
"""Returns the model of a name or version that none of the served ones has."""


class Models:
    """Finds models by name and version.

    Parameters
    ----------
    served : the first one is that of the routes without a name
    further_names : names of models and of deployments, or versions, and the name of the model that each of them means
    by_name, by_version : return models of further names and versions, or None; may take long

    Attributes
    ----------
    own : the model of the routes without a name
    since : when they were loaded, as text

    Raises
    ------
    ModelNameError
        When a further name means a model that is not among them.
    """

    def __init__(
        self,
        served: Sequence[Model],
        further_names: Mapping[str, str] | None = None,
        by_name: Find = lambda *_: None,
        by_version: Find = lambda *_: None,
    ) -> None:
        self.served = tuple(served)
        self.own = self.served[0]
        self._find_name, self._find_version = by_name, by_version
        self.since = timestamps.text(time.time())
        self._by_name = {model.name: model for model in self.served}
        self._by_version = {version[:_DIGITS]: model for model in self.served for version in model.versions}
        for name, meant in (further_names or {}).items():
            if meant not in self._by_name:
                raise ModelNameError(f"MUSICGEN_MODEL_NAMES names {meant}, but the service serves {self._names()}.")
            if _VERSION.fullmatch(name):
                self._by_version[name[:_DIGITS]] = self._by_name[meant]
            else:
                self._by_name[name] = self._by_name[meant]

    @classmethod
    def load(
        cls,
        system: str | None,
        further_names: Mapping[str, str],
        by_name: Find = lambda *_: None,
        by_version: Find = lambda *_: None,
    ) -> "Models":
        """The models of a service: that of a drop-in, or our own and those of all drop-ins.

        Raises
        ------
        ModelNameError
            When a further name means a model that is not among them.
        """
        served = [Model.of(predictors.predictor(system))]
        if system is None:
            served += [Model.of(predictors.predictor(name), in_own_predictor=True) for name in predictors.names()]
        return cls(served, further_names, by_name, by_version)

    def named(self, name: str) -> Model:
        """The model of a name, `owner/name`.

        Raises
        ------
        Refusal
            When there is none.
        """
        model = self._by_name.get(name) or self._find_name(name, self.served)
        if model is None:
            raise Refusal(404, f"There is no model '{name[:100]}' here: this service serves {self._names()}.")
        return model

    def of_version(self, version: Any) -> Model:
        """The model of a version: `owner/name`, `owner/name:version`, or the version alone.

        Raises
        ------
        Refusal
            When there is none.
        """
        if not isinstance(version, str):
            raise Refusal(422, "version must be a model or a version of one.")
        number = version.rpartition(":")[2]
        if "/" in number:
            return self.named(number)
        model = None
        if _VERSION.fullmatch(number):
            model = self._by_version.get(number[:_DIGITS]) or self._find_version(number, self.served)
        if model is None:
            raise Refusal(
                422,
                f"Version '{version[:100]}' is not known here: this service serves {self._names()}; "
                "MUSICGEN_MODEL_NAMES can say which of them the version is like.",
            )
        return model

    def _names(self) -> str:
        return ", ".join(model.name for model in self.served)
