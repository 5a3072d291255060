"""Reading the instant that a string spells is a function, so that an index can hold what it gives.

PostgreSQL takes a cast from text to a time for one that depends on the session. Of strings with their own offset it does
not, and only those are cast here: nothing that rows hold can make it fail.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

DAY = (
    "([0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
TIME = "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?([Zz]|[+-](0[0-9]|1[0-5]):[0-5][0-9])"

INSTANT = f"""
CREATE FUNCTION stacflask_instant(spelt text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    -- There was no year 0, and a calendar that does not begin with it.
    IF spelt COLLATE "C" < '0001' THEN
        RETURN NULL;
    ELSIF spelt ~ '^{DAY}{TIME}$' THEN
        RETURN spelt::timestamptz;
    ELSIF spelt ~ '^{DAY}$' THEN
        RETURN (spelt || 'T00:00:00Z')::timestamptz;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute(INSTANT.replace(":", "\\:"))


def downgrade() -> None:
    op.execute("DROP FUNCTION stacflask_instant")
