"""Drop-in predictors: the requests and replies of hosted MusicGen models, one module each. See README.md."""
