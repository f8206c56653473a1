# The commands of this project; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run test chaos bench compose-test docs lint format audit lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: .venv/run ## start the whole stack here and print where to point a PostBackURL (ARGS="--simulate 100")
	@$(BIN)/postbacks up $(ARGS)

test: .venv/dev lint ## check types and style, run every test (ARGS="-k wire")
	@$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

chaos: .venv/dev ## kill everything while postbacks come in, then prove that none is lost (ARGS="--soak 2h")
	@$(BIN)/python -m tests.chaos $(ARGS)

compose-test: ## hold docker-compose.yml to its promise, with Docker (ARGS="--rate 100")
	@$(PYTHON) deploy/verify.py $(ARGS)

docs: .venv/dev ## write the pages that follow from the code: metrics, dashboard, schemas, AsyncAPI
	@$(BIN)/python -m docs.generate

bench: .venv/dev ## measure it beside what people would pick instead (ARGS="correlation --rounds 5")
	@$(BIN)/python -m benchmarks $(ARGS)

lint: .venv/dev ## ruff and mypy alone
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: .venv/dev ## let ruff put the code in order
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

audit: .venv/dev ## ask whether a locked package is known to be vulnerable (needs the network)
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements/dev.txt $(ARGS)

lock: .venv/dev ## resolve the dependencies anew into requirements/
	@set -e; for set in service: run:--extra=embedded dev:--all-extras; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
			--no-emit-index-url --no-emit-find-links $${set#*:} --output-file requirements/$${set%%:*}.txt pyproject.toml requirements/build.in; done
	@$(BIN)/python -m embedded.kafka.lock

clean: ## remove what the other commands made (not ./data)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A virtual environment in two steps: what runs (run), and on top of it what tests (dev).
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info < (3, 14) else None'
	@$(PYTHON) -m venv .venv

.venv/run .venv/dev: .venv/%: requirements/%.txt pyproject.toml | .venv/bin/python
	@echo "Installing what '$*' needs into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
