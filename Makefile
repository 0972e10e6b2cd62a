# One vocabulary of tasks, for people, hooks and CI. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

PYTHON ?= python3.11
VENV := .venv
UV := .uv/bin/uv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready

export PATH := $(BIN):$(PATH)
# Nothing phones home; Prefect's and MLflow's state stays in the project.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_HOME := $(CURDIR)/.prefect

.PHONY: help setup lock repro repro-full quick flow serve-flows deploy serve ui test test-all test-gpu coverage chaos bench lint format clean

help: ## List the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(UV):
	@$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv

$(READY): requirements.txt pyproject.toml | $(UV)
	@echo "setting up $(VENV), once: some 3 GB to fetch, one to two minutes on a fast line"
	test -x $(VENV)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(VENV)/bin/python --require-hashes --compile-bytecode requirements.txt
	$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --offline --editable .
	touch $(READY)
	echo "$(VENV) is set up; for dvc, clarity and prefect in this shell: source $(VENV)/bin/activate"

setup: $(READY) ## Virtual environment with the locked requirements (repro and test do it themselves)

lock: | $(UV) ## Compile pyproject.toml's dependencies into requirements.txt
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	  pyproject.toml --extra flows --extra team --extra dev --output-file requirements.txt

repro: $(READY) ## The main job: every model, trained, evaluated, compared, published
	@clarity check
	python -m pipelines.reproduce --no-prefect
	clarity promote
	clarity answer

repro-full: $(READY) ## The same with three seeds and the VAEs (edits params.yaml)
	@clarity preset full
	python -m pipelines.reproduce --no-prefect
	clarity promote
	clarity answer

quick: $(READY) ## A look at the whole pipeline in about a minute, in .quick/
	@unset MLFLOW_TRACKING_URI MLFLOW_REGISTRY_URI # a look stays in .quick/
	mkdir -p .quick/.dvc .quick/ensembles
	cp -r dvc.yaml params.yaml presets networks .dvcignore .quick/
	cp ensembles/README.md .quick/ensembles/
	rm -rf .quick/src && cp -r src .quick/
	cp .dvc/config .quick/.dvc/ && printf '[core]\n    no_scm = true\n' > .quick/.dvc/config.local
	cp -r .dvc/plots .quick/.dvc/ 2>/dev/null || true
	clarity preset quick --root .quick
	cd .quick && dvc repro
	echo "open .quick/reports/index.html, or: cd .quick && ../$(VENV)/bin/clarity ui"

flow: $(READY) ## `dvc repro` as a Prefect flow: only what is stale, seen in Prefect's UI
	@clarity check
	python -m pipelines.reproduce

serve-flows: $(READY) ## Prefect's server, UI, schedules and a worker, on this machine only
	@python -m pipelines.serve

deploy: $(READY) ## Register the deployments of prefect.yaml with a running server
	@python -m pipelines.deploy

serve: $(READY) ## The champion over HTTP, at 127.0.0.1:5001
	@clarity serve

lint: $(READY) ## Linter, formatter, types, walls between the rooms
	@ruff check .
	ruff format --check .
	mypy
	lint-imports

format: $(READY) ## Let the linter and formatter mend what they can
	@ruff check --fix .
	ruff format .

# Two test processes with torch in both: threads that wait must not spin (docs/training.md, Speed).
test test-all test-gpu coverage: export OMP_WAIT_POLICY := PASSIVE

test: $(READY) ## The tests, but those that take minutes
	@pytest -n 2

test-all: $(READY) ## Every test that needs no GPU
	@pytest -n 2 -m 'not gpu'

test-gpu: $(READY) ## On a machine with a GPU: that it does what a CPU does
	@pytest -m gpu tests/gpu

coverage: $(READY) ## The tests of `make test`, and which branches of the code they went through
	@pytest -n 2 --cov --cov-report=
	coverage report --skip-covered --sort=cover

chaos: $(READY) ## Kills, full disks and doubles at random moments, and whether the next run mends it
	@python benchmarks/chaos.py

bench: $(READY) ## Every figure of speed beside its bound, to docs/benchmarks.md: hours, on a quiet machine
	@python benchmarks/bench.py

ui: $(READY) ## MLflow's UI on mlruns/, at 127.0.0.1:5000
	@clarity ui
