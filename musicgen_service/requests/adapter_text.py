"""The input `adapter`: names of adapters and how strongly each is applied."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from musicgen_service.suggestion import did_you_mean

MAX_STRENGTH = 2.0
MAX_ADAPTERS = 4
_ONE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})(?::(?P<strength>\d{1,3}(?:\.\d{0,6})?|\.\d{1,6}))?")
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.gz)$")
_FORM = "names of adapters, joined by +, each with :STRENGTH where that is not 1, such as 'mystyle:0.7'"


class NamedAdapter(NamedTuple):
    """An adapter of a request."""

    name: str
    strength: float

    def __str__(self) -> str:
        return self.name if self.strength == 1 else f"{self.name}:{self.strength:g}"


def parse(text: str) -> list[NamedAdapter]:
    """Read the adapters of a request, such as `mystyle:0.7+other`.

    Raises
    ------
    ValueError
        With one sentence, when the text has another form, or a strength is not allowed.
    """
    found = []
    for part in text.split("+"):
        match = _ONE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"adapter must be {_FORM}, not '{text[:80]}'.")
        named = NamedAdapter(match["name"], float(match["strength"] or 1))
        if named.strength > MAX_STRENGTH:
            raise ValueError(f"The strength of an adapter may be 0 to {MAX_STRENGTH:g}, not {named.strength:g}.")
        found.append(named)
    if len(found) > MAX_ADAPTERS:
        raise ValueError(f"A request may have {MAX_ADAPTERS} adapters at most, not {len(found)}.")
    names = [named.name for named in found]
    if len(set(names)) < len(names):
        raise ValueError(f"adapter names '{max(names, key=names.count)}' twice: name it once.")
    return found


def of_weights(weights: str | None) -> str | None:
    """The adapter in `replicate_weights`: a name, or an address whose last part is that of an adapter's archive."""
    if not weights or not weights.strip():
        return None
    path = unquote(weights.strip().partition("?")[0])
    return _ARCHIVE.sub("", path.rpartition("/")[2])


def choose_base(values: dict[str, Any], adapters: Mapping[str, str] | None) -> list[str]:
    """Check the adapters of a request, and use the model that they were trained on; return the problems found.

    Parameters
    ----------
    values : by field name, as `rules.resolve` takes them
    adapters : names of the adapters, each with its base; None where they are not known here
    """
    try:
        named = parse(values["adapter"])
    except ValueError as error:
        return [str(error)]
    values["adapter"] = "+".join(map(str, named))
    if adapters is None:
        return []
    missing = [one.name for one in named if one.name not in adapters]
    if missing:
        here = ", ".join(adapters) or "none"
        return [f"There is no adapter '{name}'{did_you_mean(name, adapters)}: present are {here}." for name in missing]
    # The base of a damaged one is not known; loading it tells what is wrong.
    bases = {adapters[one.name]: one.name for one in named if adapters[one.name]}
    if len(bases) > 1:
        trained = " and ".join(f"'{name}' on '{base}'" for base, name in bases.items())
        return [f"Adapters of one request need the same model, and {trained} were trained on different ones."]
    for base, name in bases.items():
        if values.get("model_version") == "auto":
            values["model_version"] = base
        elif values.get("model_version") not in (None, base):
            return [
                f"Adapter '{name}' was trained on model '{base}', and model_version is "
                f"'{values['model_version']}': leave model_version out."
            ]
    return []
