# The commands of this project. `make` lists those that have a remark after "##".
.DEFAULT_GOAL := help
.PHONY: help run reset test lint format bench migration clean ready

python := .venv/bin/python
# Ends with make, even where make is killed.
with_make := exec setpriv --pdeathsig TERM --

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

run: ready ## Start everything on 127.0.0.1:8000 with a demo catalogue; PORT=8001 for another place
	@$(with_make) $(python) -m dev.run

reset: ready ## Forget the data of `make run` (of that PORT)
	@$(python) -m dev.run --forget

test: ## Run the tests against servers of their own; ARGS="-k download" for some of them
	@sh dev/bootstrap.sh tests
	@$(with_make) $(python) -m pytest $(ARGS)

lint: ready ## Check style, format and types
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

format: ready ## Mend what `make lint` can mend itself
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

bench: ready ## Measure, and print a table
	@$(with_make) $(python) -m bench $(ARGS)

migration: ready ## Write the migration that the tables need; m="what it changes"
	@[ -n "$$m" ] || { echo 'Say what it changes: make migration m="a table of keys"' >&2; exit 1; }
	@$(with_make) $(python) -m dev.within sh dev/migration.sh "$$m"

clean: ## Remove what can be made again: .venv and caches, but no data
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -not -path './.run/*' -prune -exec rm -rf {} +

ready:
	@sh dev/bootstrap.sh
