# `make run` makes a clip, `make test` checks everything, `make serve` answers HTTP on port 5000.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PROMPT ?= lofi piano with soft drums, 90 bpm, a minor
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help install run serve test lint demo-weights fuzz soak audit clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

install: $(VENV)/.installed  ## install what the service needs into .venv

$(VENV)/.installed: requirements.txt requirements-audiocraft.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$$(grep '^torch==' requirements.txt)"
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-audiocraft.txt
	@# A file in bench/ or demo/ that is run as a script finds the packages beside its folder through this.
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/musicgen-service.pth"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@

run: install  ## make a clip with the shipped checkpoint: make run PROMPT="..." SEED=2
	$(BIN)/python -m musicgen_service predict -i prompt="$(PROMPT)" -i seed=$(SEED) -o out/clip.wav --force

serve: install  ## answer HTTP requests on port 5000
	$(BIN)/python -m musicgen_service serve --port 5000

test: $(VENV)/.installed-dev lint  ## ruff, mypy and all tests
	@# Two at once: many tests wait for a server. A file stays together, as its tests share one.
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/.installed-dev  ## read 10,000 mutated audio files; SEED=n tries others
	$(BIN)/python -m tests.audio.fuzz 10000 $(or $(SEED),0)

soak: $(VENV)/.installed-dev  ## 300 mixed predictions from 8 clients: no wrong reply, no leak
	$(BIN)/python -m tests.e2e.soak 300 8

audit: $(VENV)/.installed-dev  ## licences, and known vulnerabilities as far as the advisory service can be reached
	$(BIN)/python -m tests.licences
	$(BIN)/pip-audit -r requirements.txt --no-deps --disable-pip

demo-weights: $(VENV)/.installed-dev  ## train the demo checkpoint anew in build/ (hours, resumable); QUICK=1 tests the pipeline
	$(BIN)/python -m demo.training $(if $(QUICK),--quick)

clean:  ## remove what these targets made
	rm -rf $(VENV) out build
