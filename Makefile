# User Activity: every target installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Every start of a process would compile its libraries anew where the environment says that nothing may be kept of that.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup browser versitygw demo test up check lock docs chaos-reports chaos-sync simulate chaos bench soak

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

setup: $(STAMP) ## Make the environment (.venv, with the `activity` command in it)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; }
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# Debian's Chromium, once; another installation that runs at the same time is waited for.
browser: ## Install the browser of the browser tests, where this machine allows it
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq -o DPkg::Lock::Timeout=300 update \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || echo "NO BROWSER: chromium is not installed and cannot be installed here; the browser tests will be skipped"

# A second S3 server for the contract of the sinks, built from its sources at an exact version.
VERSITYGW := v1.8.0
VERSITYGW_HOME := $(HOME)/.cache/user-activity/versitygw-$(VERSITYGW)
versitygw: ## Build the second S3 server of the tests, where a Go toolchain is (two minutes, once)
	@test -x $(VERSITYGW_HOME)/versitygw \
	  || GOBIN=$(VERSITYGW_HOME) GOFLAGS=-mod=mod go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

demo: setup ## The whole system on real servers, the shipped samples, the three reports; stops by itself
	@$(BIN)/activity demo

up: setup ## Run the whole system in the foreground until Ctrl-C
	@$(BIN)/activity up

test: setup browser ## All tests, those against real servers included
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: setup ## Style, types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lock: setup ## Resolve the dependencies anew into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --group dev pyproject.toml -o requirements.lock

docs: setup ## Write docs/reference.md and docs/api.md anew from the code
	@PYTHONPATH=. $(BIN)/python docs/make_reference.py > docs/reference.md
	@PYTHONPATH=. $(BIN)/python docs/make_api.py > docs/api.md

chaos-reports: setup ## 240 seeded schedules of deaths of the reports service, and a kill -9 at every named step
	@ACTIVITY_TEST_DEATHS=240 $(BIN)/python -m pytest -q tests/exporters/reports/test_deaths.py tests/live/test_reports_deaths.py

chaos-sync: setup ## Every fault of every operation of the sync, with every death, for one owner and two: 1,152 cases on real servers
	@ACTIVITY_TEST_EVERY_FAULT=1 $(BIN)/python -m pytest -q tests/faults/test_matrix.py

simulate: setup ## 200,000 random histories of the state protocol, and as many of the cuts
	@ACTIVITY_TEST_HISTORIES=200000 $(BIN)/python -m pytest -q tests/pipeline/model/test_simulation.py tests/exporters/sync/test_cuts.py

chaos: setup ## Minutes of random deaths, freezes and losses on real servers (MINUTES=10 SEED=1)
	@ACTIVITY_TEST_CHAOS_MINUTES=$(or $(MINUTES),10) ACTIVITY_TEST_CHAOS_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q -s tests/live/test_chaos.py

bench: setup ## Measure on this machine: the worker's speed, reports, time to visible, memory over three days of event time
	@$(BIN)/activity bench worker
	@$(BIN)/activity bench report --days 30
	@$(BIN)/activity bench report --days 90
	@$(BIN)/activity bench latency --rate 10000
	@ACTIVITY_FRAGMENT_IDLE_SECONDS=5 $(BIN)/activity bench latency --rate 10000 --seconds 120 --days 3

soak: setup ## Deliver 2,000 events/s for MINUTES=30 while something goes wrong every few seconds; then prove it and show the memory
	@$(BIN)/activity bench soak --minutes $(or $(MINUTES),30)
