# One word for each thing that is done often; the README has the commands in full.
PYTHON = .venv/bin/python
.PHONY: setup test lint bench notebooks

setup: .venv
	$(PYTHON) create_tables.py && $(PYTHON) etl.py

test: .venv
	$(PYTHON) -m pip install -q -r tests/requirements.txt
	$(PYTHON) -m pytest -q -n auto --dist loadfile tests

lint:
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

bench:
	$(PYTHON) tests/tools/benchmark.py --events 20000 --songs 500

notebooks:
	$(PYTHON) tests/tools/refresh_notebooks.py etl.ipynb test.ipynb

.venv:
	python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt
