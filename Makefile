# PileChain. `make` alone prints the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long compose-test fuzz machine coverage check bench fmt lock clean

BIN   := .venv/bin
STAMP := .venv/.setup-done
# Another interpreter: make setup PYTHON=/path/to/python3.12
PYTHON ?=
ARGS  ?=
SECONDS_EACH ?= 5
PROGRAMS ?= 10000

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything in it (again only when the lock or pyproject.toml changed)

# venv and ensurepip are asked for too: some distributions ship Python without them.
$(STAMP): requirements-dev.lock pyproject.toml
	@set -e; suits='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; found=; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    if "$$python" -c "$$suits" 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "PileChain needs Python 3.11 or newer with the venv module; none was found: $(or $(PYTHON),python3 and python3.11 to python3.14 were tried)." >&2; \
	    echo "Install one (Debian: apt-get install python3 python3-venv) or name one: make setup PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	echo "setup: .venv with $$("$$found" --version)"; \
	"$$found" -m venv .venv
	# The lock is complete, so nothing is resolved: pip's resolver looks past a pin of `coverage` at `coverage[toml]`.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: setup ## a day of the consortium: eight nodes, piles, sessions (ARGS="--once --json out.json")
	$(BIN)/pilechain demo $(ARGS)

test: setup ## all tests but the long ones; skips are shown with their reasons
	$(BIN)/python -m pytest -q -rs -m "not long and not needs_podman" $(ARGS)

test-long: setup ## the long tests
	$(BIN)/python -m pytest -q -rs -m long $(ARGS)
	$(BIN)/python -m pytest -q --oracles -m "not long" -k "not F20" tests/scenarios tests/fuzz/test_contract_calls.py

fuzz: setup ## every parser of outside bytes for SECONDS_EACH=5 (600 for the long run)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS_EACH) $(ARGS)

machine: setup ## both engines of the contract machine on PROGRAMS=10000 random programs, under three hash seeds and every Python here; gas against time
	$(BIN)/python -m tests.vm.everywhere --programs $(PROGRAMS) --jobs 2
	$(BIN)/python -m bench.gas

# What decides about money and agreement, by the unit tests and scenarios alone.
COVERED := --cov=consensus --cov=ledger --cov=devices.light_client --cov=devices.light_state

coverage: setup ## every branch of consensus, ledger and the light client, or fail
	$(BIN)/python -m pytest -q -m "not long" $(COVERED) --cov-branch --cov-fail-under=100 \
		--cov-report=term-missing:skip-covered tests/unit tests/scenarios $(ARGS)

compose-test: setup ## docker-compose.yml in containers: up, faults, upgrade, a new company (podman, as root)
	@if [ "$$(id -u)" -ne 0 ]; then echo "compose-test needs root: sudo make compose-test" >&2; exit 1; fi
	@for tool in podman runc debootstrap catatonit; do \
	    PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null && continue; \
	    echo "compose-test needs $$tool. Debian: apt-get install podman buildah runc netavark aardvark-dns catatonit debootstrap iptables nftables" >&2; \
	    exit 1; \
	done
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -q -rs -m needs_podman tests/containers $(ARGS)

check: setup ## format, lint, types, architecture, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -rs -m "not long" tests/unit

bench: setup ## sealed payments per second beside the machine's own ceiling
	$(BIN)/pilechain bench payments $(ARGS)

fmt: setup ## format, and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Needs uv. The runtime lock holds what a node runs on; the dev lock adds the tools at the same versions.
UV_COMPILE := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

lock: ## resolve the dependencies anew (ARGS="--upgrade" for newer versions)
	$(UV_COMPILE) --output-file requirements.lock $(ARGS)
	$(UV_COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)
	echo "setuptools>=80" | $(subst pyproject.toml,-,$(UV_COMPILE)) --no-annotate --constraint requirements-dev.lock --output-file deploy/build.lock $(ARGS)

clean: ## remove what was built, .venv included
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
