# The set-up is part of every target: a machine needs git, make and Python >= 3.11, nothing else.
.DEFAULT_GOAL := help
.PHONY: help demo test test-clients unit check chaos steps lost messages bench serve docs lock venv venv-dev clean
export PYTHON

BIN := .venv/bin
clients = $(BIN)/pytest -q -n 2 -rs tests/clients
set_up = python="$$(scripts/python)" && "$$python" -I scripts/set_up.py

help:    ## say what can be made
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 14

demo: venv      ## watch a crew work off a plan in a throw-away repository
	@$(BIN)/crewyard demo

test: venv-dev  ## all tests: unit, system, then those with real clients where these are installed
	@$(BIN)/pytest -q tests/unit
	@$(BIN)/pytest -q -n 4 tests/system
	@$(clients)

# Installs them from npm into the user's cache (1.6 GB), once for each set of versions.
test-clients: export CREWYARD_INSTALL_CLIENTS := 1
test-clients: venv-dev  ## real clients and agents with scripted models; skipped, with the reason, where npm is missing
	@$(clients)

check: venv-dev ## what a reviewer checks: format, lint, types, layers, unit tests
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@PYTHONPATH=src $(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/pytest -q tests/unit

chaos: venv     ## kill whatever can be killed, 50 runs long, and look at what is left (ARGS="--rounds 7 --seed 3")
	@$(BIN)/python scripts/chaos.py $(ARGS)

steps: venv     ## kill a run at each git command that changes something (ARGS="--how before --only merge")
	@$(BIN)/python scripts/every_step.py $(ARGS)

lost: venv-dev  ## many made-up tasks, conflicts and crashes; no line of theirs may be lost (EXAMPLES=2000)
	@CREWYARD_EXAMPLES=$(or $(EXAMPLES),500) $(BIN)/pytest -q tests/system/test_nothing_is_lost.py

messages: venv  ## 10,000 messages between 8 processes that are killed at random (ARGS="--messages 600 --seed 3")
	@$(BIN)/python scripts/messages.py $(ARGS)

bench: venv     ## measure against peers, which it installs, and write benchmarks/RESULTS.md (ARGS="--quick" or names)
	@$(BIN)/python benchmarks/peers.py
	@$(BIN)/python benchmarks/results.py $(ARGS)

serve: venv     ## the MCP server on stdio, as .mcp.json starts it
	@exec $(BIN)/crewyard serve

docs: venv-dev  ## write the documents that are made from the code
	@$(BIN)/python scripts/make_configuration.py
	@$(BIN)/python scripts/make_troubleshooting.py
	@$(BIN)/python scripts/make_commands.py --run
	@$(BIN)/python scripts/make_requirements.py

# Where uv is at hand. No name of a registry is written down; whoever installs uses his own.
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-annotate --custom-compile-command "make lock"
lock:           ## newest versions that pyproject.toml allows, into the two locks
	@$(COMPILE) --upgrade --group install pyproject.toml -o requirements.lock
	@$(COMPILE) --upgrade --group dev --extra otel -c requirements.lock pyproject.toml -o requirements-dev.lock

venv:           ## what the program needs, into .venv
	@$(set_up) run

venv-dev:       ## what the checks need as well
	@$(set_up) dev

clean:          ## remove what can be made again
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
