r"""The instants that strings spell have any number of digits after the second.

Digits beyond microseconds are cut off, as in `datetime` and in searches; a cast alone rounds them, and refuses long ones.
Only strings with more than six digits get another value. An index on a property that holds such strings is built again.
"""

import sqlalchemy as sa

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

DAY = (
    "([0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
CLOCK, OFFSET = "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]", "([Zz]|[+-](0[0-9]|1[0-5]):[0-5][0-9])"

INSTANT = """
CREATE OR REPLACE FUNCTION stacflask_instant(spelt text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    -- There was no year 0, and a calendar that does not begin with it.
    IF spelt COLLATE "C" < '0001' THEN
        RETURN NULL;
    ELSIF spelt ~ '^{day}{clock}{fraction}{offset}$' THEN
        RETURN {cast};
    ELSIF spelt ~ '^{day}$' THEN
        RETURN (spelt || 'T00:00:00Z')::timestamptz;
    END IF;
    RETURN NULL;
END $$
"""
# The expression is evaluated for long fractions only.
CUT = (
    "CASE WHEN substr(spelt, 27, 1) ~ '[0-9]' AND substr(spelt, 20, 1) = '.'"
    " THEN regexp_replace(spelt, '([.][0-9]{6})[0-9]+', '\\1')::timestamptz ELSE spelt::timestamptz END"
)
INDEXES = """
    SELECT format('%I.%I', schemaname, indexname) FROM pg_indexes
    WHERE schemaname = current_schema() AND indexdef LIKE '%stacflask_instant%'
"""


def define(fraction: str, cast: str) -> None:
    text = INSTANT.format(day=DAY, clock=CLOCK, fraction=fraction, offset=OFFSET, cast=cast)
    op.get_bind().exec_driver_sql(text.replace("%", "%%"))
    for name in op.get_bind().execute(sa.text(INDEXES)).scalars().all():
        op.get_bind().exec_driver_sql(f"REINDEX INDEX {name}")


def upgrade() -> None:
    define("([.][0-9]+)?", CUT)


def downgrade() -> None:
    define("([.][0-9]{1,9})?", "spelt::timestamptz")
