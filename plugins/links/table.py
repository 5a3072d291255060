"""The table of links, their counts and the openings of assets."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from stacflask import Principal, Statements, Storage

from .._common.durations import cached
from .bodies import LinkRequest
from .tokens import Limits, invalid_link, parse_target

CACHED_LINKS = 4096
OPENING_SECONDS = 3600
"""How long a counted link can be used for further ranges of an opened asset."""
PRUNE_AFTER_DAYS = 30


@dataclass(frozen=True, slots=True)
class StoredLink:
    """A link in the database. ``creator`` is the principal as it was when the link was created."""

    id: str
    creator: Principal
    created: datetime
    limits: Limits
    counted: bool
    revoked: bool


FIND = """
SELECT principal, scheme, reference, groups, scopes, path, addresses, downloads, created, expires,
revoked IS NOT NULL AS revoked
FROM plugin_links WHERE id = :id
"""

ADD = """
INSERT INTO plugin_links (id, principal, scheme, reference, groups, scopes, path, addresses, downloads, note, expires)
VALUES (:id, :principal, :scheme, :reference, :groups, :scopes, :path, :addresses, :downloads, :note, :expires)
RETURNING id, path, addresses, downloads, used, note, created, expires, revoked
"""

LIST = """
SELECT id, principal, path, addresses, downloads, used, note, created, expires, revoked FROM plugin_links
WHERE (CAST(:principal AS text) IS NULL OR principal = :principal)
AND (CAST(:scheme AS text) IS NULL OR scheme = :scheme)
ORDER BY created DESC, id LIMIT :limit
"""

REVOKE = """
UPDATE plugin_links SET revoked = now()
WHERE revoked IS NULL AND expires > now() AND (CAST(:id AS text) IS NULL OR id = :id)
AND (CAST(:principal AS text) IS NULL OR principal = :principal)
AND (CAST(:scheme AS text) IS NULL OR scheme = :scheme)
RETURNING id
"""

HAS_USES = """
SELECT downloads - used > 0 OR EXISTS (
    SELECT FROM plugin_links_openings
    WHERE link = :link AND collection = :collection AND item = :item AND asset = :asset AND address = :address
    AND opened > now() - make_interval(secs => :again)
) AS left FROM plugin_links WHERE id = :link
"""

CONTINUE = """
WITH opening AS (
    SELECT opened FROM plugin_links_openings
    WHERE link = :link AND collection = :collection AND item = :item AND asset = :asset AND address = :address
    AND opened > now() - make_interval(secs => :again)
)
INSERT INTO plugin_links_openings AS o (link, collection, item, asset, address, opened, bytes)
SELECT :link, :collection, :item, :file, :address, opened, :size FROM opening
WHERE CAST(:whole AS bigint) IS NULL OR :size <= 2 * CAST(:whole AS bigint)
ON CONFLICT (link, collection, item, asset, address) DO UPDATE SET
    opened = greatest(o.opened, excluded.opened),
    bytes = excluded.bytes + CASE WHEN o.opened >= excluded.opened THEN o.bytes ELSE 0 END
    WHERE CAST(:whole AS bigint) IS NULL OR 2 * CAST(:whole AS bigint)
        >= excluded.bytes + CASE WHEN o.opened >= excluded.opened THEN o.bytes ELSE 0 END
RETURNING link
"""
"""Count a further part of an opened asset, up to twice the size of its file."""

LOCK = "SELECT id FROM plugin_links WHERE id = :link FOR UPDATE"

BOOK = """
WITH booked AS (
    UPDATE plugin_links SET used = used + 1 WHERE id = :link AND used < downloads RETURNING id
)
INSERT INTO plugin_links_openings (link, collection, item, asset, address, opened, bytes)
SELECT id, :collection, :item, :asset, :address, clock_timestamp(), :bytes FROM booked
ON CONFLICT (link, collection, item, asset, address) DO UPDATE SET opened = excluded.opened, bytes = excluded.bytes
RETURNING link
"""

MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class LinkUse:
    """The use of a link by one download.

    ``key`` is the key in ``plugin_links_openings``. ``opening``: the download is an opening itself. ``file`` is the
    asset, or the file of a directory asset; ``size`` is the number of bytes to send; ``whole`` is the size of the file,
    if known.
    """

    key: Mapping[str, Any]
    file: str
    opening: bool
    size: int
    whole: int | None

    def values(self) -> dict[str, Any]:
        """Return the parameters of ``CONTINUE``."""
        return {**self.key, "file": self.file, "size": self.size, "whole": self.whole, "again": OPENING_SECONDS}


class UsedUpError(Exception):
    """Fewer uses are left than the request needs. The transaction is rolled back."""


class LinkTables:
    """Links in the database. A link is cached for ``cache`` seconds; the number of its uses is not cached."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = cached(self._find, cache, CACHED_LINKS)

    def _find(self, link_id: str) -> StoredLink:
        """Return a link. Raises BadCredentials if there is none."""
        rows = self._storage.rows(FIND, id=link_id)
        if not rows:
            raise invalid_link()
        row = rows[0]
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        groups = frozenset(row["groups"])
        creator = Principal(row["principal"], groups, row["scheme"], scopes, reference=row["reference"])
        networks = tuple(map(ip_network, row["addresses"]))
        limits = Limits(parse_target(row["path"]), networks, row["expires"])
        return StoredLink(link_id, creator, row["created"], limits, row["downloads"] is not None, row["revoked"])

    def add(self, creator: Principal, requested: LinkRequest, now: datetime) -> Mapping[str, Any]:
        """Store a new link, and return its row."""
        (row,) = self._storage.write(
            ADD,
            id=secrets.token_urlsafe(12),
            principal=creator.id,
            scheme=creator.scheme,
            reference=creator.reference,
            groups=sorted(creator.own_groups),
            scopes=None if creator.scopes is None else sorted(creator.scopes),
            path=str(requested.target),
            addresses=list(map(str, requested.networks)),
            downloads=requested.downloads,
            note=requested.note,
            expires=now + requested.lifetime,
        )
        return row

    def all(self, principal: str | None = None, scheme: str | None = None) -> list[Mapping[str, Any]]:
        """Return the newest ``MAX_LISTED`` links, of all creators or of one, newest first."""
        return self._storage.rows(LIST, principal=principal, scheme=scheme, limit=MAX_LISTED)

    def revoke(self, link_id: str | None = None, principal: str | None = None, scheme: str | None = None) -> list[str]:
        """Revoke the valid links that match, and return their ids."""
        return [row["id"] for row in self._storage.write(REVOKE, id=link_id, principal=principal, scheme=scheme)]

    def has_uses(self, key: Mapping[str, Any]) -> bool:
        """Return whether a counted link has a use left, or an opening of the asset to continue."""
        rows = self._storage.rows(HAS_USES, **key, again=OPENING_SECONDS)
        return bool(rows and rows[0]["left"])

    def book(self, uses: Sequence[LinkUse]) -> bool:
        """Count each use that does not continue an opening. Return False, and count none, if too few are left."""
        with suppress(UsedUpError), self._storage.transaction() as statements:
            for use in uses:
                if not use.opening and _continues(statements, use):
                    continue
                # One statement checks and counts, so that concurrent requests wait for each other at the row.
                in_directory = use.file != use.key["asset"]
                if not statements.rows(BOOK, **use.key, bytes=0 if in_directory else use.size):
                    raise UsedUpError
                if in_directory:
                    statements.rows(CONTINUE, **use.values())
            return True
        return False

    def prune(self, days: int) -> int:
        """Delete links that expired more than ``days`` days ago, and return their number."""
        return len(
            self._storage.write(
                "DELETE FROM plugin_links WHERE expires < now() - make_interval(days => :days) RETURNING id",
                days=days,
            )
        )


def _continues(statements: Statements, use: LinkUse) -> bool:
    """Count a use that continues an opening, and return whether it does. Of concurrent requests, one opens."""
    if statements.rows(CONTINUE, **use.values()):
        return True
    statements.rows(LOCK, link=use.key["link"])
    return bool(statements.rows(CONTINUE, **use.values()))
