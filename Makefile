# The targets of this project; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Without bytecode, each process of pytest would compile all tests at each run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run check test chaos bench compose-test docs lint format audit lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: .venv/run ## run the whole stack on this machine and print the PostBackURL (ARGS="--simulate 100")
	@$(BIN)/postbacks up $(ARGS)

check: .venv/dev lint ## check types and style, and run the tests that need no engine: before each commit
	@$(BIN)/pytest -q -n 3 --dist worksteal -m "not engine" $(ARGS)

test: .venv/dev lint ## check types and style, then run all tests (ARGS="-k wire")
	@$(BIN)/pytest -n 5 --dist loadgroup $(ARGS)

chaos: .venv/dev ## inject faults under load, then check that no postback is lost (ARGS="--soak 2h")
	@$(BIN)/python -m tests.chaos $(ARGS)

compose-test: ## test docker-compose.yml end to end, with Docker (ARGS="--rate 100")
	@$(PYTHON) deploy/verify.py $(ARGS)

docs: .venv/dev ## generate documents from the code: metrics, dashboard, schemas, AsyncAPI
	@$(BIN)/python -m docs.generate

bench: .venv/dev ## benchmark it against alternatives (ARGS="correlation --rounds 5")
	@$(BIN)/python -m benchmarks $(ARGS)

lint: .venv/dev ## run only ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: .venv/dev ## format and fix the code with ruff
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

audit: .venv/dev ## check locked packages for known vulnerabilities (needs the network)
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements/dev.txt $(ARGS)

lock: .venv/dev ## update the locked dependencies in requirements/ and of the embedded Kafka
	@set -e; for set in service: run:--extra=embedded dev:--all-extras; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
			--no-emit-index-url --no-emit-find-links $${set#*:} --output-file requirements/$${set%%:*}.txt pyproject.toml requirements/build.in; done
	@$(BIN)/python -m embedded.kafka.lock

clean: ## remove everything the other targets created, except ./data
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The virtual environment, in two steps: what running needs (run), then what tests and tools need (dev).
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info < (3, 14) else None'
	@$(PYTHON) -m venv .venv

.venv/run .venv/dev: .venv/%: requirements/%.txt pyproject.toml | .venv/bin/python
	@echo "Installing the packages of requirements/$*.txt into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
