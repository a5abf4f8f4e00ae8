# make demo: see it work.  make test: run the tests.  make check: lint, types, architecture.  make matrix: the grid of dialects.  make bench: measure.  make soak: look for leaks.  make nightly: 10,000 random scenarios.  make kills: kill -9, a hundred times.  make lock: pin what is installed, with hashes (UPGRADE=--upgrade: to the newest).  make sbom: what the package stands on, as CycloneDX.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# One lock for all platforms and Python versions, with the hashes of every file of each version, and no index's name in it.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

# What is run with either upstream engine: the usual one with all else, and aiohttp's once more.
BOTH_ENGINES := $(addprefix tests/e2e/test_,failures.py hostile.py http.py sdks.py stream_recovery.py wire.py plain.py)

.PHONY: demo test check matrix bench soak nightly kills lock sbom reference clean

$(READY): pyproject.toml requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Busbar needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	$(BIN)/busbar demo

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile
	BUSBAR_TEST_ENGINE=aiohttp $(BIN)/python -m pytest --numprocesses auto --dist loadfile $(BOTH_ENGINES)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

matrix: $(READY)
	$(BIN)/python -m tests.e2e.matrix

bench: $(READY)
	$(BIN)/python -m bench --targets

soak: $(READY)
	$(BIN)/python -m soak

nightly: $(READY)
	BUSBAR_SEEDS=10000 $(BIN)/python -m pytest tests/simulation/test_random_scenarios.py

kills: $(READY)
	BUSBAR_KILLS=100 $(BIN)/python -m pytest -n0 tests/e2e/test_governance_kill.py -o log_cli=true -o log_cli_level=WARNING

lock: $(READY)
	$(BIN)/$(COMPILE) $(UPGRADE) --extra dev --output-file requirements-dev.lock pyproject.toml
	$(BIN)/$(COMPILE) --constraints requirements-dev.lock --output-file requirements.lock pyproject.toml

sbom: $(READY)
	PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible --output-file sbom.json requirements.lock

clean:
	rm -rf $(VENV) build dist sbom.json .mypy_cache .ruff_cache .pytest_cache

reference: $(READY) ## write the tables of docs/configuration.md from the schema
	$(BIN)/python -m busbar.config.reference docs/configuration.md
