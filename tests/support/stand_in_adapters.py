"""Adapters that are listed and chosen, but cannot be loaded: quick to make."""

import json
from pathlib import Path

from musicgen_service.models.adapters import FOLDER, Adapter, AdapterStore
from musicgen_service.models.lora_options import CONFIG_FILE, WEIGHTS_FILE


def add(weights: Path, name: str, base: str = "demo", content: bytes = b"weights") -> Adapter:
    """Put one with these bytes for its weights into a weights folder, in the place of what has its name."""
    adapters = AdapterStore(weights / FOLDER)
    with adapters.adding(name, source="a test", replace=True) as folder:
        config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": base}
        (folder / CONFIG_FILE).write_text(json.dumps(config))
        (folder / WEIGHTS_FILE).write_bytes(content)
    return adapters.get(name)
