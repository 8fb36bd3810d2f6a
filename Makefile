PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# Dagster's settings and records lie here: `make dev` shows what `make demo` materialized.
export DAGSTER_HOME := $(CURDIR)

.PHONY: demo test dev check bench bench-scale faults fuzz screenshots setup lock tokenizer clean
.DEFAULT_GOAL := demo

demo: $(READY)  ## everything, from sample shards to arrays and report
	$(BIN)/fim-assets sample
	$(BIN)/dagster asset materialize -m fim_assets.definitions --select '*' \
		--partition-range "$$($(BIN)/fim-assets keys --range)"
	$(BIN)/fim-assets summary

test: $(READY)  ## every test, three files at a time: many wait for a browser, a server or a clock
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

dev: $(READY)  ## the UI, on this machine's loopback only
	$(BIN)/dagster dev -h 127.0.0.1 -p 3000

check: $(READY)  ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## time and memory on real code; CORPUS=<folder> of source files, ONLY="whole fim"
	$(BIN)/python -m fim_assets_tests.benchmarks $(if $(CORPUS),--corpus "$(CORPUS)") $(if $(ONLY),--only $(ONLY))

bench-scale: $(READY)  ## what Dagster costs a partition, over numbers of partitions; takes an hour
	$(BIN)/python -m fim_assets_tests.benchmarks.partitions 100 1000 10000

faults: $(READY)  ## inject every fault: what was lost, wrong, and reported
	$(BIN)/python -m fim_assets_tests.faults

fuzz: $(READY)  ## hostile texts through every grammar and cut method, for twenty minutes
	$(BIN)/python -m fim_assets_tests.faults.grammars

screenshots: $(READY)  ## take the documentation's pictures again, in docs/pictures; needs Chromium
	$(BIN)/python -m fim_assets_tests.end_to_end.screenshots

setup: $(READY)  ## the environment in .venv, as requirements.lock pins it

# Dagster reads it where a command runs, so that one in this folder needs no DAGSTER_HOME.
.env:
	@echo 'DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)}"' > $@

$(READY): requirements.lock pyproject.toml | .env
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "Installing the pinned packages into .venv: a minute or two …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

lock: $(READY)  ## pin the dependencies of pyproject.toml again
	$(BIN)/uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header \
		--extra dev pyproject.toml -o requirements.lock

tokenizer: $(READY)  ## build the bundled dolma2 tokenizer again
	$(BIN)/python -m fim_assets_tests.tokenizer.build_dolma2

clean:  ## remove the environment, the outputs in data/ and Dagster's records; raw shards stay
	rm -rf .venv .bench history schedules storage logs .logs_queue .telemetry data/raw_shards data/fim_shards data/token_arrays data/label_masks data/corpus_report
	@grep -qsv '^DAGSTER_HOME="$${DAGSTER_HOME:-' .env || rm -f .env  # unless it says more
