"""Training of adapters: from a folder of songs to a LoRA in PEFT's format. Needs the extra `train`."""
