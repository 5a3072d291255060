#!/bin/sh
# Writes the next migration: of stacflask, with the differences between the tables in the code and those of the
# migrations; or of the plugin $2, empty, because plugins have no tables in code.
set -eu
folder=${2:+plugins/$2/migrations}
folder=${folder:-alembic/versions}
mkdir -p "$folder"
last=$(ls "$folder" | grep -c '^[0-9].*\.py$' || true)
number=$(printf '%04d' $((last + 1)))
if [ -n "${2:-}" ]; then
    slug=$(printf '%s' "$1" | tr 'A-Z ' 'a-z_' | tr -cd 'a-z0-9_')
    previous=None
    [ "$last" -eq 0 ] || previous="\"$(printf '%04d' "$last")\""
    cat >"$folder/${number}_$slug.py" <<END
"""$1."""

from alembic import op

revision = "$number"
down_revision = $previous


def upgrade() -> None:
    op.execute("")


def downgrade() -> None:
    op.execute("")
END
    echo "Wrote $folder/${number}_$slug.py"
else
    .venv/bin/python -m stacflask migrate
    .venv/bin/python -m alembic revision --autogenerate --rev-id "$number" --message "$1"
fi
.venv/bin/python -m ruff check --quiet --exit-zero --fix "$folder"
.venv/bin/python -m ruff format --quiet "$folder"
