# make demo [PHOTOS="~/Pictures/*.jpg"]   caption sample photos, and yours, with the built-in model
# make test                               lint, types, floors and tests, as CI does
# make docs                               build the site of the docs in site/
# All create .venv the first time; while constraints.txt and pyproject.toml stay the same, no later run uses the network.

BIN := .venv/bin

export OMP_WAIT_POLICY := passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What is imported is compiled once, even where the environment says otherwise; of the packages' 20,000 files that is little.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/pip install --no-compile --constraint constraints.txt

PINS := $(firstword $(shell cat pyproject.toml constraints.txt | cksum))
TEST_READY := .venv/.test-$(PINS)
# What the tests need holds all that the demo needs.
DEMO_READY := $(firstword $(wildcard $(TEST_READY)) .venv/.demo-$(PINS))

.PHONY: demo docs test
.DELETE_ON_ERROR:

demo: $(DEMO_READY)
	$(BIN)/braid demo $(PHOTOS)

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(TEST_READY)
	$(BIN)/mkdocs build --quiet
	@echo "the site: $(CURDIR)/site/index.html"

test: export OMP_NUM_THREADS := 1
test: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist worksteal

.venv/.demo-$(PINS): EXTRAS := train,demo
$(TEST_READY): EXTRAS := dev
.venv/.demo-$(PINS) $(TEST_READY): | $(BIN)/python
	$(INSTALL) torch
	$(INSTALL) --editable '.[$(EXTRAS)]'
	rm -f .venv/.demo-* .venv/.test-*
	touch $@

$(BIN)/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "making .venv with $$($$python --version)"; \
			exec $$python -m venv --clear .venv; \
		fi; \
	done; \
	echo "Braid needs Python 3.11 or newer, and no python3 on the PATH is; install one and run make again" >&2; exit 1
