"""Links for signed hrefs: one link for each principal and collection, narrowed to each asset."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from cachetools import LRUCache

from stacflask import Asset, BadCredentials, Principal, SignedQueries

from .bodies import LinkRequest
from .creators import MIN_LIFETIME, can_make, time_left
from .endpoints import PARAMETER
from .table import CACHED_LINKS, LinkTables
from .tokens import Link, SigningKeys, Target, caveats

LIFETIME, SPARE_LIFETIME = timedelta(hours=1), timedelta(hours=1)
"""How long signed hrefs are valid, and how long the same link of a collection is used again."""


@dataclass
class CollectionLinks:
    """The links of collections that this process has created for signed hrefs."""

    keys: SigningKeys
    max_lifetime: timedelta
    table: LinkTables
    _links: LRUCache[Any, tuple[Link, datetime]] = field(
        init=False, repr=False, default_factory=lambda: LRUCache(CACHED_LINKS)
    )
    _lock: Lock = field(init=False, repr=False, default_factory=Lock)

    def sign(self, principal: Principal, assets: Sequence[Asset]) -> SignedQueries | None:
        """Return a query for each asset; None if the principal cannot create links."""
        now = datetime.now(UTC)
        lifetime = min(LIFETIME, self.max_lifetime, time_left(principal, now))
        if not can_make(principal) or lifetime < MIN_LIFETIME:
            return None
        by_collection: dict[str, list[int]] = {}
        for number, asset in enumerate(assets):
            by_collection.setdefault(asset.collection, []).append(number)
        queries = [""] * len(assets)
        for collection, numbers in by_collection.items():
            link = self._link(principal, collection, now, lifetime).narrowed(caveats(None, [], now + lifetime))
            targets = (Target(collection, assets[number].item, assets[number].key) for number in numbers)
            for number, text in zip(numbers, link.narrowed_to(targets), strict=True):
                queries[number] = f"{PARAMETER}={text}"
        return SignedQueries(queries, lifetime)

    def _link(self, principal: Principal, collection: str, now: datetime, lifetime: timedelta) -> Link:
        """Return a link of a collection that is valid for ``lifetime``: the last one, or a new one."""
        key = (principal.id, principal.scheme, principal.reference, principal.groups, principal.scopes, collection)
        with self._lock:
            last = self._links.get(key)
        if last is not None and last[1] >= now + lifetime and self._is_valid(last[0]):
            return last[0]
        longest = min(lifetime + SPARE_LIFETIME, time_left(principal, now))
        row = self.table.add(principal, LinkRequest(Target(collection), "", (), longest, None, "signed hrefs"), now)
        link = self.keys.issue(row["id"])
        with self._lock:
            self._links[key] = link, row["expires"]
        return link

    def _is_valid(self, link: Link) -> bool:
        """Return whether a link has not been revoked or deleted."""
        try:
            return not self.table.find(link.id).revoked
        except BadCredentials:
            return False
