# Sandlot: `make up` gets from nothing to code running in a sandbox, `make test` tries everything.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
# Images and engine are found or made by docker/*.sh, which speak in NAME=value lines on standard output.
# Assigned first: a failure inside eval "$$(…)" would go unseen.
PREPARE = engine=$$(docker/engine.sh); set -a; eval "$$engine"; images=$$(docker/build.sh all); eval "$$images"; set +a

.PHONY: help bundle up down env test test-desktop check bench crash demo doctor fuzz images venv

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

venv: ## the project's own Python environment, from requirements.lock
	@docker/venv.sh

images: venv ## the engine, the agent, the base template, and the base of the server's image for compose
	@$(PREPARE); docker/build.sh server

up: venv ## from nothing to a running server, and a sandbox that runs code
	@$(PREPARE); $(BIN)/sandlot serve --background; $(BIN)/sandlot demo; $(BIN)/sandlot env --hint

down: venv ## stop the server, remove its sandboxes, its network and its firewall rules
	@engine=$$(docker/engine.sh --find); set -a; eval "$$engine"; set +a; $(BIN)/sandlot down

env: ## print the exports for the official SDKs: eval "$$(make -s env)"
	@$(BIN)/sandlot env

demo: ## run the demonstration again
	@$(BIN)/sandlot demo

bundle: venv ## everything for a site without a network in one file: make bundle FILE=site.tar TEMPLATES="one two"
	@$(PREPARE); $(BIN)/sandlot bundle save "$${FILE:?FILE=<path> is missing}" $(TEMPLATES)

doctor: ## look at everything a sandbox needs, with a fix for each thing that is missing
	@$(BIN)/sandlot doctor

test: venv ## everything: checks, unit, contract with the official SDKs, end to end
	@tests/run

test-desktop: venv ## the desktop template, which `make test` leaves out: its image is large
	@$(PREPARE); docker/build.sh desktop; $(BIN)/python -m pytest tests/contract/test_desktop.py

check: venv ## lint, types, import direction, generated code up to date
	@tests/check

bench: venv ## measured table, ours beside bare Docker, Caddy and HAProxy; PAGE=<file> keeps it, COMPARE=<commit>, ONLY=<word>
	@$(PREPARE); $(BIN)/python tests/bench/run.py $(PAGE:%=--page %) $(COMPARE:%=--compare %) $(ONLY:%=--only %)

crash: venv ## load and SIGKILL for CRASH_SECONDS, in an engine of its own (as root); then nothing may be lost
	@$(PREPARE); bundle=$$(mktemp -d)/bundle.tar; SANDLOT_HOME=$${bundle%/*} $(BIN)/sandlot bundle save "$$bundle" --no-packages; \
	BUNDLE=$$bundle CRASH_SECONDS=$${CRASH_SECONDS:-600} tests/e2e/engine/own_engine.sh "$$(cat tests/crash/own_engine.sh)"; \
	rm -rf "$${bundle%/*}"

fuzz: venv ## at least 100,000 generated cases per target
	@seed=$${FUZZ_SEED:-$$RANDOM}; echo "seed $$seed (FUZZ_SEED=$$seed repeats it)"; \
	FUZZ_CASES=$${FUZZ_CASES:-100000} $(BIN)/python -m pytest tests/unit -k "fuzz or property" -v --durations 0 \
	    --hypothesis-seed "$$seed" --timeout 36000 -n auto
