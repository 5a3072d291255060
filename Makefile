# The commands of this project. `make` lists the targets that have a text after "##".
.DEFAULT_GOAL := help
.PHONY: help run reset test lint format reference docs bench migration requirements dist sbom clean ready

python := .venv/bin/python
pin = .venv/release/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make requirements" $(ARGS)
# Ends the command when make ends, also if make is killed.
with_make := exec setpriv --pdeathsig TERM --

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: ## Start all servers on 127.0.0.1:8000 with a demo catalogue; PORT=8001 for another port
	@sh dev/bootstrap.sh run
	@$(with_make) $(python) -m dev.run

reset: ready ## Delete the data of `make run` for that PORT
	@$(python) -m dev.run --forget

# With one hash seed, all processes give a test with a set among its parameters the same name.
test: ## Run the tests against servers of their own; ARGS="-k download" selects tests
	@sh dev/bootstrap.sh tests
	@export PYTHONHASHSEED=0; $(with_make) $(python) -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: ready ## Check style, format, types and the words of the prose
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) -m dev.words

format: ready ## Correct style and format
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

reference: ready ## Write the reference pages in docs/ from the code
	@$(python) -m dev.reference

docs: ready .venv/docs ## Build the documentation site in site/; wrong links and references are errors
	@rm -rf site
	@$(python) -m sphinx -W --keep-going -q -b html docs site
	@echo site/index.html

.venv/docs: requirements-docs.txt | ready
	@$(python) -m pip install -q --disable-pip-version-check -r requirements-docs.txt
	@touch $@

bench: ready ## Measure performance and print tables; ARGS=--help lists options
	@$(with_make) $(python) -m bench $(ARGS)

migration: ready ## Write a migration for changed tables; m="Add a table of keys", and p=quota for a plugin
	@[ -n "$$m" ] || { echo 'm is missing: expected a description, such as make migration m="Add a table of keys"' >&2; exit 1; }
	@$(with_make) $(python) -m dev.within sh dev/migration.sh "$$m" "$(p)"

requirements: .venv/release/ready ## Pin the packages of pyproject.toml, with hashes; ARGS=--upgrade for the newest versions
	@$(pin) pyproject.toml -o requirements.txt
	@$(pin) pyproject.toml --extra tracing --constraint requirements.txt -o requirements-tracing.txt
	@for group in demo dev docs release; do \
		$(pin) --constraint requirements-tracing.txt --group $$group -o requirements-$$group.txt || exit 1; \
	done

dist: .venv/release/ready ## Build the wheel and the source archive in dist/, check them, and list their hashes
	@rm -rf dist
	@.venv/release/bin/python -m hatchling build
	@.venv/release/bin/python -m twine check --strict dist/*
	@cd dist && sha256sum *.whl *.tar.gz | tee SHA256SUMS

sbom: .venv/release/ready ## Write the bill of materials of an installation (CycloneDX) to dist/sbom.json
	@sh dev/sbom.sh

.venv/release/ready: requirements-release.txt | ready
	@$(python) -m venv --clear .venv/release
	@.venv/release/bin/python -m pip install -q --disable-pip-version-check -r requirements-release.txt
	@touch $@

clean: ## Delete .venv and caches; data is kept
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -not -path './.run/*' -prune -exec rm -rf {} +

ready:
	@sh dev/bootstrap.sh
