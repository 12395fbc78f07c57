# On a bare machine (Python with venv, make, a way to PyPI) each of these does all the set-up it needs, once.
PYTHON ?= python3
WORKERS ?= 2
DEMO_OUT ?= runs/demo

VENV := .venv
BIN := $(VENV)/bin
AUDIT := .venv-audit
PEERS := .venv-peers
WHEEL := .venv-wheel
EMPTY := $(WHEEL)/empty
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
# One thread in each worker: workers that all use every core wait for each other. Each gets tests that lie side by side,
# which share what their module made once, and takes from the other when it has done its own. Compiled tests and modules
# are kept, whatever the environment says: else each worker, and each command that a test starts, compiles them anew.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint style format audit benchmark bench bench-gpu site wheel coverage mutants clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/.installed  ## the library's story on synthetic films, offline, minutes; writes runs/demo
	$(BIN)/fscxr demo --out $(DEMO_OUT)

# Types are checked beside the tests: the first time mypy reads those of torch, on one processor, a minute long.
test: style  ## linters, types, the whole suite except what needs a GPU
	@$(BIN)/mypy >/dev/null & types=$$!; $(PYTEST) -m "not gpu"; tests=$$?; wait $$types || $(BIN)/mypy && exit $$tests

quick: $(VENV)/.installed-dev  ## the suite without its slow tests: a minute or two
	$(PYTEST) -m "not slow and not gpu"

lint: style  ## ruff and mypy
	$(BIN)/mypy

style: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/.installed-dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# pip-audit needs forty packages of its own, so it lives beside .venv. What it cannot look up is no pass.
audit: $(VENV)/.installed-dev $(AUDIT)/bin/pip-audit  ## known holes of what is installed, and of the oldest that setup.cfg admits
	@$(BIN)/python -m pip freeze --exclude-editable | sed 's/+.*//' >$(AUDIT)/installed.txt
	@sed -n 's/^ *\([A-Za-z][A-Za-z0-9_-]*\)[=>~]=\([0-9.]*\).*/\1==\2/p' setup.cfg | sort -u >$(AUDIT)/oldest.txt
	@failed=0; for list in installed oldest; do \
	if $(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r $(AUDIT)/$$list.txt >$(AUDIT)/said.txt 2>&1; \
	then echo "$$list: no known hole"; \
	elif grep -q "^Name " $(AUDIT)/said.txt; then failed=1; echo "$$list:"; sed -n '/^Name /,$$p' $(AUDIT)/said.txt; \
	else failed=1; echo "$$list: not audited, its data cannot be reached: $$(tail -n 1 $(AUDIT)/said.txt)"; fi; done; exit $$failed

benchmark: $(VENV)/.installed  ## how long the import and the help page take
	$(BIN)/python benchmarks/import_time.py

# The peers are measured in an environment of their own: their dependencies must not decide over ours.
bench: $(VENV)/.installed-dev $(PEERS)/.installed  ## every table of docs/performance.md, beside the peers: 40 minutes; writes runs/bench
	$(BIN)/python benchmarks/performance/run.py $(BENCH)

bench-gpu: $(VENV)/.installed-dev  ## on a machine with a GPU: the same answers as the processor's? then the tables of bench there
	$(BIN)/python benchmarks/performance/gpu.py
	$(BIN)/python benchmarks/performance/run.py --device cuda $(BENCH)

site: $(VENV)/.installed-dev  ## the documentation as pages in runs/site; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# What goes to PyPI, tried in an environment that holds nothing else; with a list of all that it brought along.
wheel: $(WHEEL)/bin/cyclonedx-py  ## wheel and sdist in dist/, checked, installed in an empty environment and tried; dist/sbom.json
	rm -rf dist $(EMPTY)
	$(WHEEL)/bin/python -m build --outdir dist . >$(WHEEL)/build.txt 2>&1 || { cat $(WHEEL)/build.txt; exit 1; }
	$(WHEEL)/bin/twine check --strict dist/*
	$(PYTHON) -m venv $(EMPTY)
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(EMPTY)/bin/python -m pip install --quiet "$$(echo dist/*.whl)[lite0]"
	cd $(EMPTY) && bin/python -P "$(CURDIR)/.ci/try_wheel.py" "$(CURDIR)"
	rm $(EMPTY)/lib/python*/site-packages/fewshot_cxr-*.dist-info/direct_url.json # it names a folder of this machine
	$(WHEEL)/bin/cyclonedx-py environment --output-reproducible --of JSON -o dist/sbom.json $(EMPTY)/bin/python

# Counting lines takes the seconds that one test counts.
coverage: $(VENV)/.installed-dev  ## which lines the suite runs; below 92 % it fails
	$(PYTEST) -m "not gpu" --cov --cov-report=term:skip-covered --cov-fail-under=92 \
		--deselect tests/data/test_manifest.py::test_100000_rows_in_a_few_seconds

# How many of each part are tried: all would be 12,000 mutants, hours.
EACH ?= 250
mutants: $(VENV)/.installed-dev  ## the code changed in a thousand places, does a test fail? an hour; writes runs/mutants.txt
	$(PIP) install "mutmut~=3.8.1"
	$(BIN)/python benchmarks/mutants.py --each $(EACH)

clean:  ## remove caches and build output; .venv and runs stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find fewshot_cxr tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

# pip is the last thing that goes into a new environment: where it lies, the environment is whole.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	"fewshot_cxr needs Python 3.11 to 3.13 and $(PYTHON) is %d.%d; name another one: make PYTHON=python3.12" % v)'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/pip
	@echo "installing fewshot_cxr and what it needs into $(VENV); the first time this takes minutes"
	@$(PIP) --editable ".[lite0,serve]"
	@touch $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(BIN)/pip
	@echo "installing fewshot_cxr, what it needs and its development tools into $(VENV); the first time this takes minutes"
	@$(PIP) --editable ".[dev]"
	@touch $(VENV)/.installed $@

# It sees what lies in .venv, torch first of all, and adds the peers alone.
$(PEERS)/.installed: benchmarks/performance/peers.txt $(VENV)/.installed-dev
	@$(PYTHON) -m venv $(PEERS)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$$($(PEERS)/bin/python -c \
	'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(PEERS)/bin/python -m pip install --quiet -r $<
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(PEERS)/bin/python -m pip install --quiet --no-deps open-metric-learning==4.0.0
	@touch $@

$(AUDIT)/bin/pip-audit:
	@$(PYTHON) -m venv $(AUDIT)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(AUDIT)/bin/python -m pip install --quiet pip-audit

$(WHEEL)/bin/cyclonedx-py:
	@$(PYTHON) -m venv $(WHEEL)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(WHEEL)/bin/python -m pip install --quiet build twine cyclonedx-bom
