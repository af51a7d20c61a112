"""Training of the demo checkpoint: `python -m demo.training` (docs/demo-training.md).

`stages` runs everything in order, in the amounts of `recipe`. The data: `songs`, `features`, `quantiser`, `shards`,
`augmentation`. The networks: `codec` and `oscillator_init`, `language_model` and `rhythm_init`, `text_encoder`. Their
training: `train_codec`, `train_language_model`, with `losses`, `optimisation`, `evaluation`, `progress`, `files`. The
result: `export`.
"""
