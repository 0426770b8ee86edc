# make demo   the main job on a simulated detector, from a fresh machine
# make test   the whole test suite
.PHONY: help setup setup-consumer setup-conductor setup-bliss24 setup-browser demo test lint format bench docs clean

PY := .venv/bin/python
# two at a time, each with a stack of its own; the tests of one file run in one process
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

help:
	@sed -n 's/^# make/make/p' Makefile; echo "also: setup lint format bench docs clean"

setup:
	@bash .ci/setup demo

setup-consumer: setup
	@bash .ci/setup consumer

setup-conductor: setup
	@bash .ci/setup conductor

setup-bliss24: setup
	@bash .ci/setup bliss24

setup-browser: setup
	@bash .ci/setup browser

demo: setup
	@$(PY) -m lima2_bliss.stack.demo

test: setup-consumer setup-conductor setup-browser
	@$(PY) -m pytest -q $(PYTEST_ARGS)

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

format: setup
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: setup
	@set -e; for script in tests/benchmarks/*.py; do case $$script in */_*) continue;; esac; \
	  echo "== $$script"; $(PY) $$script --json; done

docs: setup
	@.venv/bin/mkdocs build --strict -q

clean:
	rm -rf .venv .venv-blissdata2 .venv-conductor .venv-bliss24 .venv-browser site artifacts .stack
