# Everything runs from .venv, which `setup` makes from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo app docs test test-all lint types lock clean

setup: $(VENV)/.installed

# torch and torchvision come from one registry in one resolution: uv sees to that. Bytecode too: where Python may
# not write it itself, each start would compile all libraries anew.
$(VENV)/.installed: requirements.lock
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "PairCXR needs Python 3.11 or later"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	touch $@

demo: setup
	PYTHON=$(BIN)/python bash experiments/cxr_irgen.sh

# The page, over the demo's models.
app: setup
	$(BIN)/python app.py

# docs/ as a site in runs/docs; a link that leads nowhere is an error.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# As the scripts do for themselves (runtime/huge_pages.py).
test test-all: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

# Without what runs the product again and again; `test-all`, which CI runs, has that too.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(MAKE) types

types: setup
	$(BIN)/basedpyright --pythonpath $(BIN)/python --level error

# Rewrites requirements.lock from pyproject.toml.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra open-clip --universal --python-version 3.11 --no-header \
		--no-annotate --upgrade -o requirements.lock

clean:
	rm -rf runs/demo
