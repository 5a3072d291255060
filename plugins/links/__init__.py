"""Download links that work without headers: in a browser, in QGIS, for a colleague. See docs/links.md.

A link is never worth more than its maker's own credential is at the moment of use, and opens downloads only. What is
kept of it in the database says who made it and what it opens; the link itself is signed, and kept nowhere.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from plugins._common.durations import cache_seconds, parse_duration
from plugins.links.bodies import LINK, LINKS, NARROWED, NARROWING, REVOKED, WISH, Wish, narrowing, wish
from plugins.links.bookings import place_of_use, use_of, used_up
from plugins.links.commands import list_links, make_key, prune_links, revoke_links
from plugins.links.making import (
    SCHEME,
    SHORTEST,
    can_make,
    check_known,
    check_maker,
    check_narrowing,
    described,
    time_left,
)
from plugins.links.table import REMEMBERED, Kept, Table
from plugins.links.tokens import (
    Keys,
    Link,
    Place,
    caveats,
    check_address,
    check_place,
    check_time,
    read,
    read_keys,
    wrong,
)
from stacflask import (
    BadCredentials,
    BadDocument,
    Challenge,
    Decision,
    Endpoint,
    EndpointResponse,
    NotFound,
    Principal,
    Setting,
    SettingError,
    SignedQueries,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stacflask import Asset, ByteRange, EndpointRequest, Request, Services

log = logging.getLogger(__name__)

KEYS = "STACFLASK_LINKS_KEYS"
LONGEST = "STACFLASK_LINKS_LONGEST"
CACHE = "STACFLASK_LINKS_CACHE"

COMMANDS = ("links",)
SETTINGS = (
    Setting(
        KEYS,
        "Keys that sign links, `name:secret,name:secret`; the first signs, all verify.",
        required=True,
        secret=True,
    ),
    Setting(LONGEST, "How long a link may be good, at most; more is clamped.", "7d"),
    Setting(CACHE, "Seconds for which it is trusted that a link was not revoked.", "5"),
)
PARAMETER = "link"
LENT, SPARE = timedelta(hours=1), timedelta(hours=1)
"""How long lent addresses are good, and for how long the same link is lent again."""

CHALLENGE = Challenge(
    "",
    "downloadLink",
    {
        "type": "apiKey",
        "in": "query",
        "name": PARAMETER,
        "description": "A download link (`POST /links`). Good for downloads only, of what it was made for.",
    },
)


def create_plugin(environ: Mapping[str, str]) -> Links:
    """Make the plugin. Raises SettingError."""
    try:
        longest = parse_duration(environ.get(LONGEST, "").strip() or "7d")
    except ValueError as error:
        raise SettingError(LONGEST, str(error)) from error
    return Links(read_keys(KEYS, environ.get(KEYS, "")), longest, cache_seconds(environ, CACHE))


@dataclass
class Links:
    """The plugin. ``cache``: seconds for which a link is believed once looked up; a revocation takes as long."""

    keys: Keys
    longest: timedelta = timedelta(days=7)
    cache: float = 5.0
    table: Table = field(init=False, repr=False)
    refresh_principal: Callable[[Principal, datetime], Principal | None] = field(init=False, repr=False)
    _loans: dict[Any, tuple[Link, datetime]] = field(init=False, repr=False, default_factory=dict)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage, and the way to ask who a maker is now."""
        self.table = Table(services.storage, self.cache)
        self.refresh_principal = services.refresh_principal

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Describe the parameter; it is no answer to a 401."""
        return [CHALLENGE]

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        """Recognise a link: who asks is its maker, as he is now, for this download only. Raises BadCredentials."""
        texts = {text for text in (request.query.get(PARAMETER), request.token or None) if text is not None}
        if not texts:
            return None
        if len(texts) > 1:
            raise wrong()
        link = read(texts.pop())
        self.keys.verify(link)
        kept, now = self.table.find(link.id), datetime.now(UTC)
        check_time(kept.limits.expires, now)
        if kept.revoked:
            raise BadCredentials("The link was revoked.", code="LinkRevoked")
        if request.method not in ("GET", "HEAD"):
            raise BadCredentials("The link is good for downloads only.", code="LinkElsewhere")
        check_address(kept.limits.networks, request.address)
        places = [check_place(kept.limits.place, request.path), *check_narrowing(link.caveats, request, now)]
        claims = {"places": tuple(places), "address": request.address, "counted": kept.counted}
        maker = self._now(kept)
        scopes = frozenset(scope for scope in ("read", "download") if maker.may(scope))
        log.info("a link is used", extra={"link": kept.id})
        return Principal(maker.id, maker.groups, SCHEME, scopes, claims, reference=kept.id)

    def _now(self, kept: Kept) -> Principal:
        """Say who the maker is now."""
        try:
            maker = self.refresh_principal(kept.maker, kept.made)
        except BadCredentials:
            maker = None
        if maker is None or maker.anonymous or maker.id != kept.maker.id:
            raise BadCredentials("The credentials that made this link have ended.", code="LinkEnded")
        return maker

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision | None:
        """Deny what the link was not made for, and a counted link that is used up."""
        if principal.scheme != SCHEME:
            return None
        if not all(place.covers(asset) for place in principal.claims["places"]):
            return Decision.deny("another asset than the link's", detail="The link is not good for this asset.")
        if not principal.claims["counted"]:
            return None
        if not self.table.left(place_of_use(principal, asset)):
            return used_up()
        return Decision.abstain("counted link", counted=True)

    @hookimpl
    def charge(self, principal: Principal, asset: Asset, byte_range: ByteRange) -> Decision | None:
        """Count the use of a link that is counted, or deny."""
        return self.charge_many(principal, [asset], [byte_range])

    @hookimpl
    def charge_many(
        self, principal: Principal, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]
    ) -> Decision | None:
        """Count as many uses, or deny them all."""
        if principal.scheme != SCHEME or not principal.claims["counted"]:
            return None
        uses = [use_of(principal, asset, byte_range) for asset, byte_range in zip(assets, byte_ranges, strict=True)]
        return None if self.table.book(uses) else used_up()

    @hookimpl
    def sign_queries(self, principal: Principal, assets: Sequence[Asset]) -> SignedQueries | None:
        """Lend a link for each asset: one is kept for each collection, and narrowed to the asset."""
        now = datetime.now(UTC)
        lifetime = min(LENT, self.longest, time_left(principal, now))
        if not can_make(principal) or lifetime < SHORTEST:
            return None
        wanted: dict[str, list[int]] = {}
        for number, asset in enumerate(assets):
            wanted.setdefault(asset.collection, []).append(number)
        queries = [""] * len(assets)
        for collection, numbers in wanted.items():
            link = self._lent(principal, collection, now, lifetime).narrowed(caveats(None, [], now + lifetime))
            places = (Place(collection, assets[number].item, assets[number].key) for number in numbers)
            for number, text in zip(numbers, link.narrowed_to(places), strict=True):
                queries[number] = f"{PARAMETER}={text}"
        return SignedQueries(queries, lifetime)

    def _lent(self, principal: Principal, collection: str, now: datetime, lifetime: timedelta) -> Link:
        """Give a link for all of a collection that outlives ``lifetime``: the last one, or a new one."""
        known = (principal.id, principal.scheme, principal.reference, principal.groups, principal.scopes, collection)
        last = self._loans.get(known)
        if last is not None and last[1] >= now + lifetime and self._in_force(last[0]):
            return last[0]
        longest = min(lifetime + SPARE, time_left(principal, now))
        row = self.table.add(principal, Wish(Place(collection), "", (), longest, None, "lent"), now)
        link = self.keys.issue(row["id"])
        if len(self._loans) >= REMEMBERED:
            self._loans.clear()
        self._loans[known] = link, row["expires"]
        return link

    def _in_force(self, link: Link) -> bool:
        """Whether a link that was lent has not been revoked since, or even forgotten."""
        try:
            return not self.table.find(link.id).revoked
        except BadCredentials:
            return False

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the addresses where links are made, narrowed, listed and revoked."""
        one, few = "/links/{linkId}", (400, 403)
        return [
            Endpoint("POST", "/links", self.make, "Make a download link.", LINK, WISH, 201, few, scope="download"),
            Endpoint(
                "POST", "/links/narrowed", self.narrow, "Narrow a download link.", NARROWED, NARROWING, scope="read"
            ),
            Endpoint("GET", "/links", self.show, "List the download links that you made.", LINKS),
            Endpoint(
                "DELETE", "/links", self.end_all, "Revoke all download links that you made.", REVOKED, scope="download"
            ),
            Endpoint("DELETE", one, self.end, "Revoke a download link.", REVOKED, statuses=(404,), scope="download"),
        ]

    def make(self, call: EndpointRequest) -> EndpointResponse:
        """Make a link. Raises Refused, BadDocument."""
        maker, now = call.principal, datetime.now(UTC)
        check_maker(maker, now)
        wanted = wish(call.body, call.base_url, min(self.longest, time_left(maker, now)))
        row = self.table.add(maker, wanted, now)
        link = str(self.keys.issue(row["id"]))
        body = {**described(row), "link": link, **_hrefs(wanted.href, link, call.base_url)}
        return EndpointResponse(body, 201, {"Cache-Control": "no-store"})

    def narrow(self, call: EndpointRequest) -> EndpointResponse:
        """Narrow a link. It is not asked whether it is genuine: nothing is learnt that its holder cannot work out."""
        text, href, further = narrowing(call.body, call.base_url, datetime.now(UTC))
        try:
            narrowed = str(read(text).narrowed(further))
            read(narrowed)
        except (BadCredentials, ValueError) as error:
            raise BadDocument("/link", "not a link, or one that has been narrowed too often") from error
        body = {"link": narrowed, **(_hrefs(href, narrowed, call.base_url) if href else {})}
        return EndpointResponse(body, headers={"Cache-Control": "no-store"})

    def show(self, call: EndpointRequest) -> EndpointResponse:
        """List the maker's links. Raises Refused."""
        maker = check_known(call.principal)
        rows = self.table.all(maker.id, maker.scheme)
        return EndpointResponse({"links": [described(row) for row in rows]}, headers={"Cache-Control": "no-store"})

    def end(self, call: EndpointRequest) -> EndpointResponse:
        """Revoke one link. Raises Refused, NotFound."""
        maker = check_known(call.principal)
        ended = self.table.revoke(call.values["linkId"], maker.id, maker.scheme)
        if not ended:
            raise NotFound("You have made no such link, or it has ended already.")
        return EndpointResponse({"revoked": ended})

    def end_all(self, call: EndpointRequest) -> EndpointResponse:
        """Revoke all links of who asks. Raises Refused."""
        maker = check_known(call.principal)
        return EndpointResponse({"revoked": self.table.revoke(None, maker.id, maker.scheme)})

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask links``."""
        group = click.Group(
            "links",
            commands=[make_key, list_links, revoke_links, prune_links],
            help="List and revoke download links, and make keys that sign them.",
            context_settings={"obj": self},
        )
        return [group]


def _hrefs(href: str, link: str, base_url: str) -> dict[str, str]:
    """Return an address with a link in its query, and one with it in its path, to which a path can be appended."""
    path = href.removeprefix(base_url)
    return {"href": f"{href}?{PARAMETER}={link}", "base": f"{base_url}/signed/{link}{path}"}
