PYTHON ?= python3
BIN := .venv/bin
# Stamps in the environment: what running needs is installed, and what testing needs besides.
READY := .venv/ready
READY_TO_TEST := .venv/ready-to-test
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Dagster's settings and records lie here, also where it is set to nothing, as Dagster reads it:
# `make dev` shows what `make demo` materialized.
export DAGSTER_HOME := $(or $(DAGSTER_HOME),$(CURDIR))
PORT = 3000
# Nothing is compiled when it is installed: the first start keeps what it compiles, for all others.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test dev home check bench bench-scale bench-imports faults fuzz screenshots setup lock tokenizer languages clean
.DEFAULT_GOAL := demo

demo: $(READY) home  ## everything, from sample shards to arrays and report
	$(BIN)/fim-assets sample
	$(BIN)/dg launch -m fim_assets.definitions --job raw_shards_to_corpus_report
	$(BIN)/fim-assets summary

test: $(READY_TO_TEST)  ## every test, four files at a time: many wait for a browser, a server or a clock
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

dev: $(READY) home  ## the UI, on this machine's loopback only; PORT=3001
	$(BIN)/dg dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

check: $(READY_TO_TEST)  ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY_TO_TEST)  ## time and memory on real code; CORPUS=<folder> of source files, ONLY="whole fim"
	$(BIN)/python -m fim_assets_tests.benchmarks $(if $(CORPUS),--corpus "$(CORPUS)") $(if $(ONLY),--only $(ONLY))

bench-scale: $(READY_TO_TEST)  ## what Dagster costs a partition, over numbers of partitions; takes an hour
	$(BIN)/python -m fim_assets_tests.benchmarks.partitions 100 1000 10000

bench-imports: $(READY_TO_TEST)  ## dependencies of Python files beside importlib's; PACKAGES=<folder> of archives
	$(BIN)/python -m fim_assets_tests.benchmarks.imports $(PACKAGES)

faults: $(READY_TO_TEST)  ## inject every fault: what was lost, wrong, and reported
	$(BIN)/python -m fim_assets_tests.faults

fuzz: $(READY_TO_TEST)  ## hostile texts through every grammar and cut method, for twenty minutes
	$(BIN)/python -m fim_assets_tests.faults.grammars

screenshots: $(READY_TO_TEST)  ## take the documentation's pictures again, in docs/pictures; needs Chromium
	$(BIN)/python -m fim_assets_tests.end_to_end.screenshots

setup: $(READY_TO_TEST)  ## the environment of all targets, in .venv

# Without settings, Dagster sends statistics of its use, and opens a window about a newsletter.
home:
	@test -e "$$DAGSTER_HOME/dagster.yaml" \
		|| { mkdir -p "$$DAGSTER_HOME" && cp -v dagster.yaml "$$DAGSTER_HOME"; }

# Dagster reads it where a command runs, so that one in this folder needs no DAGSTER_HOME.
.env:
	@echo 'DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)}"' > $@

$(READY): requirements.lock pyproject.toml | .env
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "Python 3.11 to 3.14 is needed")'
	@echo "Installing what running needs into .venv …"
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@$(UV) --version >/dev/null 2>&1 || sed -n '/^uv==/,/[^\]$$/p' requirements-dev.lock \
		| $(PIP) install --quiet --require-hashes -r /dev/stdin || true
	@$(call install,--require-hashes -r $<)
	@$(call install,--no-deps --no-build-isolation -e .)
	@touch $@

$(READY_TO_TEST): requirements-dev.lock $(READY)
	@echo "Installing what testing needs into .venv …"
	@$(call install,--require-hashes -r $<)
	@touch $@

# This machine's uv, or else the pinned one. It knows no settings of pip's, so that it is given the
# index that these name. Where it cannot be had, or cannot install, pip does the same.
UV = $(if $(shell uv --version 2>/dev/null),uv,$(BIN)/uv)
INDEX = $(PIP) config list | sed -n "s/^[:a-z]*\.index-url='\(.*\)'/\1/p" | head -n 1
install = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(INDEX))}" \
	$(UV) pip install --quiet --python $(BIN)/python $(1) \
	|| { echo "Not with uv: pip does it, which takes longer …"; $(PIP) install --quiet --no-compile $(1); }

PIN := $(BIN)/uv pip compile pyproject.toml --quiet --universal --no-strip-extras --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header
EXTRAS := --extra s3 --extra ray --extra postgres

# All packages together first, of which the other two hold a part in the same versions.
lock: $(READY_TO_TEST)  ## pin the dependencies of pyproject.toml again
	$(PIN) --group dev $(EXTRAS) -o requirements-dev.lock
	$(PIN) --no-annotate -c requirements-dev.lock --group build -o requirements.lock
	$(PIN) --no-annotate -c requirements-dev.lock --group build $(EXTRAS) -o deploy/requirements.lock

tokenizer: $(READY_TO_TEST)  ## build the bundled dolma2 tokenizer again, and prove its encoder
	$(BIN)/python -m fim_assets_tests.tokenizer.build_dolma2
	$(BIN)/python -m fim_assets_tests.tokenizer.bundled_proofs

languages: $(READY_TO_TEST)  ## build the table of languages' names again; needs npm and Node.js
	$(BIN)/python -m fim_assets_tests.languages.build_table

clean:  ## remove the environment, the outputs in data/ and Dagster's records; raw shards stay
	rm -rf .venv .bench history schedules storage logs .logs_queue .telemetry data/raw_shards data/repository_shards data/fim_shards data/token_arrays data/label_masks data/corpus_report
	@grep -qsv '^DAGSTER_HOME="$${DAGSTER_HOME:-' .env || rm -f .env  # unless it says more
