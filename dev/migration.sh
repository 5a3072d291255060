#!/bin/sh
# Write the next migration, with the differences between the tables in the code and those of the migrations.
set -eu
number=$(printf '%04d' $(($(ls alembic/versions/[0-9]*.py | wc -l) + 1)))
.venv/bin/python -m alembic upgrade head
.venv/bin/python -m alembic revision --autogenerate --rev-id "$number" --message "$1"
.venv/bin/python -m ruff check --quiet --exit-zero --fix alembic/versions
.venv/bin/python -m ruff format --quiet alembic/versions
