# The commands of this project. `make` lists the targets that have a text after "##".
.DEFAULT_GOAL := help
.PHONY: help run reset test lint format docs bench migration clean ready

python := .venv/bin/python
# Ends the command when make ends, also if make is killed.
with_make := exec setpriv --pdeathsig TERM --

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

run: ready ## Start all servers on 127.0.0.1:8000 with a demo catalogue; PORT=8001 for another port
	@$(with_make) $(python) -m dev.run

reset: ready ## Delete the data of `make run` for that PORT
	@$(python) -m dev.run --forget

test: ## Run the tests against servers of their own; ARGS="-k download" selects tests
	@sh dev/bootstrap.sh tests
	@$(with_make) $(python) -m pytest $(ARGS)

lint: ready ## Check style, format, types and the words of the prose
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) -m dev.words

format: ready ## Correct style and format
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

docs: ready .venv/docs ## Build the documentation site in site/; wrong links and references are errors
	@rm -rf site
	@$(python) -m sphinx -W --keep-going -q -b html docs site
	@echo site/index.html

.venv/docs: requirements-docs.txt | ready
	@$(python) -m pip install -q --disable-pip-version-check -r requirements-docs.txt
	@touch $@

bench: ready ## Measure performance and print tables; ARGS=--help lists options
	@$(with_make) $(python) -m bench $(ARGS)

migration: ready ## Write a migration for changed tables; m="Add a table of keys"
	@[ -n "$$m" ] || { echo 'm is missing: expected a description, such as make migration m="Add a table of keys"' >&2; exit 1; }
	@$(with_make) $(python) -m dev.within sh dev/migration.sh "$$m"

clean: ## Delete .venv and caches; data is kept
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -not -path './.run/*' -prune -exec rm -rf {} +

ready:
	@sh dev/bootstrap.sh
