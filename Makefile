# `make help` lists what there is. Everything runs in .venv, which is made from the lock in
# requirements/ with hashes; PYTHON chooses the interpreter (3.11 to 3.13). The lock is whole, so
# nothing is installed that it does not name (--no-deps).

PYTHON ?= python3
# The index of a CPU-only build of torch, where the registry's CUDA build is not wanted.
TORCH_INDEX ?=

BIN := .venv/bin
READY := .venv/.ready
EXTRAS := .venv/.extras
TORCH_PINS := $(shell sed -nE 's/^(torch|torchvision)==([0-9.]+).*/\1==\2/p' requirements/torch.txt)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv extras repro test test-slow test-all lint bench reliability gpu lock clean

help: ## say what each target does
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

venv: $(READY) ## make the virtual environment from the lock

$(READY): requirements/base.txt requirements/torch.txt requirements/evidence.sh
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv
ifeq ($(TORCH_INDEX),)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements/base.txt -r requirements/torch.txt
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --index-url $(TORCH_INDEX) $(TORCH_PINS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/base.txt
endif
	install -m 755 requirements/evidence.sh $(BIN)/evidence
	@touch $@

extras: $(EXTRAS) ## add what clusters (SLURM, Ray), remotes on S3 and tests of pages need to the environment

$(EXTRAS): $(READY) requirements/extras.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements/extras.txt
	@touch $@

repro: $(READY) ## run the pipeline, print the results, compare with the committed ones
	@python -m stages.tools.restore_lock
	@evidence repro

PYTEST := python -m pytest -n 2 --dist loadgroup

test: $(READY) ## run the quick tests, in a few minutes
	@$(PYTEST) -m "not slow and not long"

test-slow: $(READY) ## run the slow tests: the pipeline of all tasks, attacks on whole repositories
	@$(PYTEST) -m "slow and not long"

test-all: $(READY) ## run all tests, also the longest
	@$(PYTEST)

lint: $(READY) ## check style and types
	@ruff check .
	@ruff format --check .
	@mypy

bench: $(READY) ## measure accuracy over other splits, and time; print a report
	@evidence bench

reliability: $(READY) ## kill the pipeline and feed it damaged files, an hour long; write docs/reliability.md
	@for part in kills lock tools honest params data circumstances; do \
	  PYTHONPATH=.:tests python -m reliability $$part || exit; \
	done

gpu: $(READY) ## run the tasks on a GPU; write docs/gpu.md
	@for part in chains resume steps page; do PYTHONPATH=.:tests python -m gpu $$part || exit; done

# First with the extras and then without them, within the versions of the first: the two never disagree.
LOCK := uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links --quiet
lock: $(READY) ## write the lock anew from pyproject.toml
	@$(LOCK) --all-extras --group s3-server --group browser -o requirements/all.txt >/dev/null
	@$(LOCK) --constraint requirements/all.txt -o requirements/plain.txt >/dev/null
	@python requirements/split.py
	@rm requirements/all.txt requirements/plain.txt

clean: ## remove the environment and what the pipeline can make again
	rm -rf .venv data/params data/prepare data/check data/baseline data/train data/live data/evaluate \
	  data/failures data/pack data/compare data/resume dvc_plots
