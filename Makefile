# The verbs of this checkout. Everything goes into .venv/ and var/; nothing else is written.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
PIP_CACHE_DIR ?= $(CURDIR)/var/cache/pip
PIP := PIP_CACHE_DIR="$(PIP_CACHE_DIR)" PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/pip install --quiet
RUN := .venv/bin/python -m
# A process a core; a file's tests stay together, because they share what is slow to make.
TESTS := $(RUN) pytest -q --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
# One thread for linear algebra: results must not depend on the number of cores.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PYTHONDONTWRITEBYTECODE := 1

DATASET ?=
IMAGES ?=
CONFIG ?= auto
SET ?=
DEMO := var/demo/images

.PHONY: help setup demo run cluster cluster-run cluster-stop compose-env test test-fast test-long lint format docs bench pins services clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: .venv/.ready ## install what the pipeline needs into .venv/

.venv/.ready: requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed, and $(PYTHON) is not there: \
	install it (Debian: apt-get install python3.11 python3.11-venv), or say where it is: \
	make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "Installing into .venv/ (a minute or two, once) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) -r requirements.txt
	@touch $@

.venv/.ready-dev: .venv/.ready requirements-dev.txt
	@echo "Installing the tools for tests ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

demo: setup ## simulate a series of images, run the pipeline on it, show what it found
	@bin/trap-manage simulate $(DEMO)
	@bin/trap-manage run $(DEMO) --dataset demo --truth $(DEMO)/truth.json

# The recipe gets them as variables of the shell and as they were typed: names may hold spaces, quotes and all else.
# Several images are separated by spaces, and so are settings, each of which begins with section.key=.
run cluster-run: override export IMAGES := $(value IMAGES)
run cluster-run: override export DATASET := $(value DATASET)
run cluster-run: override export CONFIG := $(value CONFIG)
run cluster-run: override export SET := $(value SET)
define RUN_IMAGES
@[ -n "$$IMAGES" ] && [ -n "$$DATASET" ] || { \
echo 'Say which images and what to call the series: make $@ IMAGES="/data/night1" DATASET=night1'; exit 2; }
@set -f; images=($$IMAGES); settings=(); \
if [ -e "$$IMAGES" ] || compgen -G "$$IMAGES" >/dev/null; then images=("$$IMAGES"); fi; \
for word in $$SET; do \
  if [ $${#settings[@]} -eq 0 ] || [[ $$word =~ ^[[:alnum:]_]+(\.[[:alnum:]_]+)+= ]]; then settings+=("--set=$$word"); \
  else settings[-1]+=" $$word"; fi; done; \
bin/trap-manage run $(1) --dataset="$$DATASET" --config="$$CONFIG" "$${settings[@]}" -- "$${images[@]}"
endef

run: setup ## run on your images: make run IMAGES="/data/night1" DATASET=night1 [CONFIG=...] [SET="section.key=value"]
	$(call RUN_IMAGES)

cluster: setup ## start Airflow with CeleryExecutor and its workers on this machine; see include/configs/cluster.toml
	@bin/trap-manage cluster start

cluster-run: setup ## as run, by the workers of the cluster
	$(call RUN_IMAGES,--cluster)

compose-env: setup ## write random passwords for docker-compose.yaml into .env
	@bin/trap-manage compose-env

cluster-stop: ## end the processes that make cluster has started
	@bin/trap-manage cluster stop

test-fast: .venv/.ready-dev ## the quick tests, under a minute, without servers
	@$(TESTS) -m "not slow and not long and not postgres"

test: lint ## what continuous integration runs
	@$(TESTS) -m "not long"

test-long: .venv/.ready-dev ## soak, kills, statistics
	@$(TESTS) -m long

lint: .venv/.ready-dev ## style, types, directions of import
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy
	@PYTHONPATH=plugins .venv/bin/lint-imports --cache-dir var/cache/import-linter

format: .venv/.ready-dev ## rewrite the code in the house style
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format --quiet .

docs: .venv/.ready ## write the pages that are made from the code: docs/schema.md
	@bin/trap-manage schema > docs/schema.md

bench: .venv/.ready ## time and memory; one JSON line a benchmark
	@$(RUN) benchmarks.bench_main_job
	@$(RUN) benchmarks.bench_header_pass
	@$(RUN) benchmarks.bench_coverage
	@$(RUN) benchmarks.bench_finders --images 4 --speed 512,1024,2048
	@$(RUN) benchmarks.bench_forced_fits --images 10

services: ## start what tests and the cluster need and this machine lacks (PostgreSQL, RabbitMQ, Redis)
	@bash tests/services.sh

pins: ## resolve requirements*.in anew
	@rm -rf var/pins && $(PYTHON) -m venv var/pins
	@wanted=(); for kind in "" -casa -dev; do \
	  wanted+=(-r requirements$$kind.in); \
	  PIP_CACHE_DIR="$(PIP_CACHE_DIR)" var/pins/bin/pip install --quiet "$${wanted[@]}"; \
	  { echo "# Made by 'make pins' from requirements$$kind.in. Do not edit."; \
	    var/pins/bin/pip freeze; } > requirements$$kind.txt; done
	@rm -rf var/pins

clean: ## delete everything that was written: var/ with the results in it, and .venv/
	@rm -rf var .venv
