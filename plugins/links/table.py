"""The table of links, their counts and the openings of assets."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from plugins._common.durations import cached
from plugins.links.tokens import (
    Limits,
    place_of,
    wrong,
)
from stacflask import (
    Principal,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from plugins.links.bodies import Wish
    from stacflask import Statements, Storage
REMEMBERED = 4096  # links
AGAIN = 3600
"""Seconds for which a counted link may ask for further ranges of what it opened."""
KEPT = 30
"""Days for which ended links are still listed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a link. ``maker`` is as it was when it was made."""

    id: str
    maker: Principal
    made: datetime
    limits: Limits
    counted: bool
    revoked: bool


FIND = """
SELECT maker, scheme, reference, groups, scopes, path, addresses, downloads, made, expires,
revoked IS NOT NULL AS revoked
FROM plugin_links WHERE id = :id
"""

ADD = """
INSERT INTO plugin_links (id, maker, scheme, reference, groups, scopes, path, addresses, downloads, note, expires)
VALUES (:id, :maker, :scheme, :reference, :groups, :scopes, :path, :addresses, :downloads, :note, :expires)
RETURNING id, path, addresses, downloads, used, note, made, expires, revoked
"""

LIST = """
SELECT id, maker, path, addresses, downloads, used, note, made, expires, revoked FROM plugin_links
WHERE (CAST(:maker AS text) IS NULL OR maker = :maker) AND (CAST(:scheme AS text) IS NULL OR scheme = :scheme)
ORDER BY made DESC, id LIMIT :limit
"""

REVOKE = """
UPDATE plugin_links SET revoked = now()
WHERE revoked IS NULL AND expires > now() AND (CAST(:id AS text) IS NULL OR id = :id)
AND (CAST(:maker AS text) IS NULL OR maker = :maker) AND (CAST(:scheme AS text) IS NULL OR scheme = :scheme)
RETURNING id
"""

LEFT = """
SELECT downloads - used > 0 OR EXISTS (
    SELECT FROM plugin_link_openings
    WHERE link = :link AND collection = :collection AND item = :item AND asset = :asset AND address = :address
    AND opened > now() - make_interval(secs => :again)
) AS left FROM plugin_links WHERE id = :link
"""

GO_ON = """
WITH opening AS (
    SELECT opened FROM plugin_link_openings
    WHERE link = :link AND collection = :collection AND item = :item AND asset = :asset AND address = :address
    AND opened > now() - make_interval(secs => :again)
)
INSERT INTO plugin_link_openings AS o (link, collection, item, asset, address, opened, taken)
SELECT :link, :collection, :item, :file, :address, opened, :size FROM opening
WHERE CAST(:whole AS bigint) IS NULL OR :size <= 2 * CAST(:whole AS bigint)
ON CONFLICT (link, collection, item, asset, address) DO UPDATE SET
    opened = greatest(o.opened, excluded.opened),
    taken = excluded.taken + CASE WHEN o.opened >= excluded.opened THEN o.taken ELSE 0 END
    WHERE CAST(:whole AS bigint) IS NULL OR 2 * CAST(:whole AS bigint)
        >= excluded.taken + CASE WHEN o.opened >= excluded.opened THEN o.taken ELSE 0 END
RETURNING link
"""
"""Take a further part of what was opened, up to twice the size of its file."""

LOCK = "SELECT id FROM plugin_links WHERE id = :link FOR UPDATE"

BOOK = """
WITH booked AS (
    UPDATE plugin_links SET used = used + 1 WHERE id = :link AND used < downloads RETURNING id
)
INSERT INTO plugin_link_openings (link, collection, item, asset, address, opened, taken)
SELECT id, :collection, :item, :asset, :address, clock_timestamp(), :taken FROM booked
ON CONFLICT (link, collection, item, asset, address) DO UPDATE SET opened = excluded.opened, taken = excluded.taken
RETURNING link
"""

LISTED = 1000
"""Links in a list at most, the newest of them."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a download takes of a link.

    ``place`` is where, as ``plugin_link_openings`` has it. ``opening``: it is a use of its own. ``file`` is the asset,
    or the file below a directory asset; ``size`` are the bytes to be taken of it, ``whole`` is its length, if known.
    """

    place: Mapping[str, Any]
    file: str
    opening: bool
    size: int
    whole: int | None

    def values(self) -> dict[str, Any]:
        """Return the parameters of ``GO_ON``."""
        return {**self.place, "file": self.file, "size": self.size, "whole": self.whole, "again": AGAIN}


class UsedUpError(Exception):
    """Fewer uses are left than are asked for: what was counted of them is undone."""


class Table:
    """Links in the database. What is read of one is cached for ``cache`` seconds; how often it was used, never."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = cached(self._find, cache, REMEMBERED)

    def _find(self, link_id: str) -> Kept:
        """Give what is kept of a link. Raises BadCredentials if there is none."""
        rows = self._storage.rows(FIND, id=link_id)
        if not rows:
            raise wrong()
        row = rows[0]
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        maker = Principal(row["maker"], frozenset(row["groups"]), row["scheme"], scopes, reference=row["reference"])
        networks = tuple(map(ip_network, row["addresses"]))
        limits = Limits(place_of(row["path"]), networks, row["expires"])
        return Kept(link_id, maker, row["made"], limits, row["downloads"] is not None, row["revoked"])

    def add(self, maker: Principal, wanted: Wish, now: datetime) -> Mapping[str, Any]:
        """Keep a new link."""
        with self._storage.transaction() as statements:
            return statements.rows(
                ADD,
                id=secrets.token_urlsafe(12),
                maker=maker.id,
                scheme=maker.scheme,
                reference=maker.reference,
                groups=sorted(maker.groups),
                scopes=None if maker.scopes is None else sorted(maker.scopes),
                path=str(wanted.place),
                addresses=list(map(str, wanted.networks)),
                downloads=wanted.downloads,
                note=wanted.note,
                expires=now + wanted.lifetime,
            )[0]

    def all(self, maker: str | None = None, scheme: str | None = None) -> list[Mapping[str, Any]]:
        """Give the links, the newest first; of one maker, if one is named."""
        return self._storage.rows(LIST, maker=maker, scheme=scheme, limit=LISTED)

    def revoke(self, link_id: str | None = None, maker: str | None = None, scheme: str | None = None) -> list[str]:
        """End the links that fit, and give their ids."""
        with self._storage.transaction() as statements:
            return [row["id"] for row in statements.rows(REVOKE, id=link_id, maker=maker, scheme=scheme)]

    def left(self, place: Mapping[str, Any]) -> bool:
        """Whether a counted link may be used once more, or may go on with what it opened."""
        rows = self._storage.rows(LEFT, **place, again=AGAIN)
        return bool(rows and rows[0]["left"])

    def book(self, uses: Sequence[Use]) -> bool:
        """Count uses that are openings, or go on with nothing that was opened; False, and none, if too few are left."""
        with suppress(UsedUpError), self._storage.transaction() as statements:
            for use in uses:
                if not use.opening and _goes_on(statements, use):
                    continue
                # One statement finds and takes what is left: two at once wait for each other at the row.
                in_directory = use.file != use.place["asset"]
                if not statements.rows(BOOK, **use.place, taken=0 if in_directory else use.size):
                    raise UsedUpError
                if in_directory:
                    statements.rows(GO_ON, **use.values())
            return True
        return False

    def prune(self, days: int) -> int:
        """Delete links that ended so many days ago, and give their number."""
        with self._storage.transaction() as statements:
            return len(
                statements.rows(
                    "DELETE FROM plugin_links WHERE expires < now() - make_interval(days => :days) RETURNING id",
                    days=days,
                )
            )


def _goes_on(statements: Statements, use: Use) -> bool:
    """Go on with what was opened: of several that come at once, one opens and the others wait."""
    if statements.rows(GO_ON, **use.values()):
        return True
    statements.rows(LOCK, link=use.place["link"])
    return bool(statements.rows(GO_ON, **use.values()))
