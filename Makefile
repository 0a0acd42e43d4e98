# `make run` and `make test` are all that a newcomer needs: each sets up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Enough for the main job: the packages that the lab can't do without, at the same exact versions.
CORE   := $(VENV)/.core
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
REFUSAL := "polyglot-lab needs Python 3.11 or newer: make PYTHON=python3.12 ..."
SCENARIO ?= scenarios/flights.toml
# Twice as many as the smallest machine that the suite is kept quick on has cores: tests of servers and live runs wait.
WORKERS ?= 4
CHANGES ?= 1e8
EXECUTOR ?= local
# Tests start hundreds of processes: they load what is compiled once, also where an image says to keep nothing.
export PYTHONDONTWRITEBYTECODE :=

# A target for each campaign: what one finds doesn't keep the others from being run, and any failure is that of the whole.
CAMPAIGNS := histories properties hostile clocks soak signals kills torture validity
.PHONY: setup core run test costs nightly torture validity bench headlines check lab notebooks docs lock clean help $(CAMPAIGNS:%=nightly-%)

help:           ## what can be made
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

setup: $(READY) ## make .venv/ (once; again only when the lock changes)

$(READY): requirements.lock
	@$(PYTHON) -c '$(RECENT)' || { echo $(REFUSAL) >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv --no-deps --editable .
	@touch $(READY)

core:
	@$(MAKE) --no-print-directory $(if $(wildcard $(READY)),$(READY),$(CORE))

$(CORE): requirements.lock
	@$(PYTHON) -c '$(RECENT)' || { echo $(REFUSAL) >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv --constraint requirements.lock --editable .
	@touch $(CORE)

run: core       ## the main job: a year of flights, broken messages, judged projections
	$(BIN)/lab run $(SCENARIO)

test: setup     ## the whole suite, in parallel
	$(BIN)/python -m pytest -n $(WORKERS)

costs: setup    ## what the tests cost in processor time, most expensive first (TESTS=tests/stores: a part of them)
	rm -rf build/costs
	@COSTS=build/costs $(BIN)/python -m pytest -n $(WORKERS) $(TESTS); status=$$?; $(BIN)/python tests/costs.py build/costs; exit $$status

nightly: setup  ## many more histories, requests, values and hostile scenarios, kills of a load, a soak of every store
	@$(MAKE) --keep-going $(CAMPAIGNS:%=nightly-%)

nightly-histories: setup
	HISTORIES=10000 $(BIN)/python -m pytest -n $(WORKERS) tests/kit/test_mutants.py tests/kit/test_zoo.py tests/service/test_service_fuzz.py tests/service/test_http.py

nightly-properties: setup
	EXAMPLES=400 $(BIN)/python -m pytest -n $(WORKERS) -m hypothesis

nightly-hostile: setup
	HOSTILE=2000 $(BIN)/python -m pytest -n $(WORKERS) tests/scenario/test_hostile.py

nightly-clocks: setup
	EXAMPLES=2000 $(BIN)/python -m pytest -n $(WORKERS) tests/running/test_two_clocks.py tests/running/test_skipping.py

nightly-soak: setup
	SOAK=50000 $(BIN)/python -m pytest -s -n 0 tests/stores/test_soak.py

nightly-signals: setup
	SIGNALS=100 $(BIN)/python -m pytest -s -n 0 tests/cli/test_signals.py

nightly-kills: setup
	KILLS=100 $(BIN)/python -m pytest -n 0 tests/load/test_kills.py
	KILLS=20 $(BIN)/python -m pytest -n 0 tests/truth/test_truth_kills.py tests/live/test_live_kills.py

nightly-torture: setup
	$(BIN)/lab torture scenarios/torture.toml --kills 10 --rate 60 --set truth.engine=duckdb

nightly-validity: validity

torture: setup  ## a thousand kills over every durable store while commands keep coming, then everything counted
	$(BIN)/lab torture scenarios/torture.toml --kills 60 --rate 60 --set workload.commands=400000

validity: setup ## the simulator against theory, case by case, with intervals over seeds: docs/validity.md
	$(BIN)/python -m benchmarks.validity

bench: setup    ## the lab beside a peer and the limit, row by row: benchmarks/results.md (QUICK=1, GROWTH=1)
	$(BIN)/python -m benchmarks.bench $(if $(QUICK),--quick) $(if $(GROWTH),--growth)
	$(BIN)/python -m benchmarks.bench --headlines

scale: setup    ## 100 million changes through the lab, and a rebuild on many workers (CHANGES=1e6: fewer; EXECUTOR=dask)
	$(BIN)/python -m benchmarks.scale --changes $(CHANGES) --executor $(EXECUTOR)

headlines: setup ## the rows of docs/benchmarks.md, out of benchmarks/results.json
	$(BIN)/python -m benchmarks.bench --headlines

check: setup    ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: setup      ## open JupyterLab on the first chapter
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root )--notebook-dir=notebooks --LabApp.default_url=/lab/tree/00-start-here.ipynb

notebooks: setup ## execute every chapter in place; their outputs are committed
	$(BIN)/python -m lab.teach.books notebooks

docs: setup     ## the generated parts of docs/, out of the objects that they document
	$(BIN)/python docs/generate.py

lock: setup     ## resolve pyproject.toml anew into requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --no-annotate --no-header --quiet --output-file requirements.lock
	@{ echo '# Exact versions for every platform and Python >= 3.11. Made by `make lock`; never edited by hand.'; cat requirements.lock; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:          ## remove .venv/, caches and runs/
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
