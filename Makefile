# semshard: every target sets up what it needs. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed
# A worker process of one thread per core; each takes whole files of tests, so that what a file shares is made once.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

help:  ## print this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 10

setup: $(SETUP)  ## make the virtual environment and install the package with its tools

$(SETUP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(SETUP)

demo: $(SETUP)  ## protect, audit and verify drawn pictures in a few minutes: the main job
	$(BIN)/semshard demo out/demo

TESTS ?=
test: $(SETUP)  ## run all tests, on all cores. TESTS='-m slow' and other options of pytest choose among them
	$(PYTEST) $(TESTS)

lint: $(SETUP)  ## check style, layers, types and words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/words.py

check: lint  ## lint, known vulnerabilities of the installed packages, and the quick tests
	$(BIN)/python .ci/advisories.py
	$(PYTEST) -q -m 'not slow'

bench: $(SETUP)  ## measure this machine: ceilings, steps beside a plain baseline, data path
	$(BIN)/semshard bench

SCALE ?= paper
DEVICE ?= $(if $(filter mini,$(SCALE)),cpu,cuda)
OUT ?= out/gpu-$(SCALE)
gpu: $(SETUP)  ## on a GPU: tests, bench, Table 2 beside the paper's. CIFAR10=DIR [PHOTOGRAPHS=DIR] [MINUTES=N]; SCALE=mini tries it on a CPU
	$(BIN)/python examples/gpu.py $(OUT) --scale $(SCALE) --device $(DEVICE) $(if $(CIFAR10),--cifar10 $(CIFAR10)) $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS)) $(if $(MINUTES),--minutes $(MINUTES))

docs: $(SETUP)  ## regenerate the generated parts of README.md and docs/
	$(BIN)/python examples/render.py

dist: $(SETUP)  ## build wheel and source archive into dist/, and check both
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

clean:  ## remove what the other targets made, the demo's output included
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info out/demo

.PHONY: help setup demo test lint check bench gpu docs dist clean
.DEFAULT_GOAL := help
