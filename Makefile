# Two commands for a fresh machine with Python 3.11 or newer, make and git: `make run` and `make test`.
# PYTHON=/path/to/python makes the environment with that one.

export PYTHON
BIN := .venv/bin
ENVIRONMENT := @scripts/environment.sh
ABOUT_TO_SERVE := PYTHONDONTWRITEBYTECODE=1 exec $(BIN)/python scripts/first_run.py

WORKERS ?= 4
PYTEST := $(BIN)/python -m pytest
CHROMIUM := (command -v chromium || command -v google-chrome) >/dev/null || (apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends chromium)

.PHONY: help run dev unit test test-per-request test-system test-langchain test-browser chaos cov fmt check bench pictures clean
.PHONY: run-environment dev-environment langchain-environment browser-environment neighbours-environment bench-environment otel-environment

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: run-environment  ## Set up if need be, then serve in the foreground
	@$(ABOUT_TO_SERVE) -m gunicorn -c gunicorn.conf.py wsgi:app

dev: dev-environment  ## Serve in the foreground, and reload when the code or .env changes
	@$(ABOUT_TO_SERVE) scripts/dev.py

unit: dev-environment  ## The tests of pure modules and of single ones with fakes
	$(PYTEST) tests/unit

test: dev-environment  ## Every test that needs no account and no system package; WORKERS=4 processes
	$(PYTEST) -n $(WORKERS) -m "not system and not chaos"

test-per-request: dev-environment  ## The tests of what clients see, with a codex process for each turn
	TEST_USE_APP_SERVER=false $(PYTEST) -n $(WORKERS) -m "not system and not chaos and not app_server" $(addprefix \
		tests/e2e/test_,admission.py background.py background_ends.py browsers.py chat_in_other_words.py compaction.py completions.py \
		compressed_bodies.py concurrency.py described.py drain.py early_refusals.py endless.py errors.py exactness.py fairness.py \
		frames.py heavy_requests.py hostile_clients.py images.py known_clients.py known_responses_clients.py limits.py \
		open_responses.py parameters.py refusals.py responses.py responses_failures.py responses_input.py \
		responses_kept.py responses_tools.py retry.py sdk.py stream_readers.py structured_output.py timeouts.py \
		tools.py usage.py vanished.py websocket_ends.py)

test-system: dev-environment neighbours-environment otel-environment test-langchain test-browser  ## Tests with real neighbours; installs what they need; LangChain's and a browser's too
	@(for tool in strace curl promtool shellcheck redis-server nginx caddy systemd-analyze ip npm; do command -v $$tool || exit; done) \
		>/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends \
		strace curl prometheus shellcheck redis-server nginx-light caddy systemd iproute2 npm)
	$(PYTEST) -n $(WORKERS) -m system

test-langchain: dev-environment langchain-environment  ## LangChain's own tests, in an environment of their own
	.venv-langchain/bin/python -m pytest tests/langchain

test-browser: dev-environment browser-environment  ## The page at / and the console in Chromium; installs it
	@$(CHROMIUM)
	.venv-browser/bin/python -m pytest tests/browser

chaos: dev-environment  ## Storms of load and faults, ten thousand requests, many reloads; CHAOS_SEED, CHAOS_SECONDS
	$(PYTEST) -m chaos

cov: dev-environment  ## The in-process tests, with a figure of coverage that may not fall
	$(PYTEST) -n $(WORKERS) -m "not system and not chaos" --cov --cov-report=term:skip-covered tests/unit tests/integration

fmt: dev-environment  ## Format the code, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: dev-environment  ## Style, types, spelling, layer contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports

bench: bench-environment  ## The gateway against hand-written clients of the same child; BENCH="--full --plots plots"
	.venv-bench/bin/python -m bench $(BENCH)

pictures: dev-environment browser-environment  ## Make docs/pictures anew from running services
	@$(CHROMIUM)
	.venv-browser/bin/python -m scripts.pictures

clean:  ## Remove the virtual environments and every cache
	rm -rf .venv .venv-langchain .venv-browser .venv-neighbours .venv-otel .venv-bench .venv-bench-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +

run-environment:
	$(ENVIRONMENT) .venv requirements.txt

dev-environment:
	$(ENVIRONMENT) .venv requirements-dev.txt

langchain-environment:
	$(ENVIRONMENT) .venv-langchain requirements-langchain.txt

browser-environment:
	$(ENVIRONMENT) .venv-browser requirements-browser.txt

neighbours-environment:
	$(ENVIRONMENT) .venv-neighbours requirements-neighbours.txt

otel-environment:
	$(ENVIRONMENT) .venv-otel requirements-otel.txt

bench-environment:
	$(ENVIRONMENT) .venv-bench requirements-bench.txt
