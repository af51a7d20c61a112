"""Drop-in predictors with the interface of hosted MusicGen models, one module each. See README.md."""
