# Two commands for a fresh machine with Python 3.11, make and git: `make run` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

WORKERS ?= 4
PYTEST := $(BIN)/python -m pytest

.PHONY: help run dev unit test test-system test-langchain chaos cov fmt check bench clean

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run-ready  ## Set up if need be, then serve in the foreground
	@$(BIN)/python scripts/first_run.py
	@PYTHONDONTWRITEBYTECODE=1 exec $(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

dev: .venv/dev-ready  ## Serve in the foreground, and reload when the code or .env changes
	@$(BIN)/python scripts/first_run.py
	@PYTHONDONTWRITEBYTECODE=1 exec $(BIN)/python scripts/dev.py

unit: .venv/dev-ready  ## The tests of pure modules and of single ones with fakes
	$(PYTEST) tests/unit

test: .venv/dev-ready  ## Every test that needs no account and no system package; WORKERS=4 processes
	$(PYTEST) -n $(WORKERS) -m "not system and not chaos"

test-system: .venv/dev-ready test-langchain  ## Tests with real neighbours; installs what they need; LangChain's too
	@(command -v strace && command -v curl && command -v promtool && command -v shellcheck && command -v redis-server) \
		>/dev/null || (apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends strace curl prometheus shellcheck redis-server)
	$(PYTEST) -n $(WORKERS) -m system

test-langchain: .venv/dev-ready .venv-langchain/ready  ## LangChain's own tests, in an environment of their own
	.venv-langchain/bin/python -m pytest tests/langchain

chaos: .venv/dev-ready  ## Storms of load and faults, ten thousand requests, many reloads; CHAOS_SEED, CHAOS_SECONDS
	$(PYTEST) -m chaos

cov: .venv/dev-ready  ## The in-process tests, with a figure of coverage that may not fall
	$(PYTEST) -n $(WORKERS) -m "not system and not chaos" --cov --cov-report=term:skip-covered tests/unit tests/integration

fmt: .venv/dev-ready  ## Format the code, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: .venv/dev-ready  ## Style, types, spelling, layer contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports

bench: .venv/dev-ready  ## The gateway against a minimal client of the same child
	$(BIN)/python -m bench

clean:  ## Remove the virtual environments and every cache
	rm -rf .venv .venv-langchain .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run-ready: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing requirements.txt into .venv ..."
	@$(PIP) -r requirements.txt
	@touch $@

.venv/dev-ready: requirements.txt requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing requirements-dev.txt into .venv ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

.venv-langchain/ready: requirements-langchain.txt
	@test -x .venv-langchain/bin/python || $(PYTHON) -m venv .venv-langchain
	@echo "Installing requirements-langchain.txt into .venv-langchain ..."
	@.venv-langchain/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-langchain.txt
	@touch $@
