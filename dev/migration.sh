#!/bin/sh
# Writes the next migration, numbered, with what differs between the tables in the code and those in the migrations.
set -eu
number=$(printf '%04d' $(($(ls alembic/versions/[0-9]*.py | wc -l) + 1)))
.venv/bin/python -m alembic upgrade head
.venv/bin/python -m alembic revision --autogenerate --rev-id "$number" --message "$1"
