"""Fill in which times items have themselves, and the heights of their geometries.

Rows of items with a range and of items with heights are written again, no others. All items are read, and their documents
are decompressed, on one core. Searches go on meanwhile, and changes wait.
"""

import re

import orjson
import sqlalchemy as sa
import zstandard

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ROWS = 1000

# The columns held the instant and the range together. A time that the function does not read, a leap second, stays.
OWN_TIMES = """
    UPDATE items SET
        has_datetime = properties ->> 'datetime' IS NOT NULL,
        has_start_datetime = properties ->> 'start_datetime' IS NOT NULL,
        has_end_datetime = properties ->> 'end_datetime' IS NOT NULL,
        start_datetime = coalesce(stacflask_instant(properties ->> 'start_datetime'), start_datetime),
        end_datetime = coalesce(stacflask_instant(properties ->> 'end_datetime'), end_datetime)
    WHERE properties ->> 'start_datetime' IS NOT NULL OR properties ->> 'end_datetime' IS NOT NULL
"""
DATED = """
    UPDATE collections SET dated = EXISTS (
        SELECT FROM items WHERE items.collection = collections.id AND has_datetime
    )
"""
FORMER_TIMES = """
    UPDATE items SET
        start_datetime = CASE WHEN has_start_datetime AND has_end_datetime THEN least(datetime, start_datetime) ELSE datetime END,
        end_datetime = CASE WHEN has_start_datetime AND has_end_datetime THEN greatest(datetime, end_datetime) ELSE datetime END
    WHERE has_start_datetime OR has_end_datetime
"""


def upgrade() -> None:
    # Reads continue. Writes wait, because rows that are written meanwhile would not be filled in.
    op.execute("LOCK TABLE items IN SHARE ROW EXCLUSIVE MODE")
    op.execute(OWN_TIMES)
    op.execute(DATED)
    op.create_index(
        "items_without_datetime_idx",
        "items",
        ["collection", "datetime", "id"],
        postgresql_where=sa.text("NOT has_datetime"),
    )
    fill_in_heights(op.get_bind())


def fill_in_heights(connection: sa.Connection) -> None:
    found = sa.text("SELECT collection, id, body FROM items WHERE geometry IS NOT NULL")
    change = sa.text(
        "UPDATE items SET lowest = least(lowest, :low), highest = greatest(highest, :high) "
        "WHERE collection = :collection AND id = :id"
    )
    readers = decompressors(connection)
    rows = connection.execute(found, execution_options={"yield_per": ROWS})
    for part in rows.partitions():
        changed = []
        for collection, identifier, frame in part:
            reader = readers[zstandard.get_frame_parameters(frame).dict_id]
            heights = heights_of(reader.decompress(frame))
            if heights is not None:
                changed.append({"collection": collection, "id": identifier, "low": heights[0], "high": heights[1]})
        if changed:
            connection.execute(change, changed)


def decompressors(connection: sa.Connection) -> dict[int, zstandard.ZstdDecompressor]:
    known = {0: zstandard.ZstdDecompressor()}
    for identifier, data in connection.execute(sa.text("SELECT id, data FROM dictionaries")):
        known[identifier] = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(data))
    return known


# A position with a height looks like this; so may other members, so that a match is only a reason to look closer.
POSITION = re.compile(rb"\[\s*[-+.0-9eE]+\s*,\s*[-+.0-9eE]+\s*,\s*[-+.0-9eE]+\s*\]")


def heights_of(body: bytes) -> tuple[float, float] | None:
    """Return the least and the greatest height of an item's geometry; None if it has none, or lies at 0."""
    text = body.partition(b"\0")[0]
    if POSITION.search(text) is None:
        return None
    document = orjson.loads(text.replace(b"\x01", b"").removesuffix(b",") + b"]}")
    heights = set(third(document["geometry"]))
    if heights <= {None, 0}:
        return None
    known = [height or 0 for height in heights]
    return min(known), max(known)


def third(geometry: dict | list):
    """Yield the height of each position, or None without one."""
    if isinstance(geometry, dict):
        geometry = geometry.get("coordinates") or geometry["geometries"]
    if isinstance(geometry[0], list | dict):
        for part in geometry:
            yield from third(part)
    else:
        yield geometry[2] if len(geometry) > 2 else None


def downgrade() -> None:
    op.drop_index("items_without_datetime_idx", "items")
    op.execute(FORMER_TIMES)
