# `make run` makes a clip, `make test` checks everything, `make serve` answers HTTP on port 5000.
# 3.11, 3.12 or 3.13: make install PYTHON=python3.13
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PROMPT ?= lofi piano with soft drums, 90 bpm, a minor
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help install install-train run serve test test-slow test-page install-ray ray page-libraries page-pictures lint docs generate pins container demo-weights fuzz soak schemathesis bench-gpu audit clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

# Another Python is another installation.
INSTALLED := $(VENV)/.installed-$(notdir $(PYTHON))
INSTALLED_DEV := $(VENV)/.installed-dev-$(notdir $(PYTHON))
INSTALLED_RAY := $(VENV)/.installed-ray-$(notdir $(PYTHON))

install: $(INSTALLED)  ## install what the service needs into .venv

$(INSTALLED): requirements.txt requirements-cuda.txt requirements-no-deps.txt
	$(PYTHON) -m venv --clear $(VENV)
	@# torch first and apart: which of its builds, for CPUs or for CUDA, is for this machine's pip to say.
	$(BIN)/pip install --quiet --no-deps "$$(grep -o '^torch==[^ ]*' requirements.txt)"
	@# The files are complete, so pip need not look for more than they say.
	$(BIN)/pip install --quiet --no-deps -r requirements.txt
	if [ -e $(VENV)/lib/python3*/site-packages/torch/lib/libtorch_cuda.so ]; then \
		$(BIN)/pip install --quiet --no-deps -r requirements-cuda.txt; \
	fi
	$(BIN)/pip install --quiet --no-deps -r requirements-no-deps.txt
	@# A file in bench/ or demo/ that is run as a script finds the packages beside its folder through this.
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/musicgen-service.pth"
	touch $@

install-train: $(INSTALLED)  ## also install what training adapters needs
	$(BIN)/pip install --quiet --no-deps -r requirements-train.txt

$(INSTALLED_DEV): $(INSTALLED) requirements-train.txt requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-train.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-dev.txt
	touch $@

$(INSTALLED_RAY): $(INSTALLED_DEV) requirements-ray.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-ray.txt
	touch $@

install-ray: $(INSTALLED_RAY)  ## install Ray besides, on which the service runs on many machines

run: install  ## make a clip with the shipped checkpoint: make run PROMPT="..." SEED=2
	$(BIN)/python -m musicgen_service predict -i prompt="$(PROMPT)" -i seed=$(SEED) -o out/clip.wav --force

serve: install  ## answer HTTP requests on port 5000
	$(BIN)/python -m musicgen_service serve --port 5000

# Two at once: many tests wait for a server. A file stays together, as its tests share one. Ray is slow to import.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/ray

test: $(INSTALLED_DEV) lint  ## ruff, mypy and the tests
	$(PYTEST) -m "not slow and not page"

test-slow: $(INSTALLED_DEV)  ## the tests that take longer: servers that are killed, trainings, clients of every drop-in
	$(PYTEST) -m "slow and not page"

test-page: $(INSTALLED_DEV)  ## drive the page in a browser; skipped where there is no chromium
	$(PYTEST) -m page

# One after the other: they share a cluster.
ray: install-ray  ## test the service on a Ray cluster of two nodes on this machine
	$(BIN)/python -m pytest -m ray

page-libraries:  ## fetch the JavaScript libraries of the page from npm, checked
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m deploy.page_libraries

page-pictures: $(INSTALLED_DEV)  ## take the pictures of the page that README.md and docs/page.md show
	$(BIN)/python -m bench.page_pictures

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED_DEV)  ## build the documentation site into build/docs, without a network
	$(BIN)/python -m deploy.docs

generate: $(INSTALLED_DEV)  ## write every cog.yaml from its template
	$(BIN)/python -m deploy.cog_yaml

pins: $(INSTALLED_DEV)  ## resolve pyproject.toml into the pins anew, at the newest versions, and write cog.yaml
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m deploy.pins
	$(BIN)/python -m deploy.cog_yaml

container: $(INSTALLED)  ## build the image as Cog would and try it, without Docker; needs root and some Debian packages
	PYTHON=$(BIN)/python deploy/container/container.sh

fuzz: $(INSTALLED_DEV)  ## read 10,000 mutated audio files; SEED=n tries others
	$(BIN)/python -m tests.audio.fuzz 10000 $(or $(SEED),0)

soak: $(INSTALLED_DEV)  ## 500 mixed predictions from 16 clients, worker and Cog killed meanwhile: no wrong reply, no leak
	$(BIN)/python -m tests.e2e.soak 500 16

schemathesis: $(INSTALLED_DEV)  ## 5,000 requests of every shape to every route: none breaks the gateway; SEED=n tries others
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.e2e.any_requests 5000 $(or $(SEED),0)

bench-gpu: $(INSTALLED_DEV)  ## test and measure what needs a GPU, in up to nine minutes; the output is kept in bench/results
	$(BIN)/python -m bench.gpu

audit: $(INSTALLED_DEV)  ## licences, and known vulnerabilities as far as the advisory service can be reached
	$(BIN)/python -m tests.support.licences
	$(BIN)/pip-audit -r requirements.txt --no-deps --disable-pip

demo-weights: $(INSTALLED_DEV)  ## train the demo checkpoint anew in build/ (hours, resumable); QUICK=1 tests the pipeline
	$(BIN)/python -m demo.training $(if $(QUICK),--quick)

clean:  ## remove what these targets made
	rm -rf $(VENV) out build
