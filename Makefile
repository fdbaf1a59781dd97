# Each target first installs what it needs. The machine needs only Python 3.11 or newer, make, and git.

VENV := .venv/bin
BENCHMARKS = $(subst /,.,$(basename $(shell grep -l '^if __name__' benchmarks/*.py)))
UV = $(shell command -v uv || echo .tools/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

IMAGE_EXTRAS = --extra parquet --extra redis --extra tracing

AUDIT = $(UV) tool run pip-audit@2.10.1 --strict --disable-pip --progress-spinner off

# Coverage costs almost nothing with the monitoring of Python 3.12, but about a third of the time on 3.11.
# The tests of one folder cover only a part of the code.
COVERAGE = $(if $(AREA),,$(shell \
	$(VENV)/python -c 'import sys; print("--cov --cov-report=" if sys.version_info >= (3, 12) else "")'))

# Material for MkDocs otherwise prints a notice about its successor in each build.
export NO_MKDOCS_2_WARNING = 1

# Without bytecode files, every process that a test starts compiles all of its modules.
unexport PYTHONDONTWRITEBYTECODE

PATHS = service consumers tests benchmarks scripts docs deploy migrations schema.sql pyproject.toml Makefile compose.yaml \
	Dockerfile .ci .github $(wildcard *.md)

.DEFAULT_GOAL := help
.PHONY: help setup setup-matrix run client test test-slow test-nightly test-citus test-compose test-matrix faults ha check audit prose fmt \
	bench docs site lock propose-lock check-release release publish-image publish-release publish-wheel publish-site

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything that the tests and checks need into .venv
	@scripts/bootstrap dev

run: ## Start the complete stack on this machine; stop it with Ctrl-C
	@scripts/bootstrap
	@$(VENV)/python -m service.client.archive --quiet
	@exec $(VENV)/zof-results dev

client: ## Build the command line for CI jobs, dist/zof-results-client.pyz, and its SHA-256
	@scripts/bootstrap
	@$(VENV)/python -m service.client.archive

test: setup ## Run the fast tests (less than 4 minutes) and measure their coverage; AREA=gates runs tests/gates, without coverage
	@COVERAGE_CORE=sysmon $(VENV)/pytest -m "not slow and not nightly" -n 4 --dist worksteal $(COVERAGE) $(addprefix tests/,$(AREA))
	@$(if $(AREA),,$(if $(COVERAGE),echo "coverage: $$($(VENV)/coverage report --format=total)% of the lines",\
		echo "coverage: not measured, because it needs Python 3.12 or newer in .venv"))

test-slow: setup ## Run the slow tests: fault injection, fuzzing, scale, large files, and slowdowns; AREA as for test
	@$(VENV)/pytest -m "slow and not nightly" -n 2 $(addprefix tests/,$(AREA))

test-nightly: ## Run what takes too long for test-slow: 100,000 simulations, random requests, large reports, the matrix of test tools, generated clients, the image
	@scripts/bootstrap nightly
	@failed=0; $(VENV)/pytest -m nightly -n 2 --ignore tests/containers || failed=1; \
	$(VENV)/pytest -m nightly tests/containers || failed=1; exit $$failed # one process, which builds the image once

faults: setup ## Inject every failure into real processes; count lost and duplicated events
	@$(VENV)/python -m tests.faults

ha: setup ## Kill and suspend the leaders of a RabbitMQ cluster and of PostgreSQL for 7 minutes; count the same
	@$(VENV)/python -m tests.ha

test-citus: setup ## Run the tests that use a database on the Citus cluster of RESULTS_TEST_CITUS_URL
	@$(VENV)/pytest -m "not slow and not nightly" -n 2 \
		tests/administration tests/api tests/artifacts tests/cases tests/comparison tests/console tests/consumers \
		tests/database tests/e2e tests/events tests/exports tests/failures tests/gates tests/http tests/identity \
		tests/ingest tests/mcp tests/projects tests/quarantines tests/receipts tests/reports/uploads tests/results \
		tests/retention tests/runs tests/stats tests/tasks tests/webhooks

test-compose: setup ## By hand, as root: run compose.yaml with dockerd in namespaces of its own, without changes to the host's firewall
	@$(VENV)/python -m tests.compose

test-matrix: setup ## Run the fast tests on the oldest and newest versions of Python and PostgreSQL
	@scripts/test-matrix

setup-matrix: setup ## As root on Debian: install the oldest and newest Python and PostgreSQL for test-matrix
	@scripts/install-versions

check: prose ## Check terms, lint rules, formatting, types, import rules, dependencies, and workflows; print the size of the code
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/mypy --python-version 3.10 -p service.client
	@$(VENV)/lint-imports --no-logo
	@$(VENV)/deptry --no-ansi .
	@$(VENV)/actionlint -shellcheck= -pyflakes=
	@$(VENV)/zizmor --quiet --offline --persona=auditor .
	@$(VENV)/python scripts/measure-code

audit: setup ## Check the locked dependencies for known vulnerabilities; needs access to pypi.org
	@$(AUDIT) -r requirements-dev.lock || { echo "audit: failed. Either a dependency has a known vulnerability, or pypi.org \
	didn't return the advisories of a dependency. The lines above state the reason." >&2; exit 1; }

prose: setup ## Check terms and spelling; PATHS=service/api checks one folder
	@$(VENV)/codespell --toml=.codespell/config.toml --dictionary=- --dictionary=.codespell/avoid.txt $(PATHS)

fmt: setup ## Format the code and sort its imports
	@$(VENV)/ruff check --fix-only .
	@$(VENV)/ruff format .

bench: setup ## Run the benchmarks; each prints a ratio to a limit measured in the same run
	@for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(VENV)/python -m $$benchmark || exit 1; done

docs: setup ## Generate docs/openapi.json, docs/asyncapi.yaml, and the tables in other pages
	@$(VENV)/python scripts/write-docs

site: setup ## Build the site of the documentation into dist/site
	@$(VENV)/mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo "To read it, run $(VENV)/python -m http.server --bind 127.0.0.1 --directory dist/site"

lock: ## Pin the dependencies of pyproject.toml, and those of its build; UPGRADE=--upgrade selects the newest versions
	@scripts/bootstrap uv
	@$(COMPILE) $(UPGRADE) --all-extras --group dev pyproject.toml -o requirements-dev.lock
	@$(COMPILE) $(UPGRADE) --all-extras --constraint requirements-dev.lock pyproject.toml -o requirements.lock
	@sed -n 's|^\([a-z0-9-]*\)==\([^ ]*\) .*|s/^    "\1==.*",$$/    "\1==\2",/|p' requirements.lock | sed -i -f /dev/stdin pyproject.toml
	@$(COMPILE) $(IMAGE_EXTRAS) --constraint requirements.lock pyproject.toml -o requirements-image.lock
	@echo uv | $(COMPILE) $(UPGRADE) --no-annotate - -o scripts/bootstrap.lock

propose-lock: ## Open a pull request with the changed lock files; needs gh
	@scripts/propose-lock

check-release: setup ## Check that this commit can be released as TAG: version, changelog, and no changes in the worktree
	@$(VENV)/python scripts/release.py --check $${TAG:+"$$TAG"}

release: setup ## Build dist/release: wheels, client, integrations, deployment files, SBOMs, and SHA256SUMS
	@$(VENV)/python scripts/release.py $${TAG:+"$$TAG"}

publish-image: ## Build the image with its SBOM, push it to IMAGE with docker buildx, and print its name and digest
	@scripts/publish-image

publish-release: ## Create the release of TAG with the files of dist/release on the code host; needs gh
	@scripts/publish-release

publish-wheel: ## Publish the wheels of dist/release on PyPI, in CI with trusted publishing
	@scripts/bootstrap uv
	@$(UV) publish dist/release/*.whl

publish-site: setup ## Add the site of this version to the branch gh-pages, and push the branch
	@scripts/publish-site
