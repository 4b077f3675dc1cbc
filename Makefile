# SPDX-License-Identifier: BSD-3-Clause
# One word for each thing that is done with a checkout. Needs make, a C compiler and a Python >= 3.11; everything else
# goes into a virtual environment of its own. `make PYTHON=python3.13 VENV=.venv313 test` uses another Python.

PYTHON =
VENV = .venv
ARGS =
PY = $(VENV)/bin/python
EXT := $(shell find ext -name '*.pyx' -o -name '*.pxd')

help:
	@echo 'make demo    a computation over every core, with its speed-up'
	@echo 'make test    the tests (ARGS="-k name" chooses some)'
	@echo 'make check   linters, types, floors, house rules'
	@echo 'make bench   covey beside its peers (ARGS="--quick" takes a minute)'
	@echo 'make clean   removes what was built, the environment included'

demo: $(VENV)/.built
	$(PY) examples/demo.py $(ARGS)

test: $(VENV)/.built $(VENV)/.extra-test
	$(PY) -m pytest $(ARGS)

check: $(VENV)/.built $(VENV)/.extra-test $(VENV)/.extra-dev
	$(PY) -m ruff check .
	$(PY) -m mypy
	PATH="$$(cd $(VENV)/bin && pwd):$$PATH" cython-lint ext
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -q -m "not slow" tests/house

bench: $(VENV)/.built $(VENV)/.peers
	$(PY) -m benchmarks $(ARGS)

clean:
	rm -rf build dist .venv $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src ext -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -maxdepth 2 -name '*.egg-info' -type d -prune -exec rm -rf {} +

# The environment: Python and its packages, but not covey, whose src/ is put on its path instead. So an edit in src/ needs
# nothing, and one in ext/ recompiles what depends on it.
$(VENV)/.made: tools/environment.sh
	sh tools/environment.sh $(VENV) $(PYTHON)
	touch $@

$(VENV)/.extra-%: $(VENV)/.made pyproject.toml tools/requirements.py
	$(PY) tools/requirements.py $* > $(VENV)/$*.txt
	$(PY) -m pip install --quiet -r $(VENV)/$*.txt
	touch $@

# One by one: a peer that cannot be had here is a row that says so, not an error.
$(VENV)/.peers: $(VENV)/.made pyproject.toml tools/requirements.py
	$(PY) tools/requirements.py bench | while read -r peer; do \
	    $(PY) -m pip install --quiet --prefer-binary "$$peer" || echo "make bench: no $$peer here"; \
	done
	touch $@

$(VENV)/.built: $(VENV)/.extra-base setup.py $(EXT)
	$(PY) setup.py --quiet build_ext --inplace
	touch $@

.PHONY: help demo test check bench clean
.DELETE_ON_ERROR:
# Two pips at once in one environment get in each other's way; compilers run in parallel by themselves.
.NOTPARALLEL:
