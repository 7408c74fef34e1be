# The doors of the project; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
PEERS := .peers
PRISM := @stoplight/prism-cli@5.14.2
OUT ?= invoices.json
PORT ?= 8080
TESTS ?=
HISTORIES ?= 100000
SOAKED := tests/property/test_lives.py tests/property/test_stored_lives.py tests/fault/test_bulk_cuts.py
CHARGES ?= 2000
PAIRS ?= 200000
export PORT

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

env: $(STAMP) ## Make .venv with everything the project needs

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "ABAXUS needs Python 3.11 or later: sudo apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv module is missing: sudo apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

# The queues that ours is measured against; nothing else needs them.
$(BENCH_STAMP): $(STAMP) requirements/bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $(BENCH_STAMP)

run: env ## Bill the built-in demo on an embedded PostgreSQL and keep serving (PORT=8080)
	@exec $(BIN)/abaxus dev --demo

test: env ## Run the whole suite on an embedded PostgreSQL (ABAXUS_TEST_ASGI_SERVER=uvicorn)
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(TESTS)

soak: env ## Rate random lives, break charging and caches (HISTORIES=100000 CHARGES=2000 PAIRS=200000)
	ABAXUS_TEST_HISTORIES=$(HISTORIES) $(BIN)/python -m pytest $(SOAKED)
	ABAXUS_TEST_CHARGES=$(CHARGES) $(BIN)/python -m pytest -s tests/fault/test_payment_storm.py
	ABAXUS_TEST_PAIRS=$(PAIRS) $(BIN)/python -m pytest -s tests/fault/test_entitlements_under_fire.py

lint: env ## Format, lint, import contracts and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

check: ## What CI runs
	bash .ci/run

# Programs of others that stand in for Stripe and Adyen, each a process of its own (localstripe is
# under the GPL); the tests that need them are left out where they are not here.
peers: env ## Fetch localstripe and prism, independent doubles of Stripe and Adyen
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	npm install --silent --no-audit --no-fund --prefix $(PEERS) $(PRISM)

bench: $(BENCH_STAMP) ## Run every benchmark
	@for name in $$($(BIN)/python -m benchmarks); do $(BIN)/python -m benchmarks.$$name || exit 1; done

bench-large: $(BENCH_STAMP) ## Land beside 50 million stored events (a quarter of an hour)
	$(BIN)/python -m benchmarks.ingest_large 50

demo-airport: env ## Bill a year of real flights; all invoices to OUT=invoices.json
	$(BIN)/python -m examples.airport --out $(OUT)

schema: env ## Write sql/schema.sql from the migrations
	$(BIN)/python -m tests.support.schema

plugin-table: env ## Write the tables of our plugins in docs/plugins.md
	$(BIN)/python -m tests.support.plugin_table

what-leaves: env ## Write docs/what-leaves-your-network.md from what the plugins declare
	$(BIN)/python -m tests.support.what_leaves

lock: ## Lock the dependencies again (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --quiet pyproject.toml --extra embedded --extra redis --extra uvicorn -o requirements/run.txt
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --quiet pyproject.toml --extra embedded --extra redis --extra uvicorn --group dev -c requirements/run.txt -o requirements/dev.txt
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --quiet pyproject.toml --extra redis --extra uvicorn -c requirements/run.txt \
	  -o requirements/image.txt
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --quiet --group bench -c requirements/dev.txt -o requirements/bench.txt
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --quiet --group peers -o requirements/peers.txt
	echo hatchling | uv pip compile --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --quiet - -c requirements/dev.txt -o requirements/build.txt

.PHONY: help env run test soak lint check peers bench bench-large demo-airport schema plugin-table what-leaves lock
