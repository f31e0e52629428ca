# Two commands matter: `make notebook` (the whole story, executed) and `make test`. Everything else serves them.
# Installs leave a stamp in the environment, so they are repeated only when requirements.txt or pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
NOTEBOOK := HAR_Human_Action_Recognition.ipynb
NOTEBOOKS := $(NOTEBOOK) HAR_Synthetic_to_Real.ipynb
DATA := Data/KTH-Synth
RUN := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help notebook notebooks test test-floors kernel results data lint clean
.DELETE_ON_ERROR:

help:
	@echo "make notebook   install what is needed, render KTH-Synth if missing, execute $(NOTEBOOK) in place"
	@echo "make notebooks  the same, and the other notebooks after it"
	@echo "make test       install the test tools too; ruff, mypy, pytest"
	@echo "make test-floors  pytest again, in an environment of its own with exactly the oldest versions that requirements.txt allows"
	@echo "make kernel     install the Jupyter kernel \"HAR on KTH\", with which a notebook in any folder imports this code"
	@echo "make data       render the embedded data set KTH-Synth into $(DATA)"
	@echo "make results    regenerate the tables of the README files from results/*.csv"
	@echo "make lint       ruff and mypy alone"
	@echo "make clean      remove the environment and the caches; data sets and runs stay"

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is older than Python 3.10; name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.core: requirements.txt $(VENV)/.made
	$(RUN) -m pip install -r requirements.txt
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.core
	$(RUN) -m pip install --quiet -e ".[test]"
	@touch $@

$(DATA)/segments.csv: | $(VENV)/.core
	$(RUN) har.py data synth --root $(DATA)

data: $(DATA)/segments.csv

notebook: $(VENV)/.core | $(DATA)/segments.csv
	$(RUN) har.py notebook $(NOTEBOOK)

notebooks: $(VENV)/.core | $(DATA)/segments.csv
	$(foreach name,$(NOTEBOOKS),$(RUN) har.py notebook $(name) &&) true

# The kernel's path holds this folder; nothing is put into site-packages. KERNEL_AT=--user installs it for a Jupyter that
# does not come from this environment.
KERNEL_AT ?= --sys-prefix

kernel: $(VENV)/.core
	$(RUN) -m ipykernel install $(KERNEL_AT) --name har-kth --display-name "HAR on KTH" \
		--env PYTHONPATH "$(CURDIR)" --env HAR_HOME "$(CURDIR)"

results: $(VENV)/.core
	$(RUN) har.py results

lint: $(VENV)/.test
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

# One thread a worker: two pytest workers that each start a thread a core slow one another down.
# SLOW=1 runs the tests marked slow too, as .ci/run does.
test: lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) $(if $(SLOW),,-m "not slow")

# Every floor of requirements.txt is installed exactly, so that none of them is a promise only. The floors of torch have no
# wheels for Python 3.13 and later: make test-floors PYTHON=python3.12
FLOORS ?= .venv-floors

$(FLOORS)/.floors: requirements.txt pyproject.toml
	@$(MAKE) --no-print-directory VENV=$(FLOORS) $(FLOORS)/.made
	sed -E 's/>=([0-9.]+),.*/==\1/' requirements.txt > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet -c $(FLOORS)/floors.txt -e ".[test]"
	@touch $@

test-floors: $(FLOORS)/.floors
	OMP_NUM_THREADS=1 $(FLOORS)/bin/python -m pytest -n $(WORKERS) $(if $(SLOW),,-m "not slow")

clean:
	rm -rf $(VENV) $(FLOORS) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
