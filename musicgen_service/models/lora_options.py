"""The configuration of an adapter in PEFT's format (`LoraConfig`)."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
_NOT_SUPPORTED = {
    "use_dora": "DoRA",
    "modules_to_save": "modules that are saved whole",
    "trainable_token_indices": "trained token embeddings",
    "layer_replication": "replicated layers",
    "lora_bias": "biases",
    "fan_in_fan_out": "transposed weights",
}
"""Options of PEFT's `LoraConfig` under which an adapter is more than products of two matrices."""


class LoraError(ValueError):
    """An adapter cannot be read or does not fit; the message is a clause that says why."""


@dataclass(frozen=True)
class LoraOptions:
    """What the configuration of an adapter says.

    Attributes
    ----------
    base : `base_model_name_or_path`
    rank, alpha : of the modules that no pattern names
    alpha_pattern : alphas of others, by regular expressions of the ends of their names
    is_rank_stabilised : whether products are scaled by alpha over the root of the rank
    """

    base: str
    rank: int
    alpha: float
    alpha_pattern: Mapping[str, float]
    is_rank_stabilised: bool

    @classmethod
    def read(cls, folder: Path) -> "LoraOptions":
        """Read `adapter_config.json`.

        Raises
        ------
        LoraError
            When it is missing or damaged, or the adapter is not a LoRA that can be merged.
        """
        try:
            config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            kind = str(config["peft_type"])
            options = cls(
                base=str(config.get("base_model_name_or_path") or ""),
                rank=int(config["r"]),
                alpha=float(config["lora_alpha"]),
                alpha_pattern={str(key): float(value) for key, value in (config.get("alpha_pattern") or {}).items()},
                is_rank_stabilised=bool(config.get("use_rslora", False)),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise LoraError(f"{CONFIG_FILE} is missing or damaged") from None
        options._check()
        if kind != "LORA":
            raise LoraError(f"it is of PEFT's kind {kind[:20]}, and only LORA can be merged")
        more = [meaning for name, meaning in _NOT_SUPPORTED.items() if config.get(name)]
        if config.get("bias", "none") != "none":
            more.append("biases")
        if more:
            raise LoraError(f"it has {' and '.join(dict.fromkeys(more))}, which cannot be merged")
        return options

    def _check(self) -> None:
        if not all(map(math.isfinite, (self.alpha, *self.alpha_pattern.values()))):
            raise LoraError(f"{CONFIG_FILE} has an alpha that is no finite number")
        for pattern in self.alpha_pattern:
            try:
                _ends_with(pattern)
            except re.error:
                raise LoraError(f"{CONFIG_FILE} has a pattern of names that is no regular expression") from None

    def scale(self, module: str, rank: int) -> float:
        """The factor of a module's product."""
        own = (value for key, value in self.alpha_pattern.items() if _ends_with(key).fullmatch(module))
        alpha = next(own, self.alpha)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def _ends_with(pattern: str) -> re.Pattern[str]:
    """What matches the names of modules that end with a pattern, as PEFT has it."""
    return re.compile(rf"(.*\.)?({pattern})")
