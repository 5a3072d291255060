"""Download links that work without headers: in browsers, in QGIS, for other people. See docs/links.md.

A link has at most the rights that its creator's credential has when it is used, and it opens downloads only. The
database has the creator and the target of a link. The link itself is signed, and is not stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from stacflask import (
    Asset,
    BadCredentials,
    ByteRange,
    Challenge,
    Decision,
    Endpoint,
    Principal,
    Request,
    Services,
    Setting,
    SettingError,
    SignedQueries,
    hookimpl,
)

from .._common.durations import cache_seconds, parse_duration
from .commands import list_links, make_key, prune_links, revoke_links
from .creators import SCHEME, check_caveats
from .endpoints import PARAMETER, LinkEndpoints
from .signed_hrefs import CollectionLinks
from .table import LinkTables, StoredLink
from .tokens import (
    SigningKeys,
    check_address,
    check_expiry,
    check_target,
    invalid_link,
    parse_link,
    read_keys,
)
from .uses import link_use, use_key, used_up

log = logging.getLogger(__name__)

KEYS = "STACFLASK_LINKS_KEYS"
MAX_LIFETIME = "STACFLASK_LINKS_MAX_LIFETIME"
CACHE = "STACFLASK_LINKS_CACHE"

COMMANDS = ("links",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (
    Setting(
        KEYS,
        "Keys that sign links, `name:secret,name:secret`; the first signs, all verify.",
        required=True,
        secret=True,
    ),
    Setting(MAX_LIFETIME, "The longest lifetime of a link; longer ones are shortened to it.", "7d"),
    Setting(CACHE, "Seconds that a link is cached; a revocation takes effect within them.", "5"),
)

CHALLENGE = Challenge(
    "",
    "downloadLink",
    {
        "type": "apiKey",
        "in": "query",
        "name": PARAMETER,
        "description": "A download link (`POST /links`). It is valid only for downloads of its target.",
    },
)


def create_plugin(environ: Mapping[str, str]) -> Links:
    """Return the plugin. Raises SettingError."""
    try:
        max_lifetime = parse_duration(environ.get(MAX_LIFETIME, "").strip() or "7d")
    except ValueError as error:
        raise SettingError(MAX_LIFETIME, str(error)) from error
    return Links(read_keys(KEYS, environ.get(KEYS, "")), max_lifetime, cache_seconds(environ, CACHE))


@dataclass
class Links:
    """The plugin. ``cache``: seconds that a link is cached, so that a revocation takes effect within them."""

    keys: SigningKeys
    max_lifetime: timedelta = timedelta(days=7)
    cache: float = 5.0
    table: LinkTables = field(init=False, repr=False)
    refresh_principal: Callable[[Principal, datetime], Principal | None] = field(init=False, repr=False)
    collection_links: CollectionLinks = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage and the function that refreshes a link's creator."""
        self.table = LinkTables(services.storage, self.cache)
        self.refresh_principal = services.refresh_principal
        self.collection_links = CollectionLinks(self.keys, self.max_lifetime, self.table)

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Return the description of the parameter, without a header for 401 responses."""
        return [CHALLENGE]

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        """Return the creator of a link with the current rights, for this download only. Raises BadCredentials."""
        texts = {text for text in (request.query.get(PARAMETER), request.token or None) if text is not None}
        if not texts:
            return None
        if len(texts) > 1:
            raise invalid_link()
        link = parse_link(texts.pop())
        self.keys.verify(link)
        stored, now = self.table.find(link.id), datetime.now(UTC)
        check_expiry(stored.limits.expires, now)
        if stored.revoked:
            raise BadCredentials("The link was revoked.", code="LinkRevoked")
        if request.method not in ("GET", "HEAD"):
            raise BadCredentials("The link is valid only for downloads with GET or HEAD.", code="LinkElsewhere")
        check_address(stored.limits.networks, request.address)
        targets = [check_target(stored.limits.target, request.path), *check_caveats(link.caveats, request, now)]
        claims = {"targets": tuple(targets), "address": request.address, "counted": stored.counted}
        creator = self._current_creator(stored)
        scopes = frozenset(scope for scope in ("read", "download") if creator.may(scope))
        log.info("link used", extra={"link": stored.id})
        return Principal(creator.id, creator.groups, SCHEME, scopes, claims, reference=stored.id)

    def _current_creator(self, stored: StoredLink) -> Principal:
        """Return the creator with its current rights. Raises BadCredentials if its credential has ended."""
        try:
            creator = self.refresh_principal(stored.creator, stored.created)
        except BadCredentials:
            creator = None
        if creator is None or creator.anonymous or creator.id != stored.creator.id:
            raise BadCredentials("The credentials that created this link are no longer valid.", code="LinkEnded")
        return creator

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision | None:
        """Deny assets outside the link's targets, and a counted link that is used up."""
        if principal.scheme != SCHEME:
            return None
        if not all(target.covers(asset) for target in principal.claims["targets"]):
            return Decision.deny("asset outside the link's target", detail="The link is not valid for this asset.")
        if not principal.claims["counted"]:
            return None
        if not self.table.has_uses(use_key(principal, asset)):
            return used_up()
        return Decision.abstain("counted link", counted=True)

    @hookimpl
    def charge(self, principal: Principal, asset: Asset, byte_range: ByteRange) -> Decision | None:
        """Count the use of a counted link, or deny."""
        return self.charge_many(principal, [asset], [byte_range])

    @hookimpl
    def charge_many(
        self, principal: Principal, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]
    ) -> Decision | None:
        """Count all uses, or count none and deny."""
        if principal.scheme != SCHEME or not principal.claims["counted"]:
            return None
        uses = [link_use(principal, asset, byte_range) for asset, byte_range in zip(assets, byte_ranges, strict=True)]
        return None if self.table.book(uses) else used_up()

    @hookimpl
    def sign_queries(self, principal: Principal, assets: Sequence[Asset]) -> SignedQueries | None:
        """Return a link for each asset."""
        return self.collection_links.sign(principal, assets)

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the endpoints that create, narrow, list and revoke links."""
        return LinkEndpoints(self).all()

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask links``."""
        group = click.Group(
            "links",
            commands=[make_key, list_links, revoke_links, prune_links],
            help="List and revoke download links, and create keys that sign them.",
            context_settings={"obj": self},
        )
        return [group]
