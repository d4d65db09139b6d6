# Every target works on a fresh machine: scripts/bootstrap.py installs into .venv what is missing, once.
PYTHON ?= python3
ARGS ?=

.PHONY: help setup demo test check bench notebooks lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install everything for those who develop, into .venv
	@$(PYTHON) scripts/bootstrap.py setup

demo: ## start a living city and its twin; ARGS="--speed 10 --port 0"
	@$(PYTHON) scripts/bootstrap.py demo $(ARGS)

test: ## run the tests; ARGS="tests/twin -k late"
	@$(PYTHON) scripts/bootstrap.py test $(ARGS)

check: ## format, lint, types, layers and documentation
	@$(PYTHON) scripts/bootstrap.py check

bench: ## run the benchmarks
	@$(PYTHON) scripts/bootstrap.py bench $(ARGS)

notebooks: ## run every notebook against a demo of its own
	@$(PYTHON) scripts/bootstrap.py notebooks

lock: ## resolve the requirement files anew
	@$(PYTHON) scripts/bootstrap.py lock
