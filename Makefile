# What people and CI do with this folder. Everything happens in .venv; stamps keep a second call from installing again.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
DIR ?= demo
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation
export PYTHON
# Without .pyc files each of the many short processes of tests and demo compiles again what it imports: 1 to 2 s of CPU.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-slow check unit bench simulate lock reference setup setup-test clean

help: ## shows this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo ## sets up, then runs the whole story on real flights (DIR=demo)
	@$(BIN)/tidegate demo --dir $(DIR)

test: $(VENV)/.test check unit ## sets up for testing, then lint, all fast tests, and the wheel in an empty environment
	@tools/check-wheel
	@tail -n 1 build/pytest.log

check: $(VENV)/.test ## lint alone: style, format, layers, types, spelling
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright
	@$(BIN)/codespell src docs benchmarks tools Makefile *.md

unit: $(VENV)/.test ## the fast tests with coverage, on every core (ARGS="tests/unit/gate -x" for a part of them)
	@mkdir -p build
	@$(BIN)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist worksteal --cov --cov-report=term $(ARGS) | tee build/pytest.log

test-slow: $(VENV)/.test ## the proofs that take minutes, with Torch, Transformers, CatBoost, Ray and Helm
	@tools/slow
	@PATH="$$PWD/$(BIN):$$PATH" build/slow/bin/python -m pytest -m slow --timeout 1800 $(ARGS)

bench: $(VENV)/.test ## measures, prints a table, writes benchmarks/RESULTS.md
	@tools/peers mlflow3 trackers gate serving
	@tools/debian-packages wrk
	@$(BIN)/python benchmarks/bench.py $(ARGS)

simulate: $(VENV)/.test ## how often the gate is wrong: writes docs/explanation/gate-simulation.md (ARGS="--minutes 5" ends sooner)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/simulation/study.py $(ARGS)

lock: $(VENV)/.bootstrap ## writes the locks again (ARGS=--upgrade takes the newest versions)
	@tools/lock $(ARGS)

reference: $(VENV)/.test ## writes the pages of docs/reference that come from the code
	@$(BIN)/python tools/reference.py

setup: $(VENV)/.demo ## only the set-up of make demo
setup-test: $(VENV)/.test ## only the set-up of make test

clean: ## removes .venv and what was built
	rm -rf $(VENV) build dist .coverage .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.bootstrap: requirements/bootstrap.txt
	@tools/make-venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.bootstrap requirements/demo.txt pyproject.toml
	@echo "Installing the locked dependencies of the demo"
	@$(INSTALL) --require-hashes --requirement requirements/demo.txt
	@$(INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.bootstrap requirements/test.txt requirements/peers-mlflow2.txt requirements/peers-mlflow3.txt pyproject.toml tools/browser tools/object-store tools/peers
	@tools/browser
	@tools/object-store
	@tools/debian-packages docker-registry skopeo
	@tools/peers
	@echo "Installing the locked dependencies of the tests"
	@$(INSTALL) --require-hashes --requirement requirements/test.txt
	@$(INSTALL) --no-deps --editable .
	@touch $@
