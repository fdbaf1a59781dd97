# Every target gets what it needs first: a machine with Python 3.11, make and git is enough.

VENV := .venv/bin
BENCHMARKS = $(subst /,.,$(basename $(shell grep -l '^if __name__' benchmarks/*.py)))
UV = $(shell command -v uv || echo .tools/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

PATHS = service consumers tests benchmarks scripts docs migrations schema.sql pyproject.toml Makefile compose.yaml \
	Dockerfile .ci $(wildcard *.md)

.DEFAULT_GOAL := help
.PHONY: help setup run client test test-slow check prose fmt bench docs lock

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Get everything that the tests and checks need into .venv
	@scripts/bootstrap dev

run: ## Start the whole stack on this machine, until Ctrl-C
	@scripts/bootstrap
	@$(VENV)/python -m service.client.archive --quiet
	@exec $(VENV)/zof-results dev

client: ## Build dist/zof-results-client.pyz, the command line for CI jobs, and its SHA-256
	@scripts/bootstrap
	@$(VENV)/python -m service.client.archive

test: setup ## Run the tests and check who imports whom; under four minutes
	@$(VENV)/pytest -m "not slow" -n 2

test-slow: setup ## Run the faults, fuzzing, scale and big files
	@$(VENV)/pytest -m slow

check: setup ## Check lint rules, formatting, types, import rules, and declared dependencies
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/mypy --python-version 3.10 -p service.client
	@$(VENV)/lint-imports --no-logo
	@$(VENV)/deptry --no-ansi .

prose: setup ## Find words that .codespell/avoid.txt replaces; PATHS=service/api checks one folder
	@$(VENV)/codespell --toml=.codespell/config.toml --dictionary=- --dictionary=.codespell/avoid.txt $(PATHS)

fmt: setup ## Format the code and sort its imports
	@$(VENV)/ruff check --fix-only .
	@$(VENV)/ruff format .

bench: setup ## Measure against the limits of this machine, in the same run
	@for each in $(BENCHMARKS); do echo "== $$each"; $(VENV)/python -m $$each || exit 1; done

docs: setup ## Write docs/openapi.json and docs/asyncapi.yaml from the code
	@$(VENV)/python scripts/write-docs

lock: setup ## Pin what pyproject.toml asks for; UPGRADE=--upgrade takes the newest of all
	@$(COMPILE) $(UPGRADE) --all-extras --group dev pyproject.toml -o requirements-dev.lock
	@$(COMPILE) $(UPGRADE) --all-extras --constraint requirements-dev.lock pyproject.toml -o requirements.lock
	@echo uv | $(COMPILE) $(UPGRADE) --no-annotate - -o scripts/bootstrap.lock
