"""Download links that work without headers: in a browser, in QGIS, for a colleague. See docs/links.md.

A link is never worth more than its maker's own credential is at the moment of use, and opens downloads only. What is
kept of it in the database says who made it and what it opens; the link itself is signed, and kept nowhere.
"""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NoReturn

import click

from plugins import _tables
from plugins._link_bodies import LINK, LINKS, NARROWED, NARROWING, REVOKED, WISH, Wish, narrowing, wish
from plugins._link_tokens import (
    Keys,
    Limits,
    Link,
    Place,
    caveats,
    check,
    check_address,
    check_place,
    check_time,
    place_of,
    read,
    read_keys,
    wrong,
)
from plugins._spans import cache_seconds, remembered, span
from stacflask import (
    Answer,
    BadCredentials,
    BadDocument,
    Challenge,
    Decision,
    Endpoint,
    Loan,
    NotFound,
    Principal,
    Refused,
    Setting,
    SettingError,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stacflask import Asset, Call, Portion, Request, Services, Statements, Storage

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
REMEMBERED = 4096  # links
SCHEME = "link"
PARAMETER = "link"
LENT, SPARE = timedelta(hours=1), timedelta(hours=1)
"""How long lent addresses are good, and for how long the same link is lent again."""
SHORTEST = timedelta(seconds=1)
"""A credential that lasts no longer makes no links."""
AGAIN = 3600
"""Seconds for which a counted link may ask for further ranges of what it opened."""
SIZE = 10**14
"""Bytes that are counted of one download, at most: no store has larger objects."""
KEPT = 30
"""Days for which ended links are still listed."""

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
        longest = span(environ.get(LONGEST, "").strip() or "7d")
    except ValueError as error:
        raise SettingError(LONGEST, str(error)) from error
    return Links(read_keys(KEYS, environ.get(KEYS, "")), longest, cache_seconds(environ, CACHE))


# --- Storage ---------------------------------------------------------------------------------------------------------


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
    """Links in the database. What is read of one is remembered for ``cache`` seconds; how often it was used, never."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = remembered(self._find, cache, REMEMBERED)

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


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class Links:
    """The plugin. ``cache``: seconds for which a link is believed once looked up; a revocation takes as long."""

    keys: Keys
    longest: timedelta = timedelta(days=7)
    cache: float = 5.0
    table: Table = field(init=False, repr=False)
    recall: Callable[[Principal, datetime], Principal | None] = field(init=False, repr=False)
    _loans: dict[Any, tuple[Link, datetime]] = field(init=False, repr=False, default_factory=dict)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage, and the way to ask who a maker is now."""
        self.table = Table(services.storage, self.cache)
        self.recall = services.recall

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
        places = [check_place(kept.limits.place, request.path), *_narrowed(link.caveats, request, now)]
        claims = {"places": tuple(places), "address": request.address, "counted": kept.counted}
        maker = self._now(kept)
        scopes = frozenset(scope for scope in ("read", "download") if maker.may(scope))
        log.info("a link is used", extra={"link": kept.id})
        return Principal(maker.id, maker.groups, SCHEME, scopes, claims, reference=kept.id)

    def _now(self, kept: Kept) -> Principal:
        """Say who the maker is now."""
        try:
            maker = self.recall(kept.maker, kept.made)
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
        if not self.table.left(_place(principal, asset)):
            return _used_up()
        return Decision.remark("counted link", counted=True)

    @hookimpl
    def charge(self, principal: Principal, asset: Asset, portion: Portion) -> Decision | None:
        """Count the use of a link that is counted, or deny."""
        return self.charge_many(principal, [asset], [portion])

    @hookimpl
    def charge_many(
        self, principal: Principal, assets: Sequence[Asset], portions: Sequence[Portion]
    ) -> Decision | None:
        """Count as many uses, or deny them all."""
        if principal.scheme != SCHEME or not principal.claims["counted"]:
            return None
        uses = [_use(principal, asset, portion) for asset, portion in zip(assets, portions, strict=True)]
        return None if self.table.book(uses) else _used_up()

    @hookimpl
    def lend(self, principal: Principal, assets: Sequence[Asset]) -> Loan | None:
        """Lend a link for each asset: one is kept for each collection, and narrowed to the asset."""
        now = datetime.now(UTC)
        lifetime = min(LENT, self.longest, _left(principal, now))
        if not _can_make(principal) or lifetime < SHORTEST:
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
        return Loan(queries, lifetime)

    def _lent(self, principal: Principal, collection: str, now: datetime, lifetime: timedelta) -> Link:
        """Give a link for all of a collection that outlives ``lifetime``: the last one, or a new one."""
        known = (principal.id, principal.scheme, principal.reference, principal.groups, principal.scopes, collection)
        last = self._loans.get(known)
        if last is not None and last[1] >= now + lifetime and self._in_force(last[0]):
            return last[0]
        longest = min(lifetime + SPARE, _left(principal, now))
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

    # --- Addresses ---------------------------------------------------------------------------------------------------

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

    def make(self, call: Call) -> Answer:
        """Make a link. Raises Refused, BadDocument."""
        maker, now = call.principal, datetime.now(UTC)
        _check_maker(maker, now)
        wanted = wish(call.body, call.base_url, min(self.longest, _left(maker, now)))
        row = self.table.add(maker, wanted, now)
        link = str(self.keys.issue(row["id"]))
        body = {**_described(row), "link": link, **_hrefs(wanted.href, link, call.base_url)}
        return Answer(body, 201, {"Cache-Control": "no-store"})

    def narrow(self, call: Call) -> Answer:
        """Narrow a link. It is not asked whether it is genuine: nothing is learnt that its holder cannot work out."""
        text, href, further = narrowing(call.body, call.base_url, datetime.now(UTC))
        try:
            narrowed = str(read(text).narrowed(further))
            read(narrowed)
        except (BadCredentials, ValueError) as error:
            raise BadDocument("/link", "not a link, or one that has been narrowed too often") from error
        body = {"link": narrowed, **(_hrefs(href, narrowed, call.base_url) if href else {})}
        return Answer(body, headers={"Cache-Control": "no-store"})

    def show(self, call: Call) -> Answer:
        """List the maker's links. Raises Refused."""
        maker = _known(call.principal)
        rows = self.table.all(maker.id, maker.scheme)
        return Answer({"links": [_described(row) for row in rows]}, headers={"Cache-Control": "no-store"})

    def end(self, call: Call) -> Answer:
        """Revoke one link. Raises Refused, NotFound."""
        maker = _known(call.principal)
        ended = self.table.revoke(call.values["linkId"], maker.id, maker.scheme)
        if not ended:
            raise NotFound("You have made no such link, or it has ended already.")
        return Answer({"revoked": ended})

    def end_all(self, call: Call) -> Answer:
        """Revoke all links of who asks. Raises Refused."""
        maker = _known(call.principal)
        return Answer({"revoked": self.table.revoke(None, maker.id, maker.scheme)})

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


def _narrowed(given: Sequence[str], request: Request, now: datetime) -> list[Place]:
    """Check what the holders of a link added, and give the places they named. Raises BadCredentials."""
    try:
        found = [check(caveat, request.path, request.address, now) for caveat in given]
    except ValueError:
        raise wrong() from None
    return [place for place in found if place is not None]


def _goes_on(statements: Statements, use: Use) -> bool:
    """Go on with what was opened: of several that come at once, one opens and the others wait."""
    if statements.rows(GO_ON, **use.values()):
        return True
    statements.rows(LOCK, link=use.place["link"])
    return bool(statements.rows(GO_ON, **use.values()))


def _place(principal: Principal, asset: Asset) -> dict[str, Any]:
    """Return what an opening is known by. All files of a directory asset are parts of one."""
    return {
        "link": principal.reference,
        "collection": asset.collection,
        "item": asset.item or "",
        "asset": asset.key,
        "address": principal.claims["address"],
    }


def _use(principal: Principal, asset: Asset, portion: Portion) -> Use:
    file = f"{asset.key}/{asset.path}" if asset.path else asset.key
    opening = portion.opening and not asset.path
    return Use(_place(principal, asset), file, opening, min(portion.length or 0, SIZE), _whole(portion))


def _whole(portion: Portion) -> int | None:
    return None if portion.size is None else min(portion.size, SIZE)


def _used_up() -> Decision:
    return Decision.deny("link used up", detail="The link has been used as often as it may be.", code="LinkUsedUp")


def _known(principal: Principal) -> Principal:
    if principal.anonymous:
        _refuse("nobody makes no links", "", anonymous=True)
    return principal


def _can_make(principal: Principal) -> bool:
    """Whether who asks can be recalled later, and may download now."""
    recallable = not principal.anonymous and principal.scheme != SCHEME and principal.reference
    return bool(recallable) and principal.may("read") and principal.may("download")


def _left(principal: Principal, now: datetime) -> timedelta:
    """Say how much longer the credential at hand lasts, as far as is known; a link ends with it."""
    return timedelta.max if principal.until is None else principal.until - now


def _check_maker(principal: Principal, now: datetime) -> None:
    """Raise Refused for who cannot make links."""
    _known(principal)
    if principal.scheme == SCHEME or not principal.reference:
        _refuse("credentials that cannot be recalled", "With credentials of this kind no links can be made.")
    if not _can_make(principal):
        _refuse("the credential lacks scope download", "Your credential is not meant for downloads.")
    if _left(principal, now) < SHORTEST:
        _refuse("the credential is about to end", "Your credential is about to end, and a link would end with it.")


def _refuse(reason: str, detail: str, *, anonymous: bool = False) -> NoReturn:
    raise Refused(Decision.deny(reason, detail=detail or None), anonymous=anonymous)


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a link without giving it."""
    state = "revoked" if row["revoked"] else "expired" if row["expires"] <= datetime.now(UTC) else "valid"
    used_up = row["downloads"] is not None and row["used"] >= row["downloads"]
    return {
        "id": row["id"],
        "path": row["path"],
        "state": "used up" if state == "valid" and used_up else state,
        "made": _written(row["made"]),
        "expires": _written(row["expires"]),
        "addresses": list(row["addresses"]),
        "downloads": row["downloads"],
        "used": row["used"] if row["downloads"] is not None else None,
        "note": row["note"],
    }


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Commands --------------------------------------------------------------------------------------------------------


@click.command("key")
@click.argument("name", required=False)
def make_key(name: str | None) -> None:
    """Make a key for STACFLASK_LINKS_KEYS. Put it first; take the old one away when its links have ended."""
    name = name or f"k{datetime.now(UTC):%Y%m%d}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise click.BadParameter("expected up to 32 letters, digits, '_' and '-'")
    click.echo(f"{name}:{secrets.token_urlsafe(32)}")


@click.command("list")
@click.option("--maker", help="Only the links of this principal.")
@click.pass_obj
def list_links(plugin: Links, /, maker: str | None) -> None:
    """List the newest links; never the links themselves."""
    rows = []
    for row in plugin.table.all(maker):
        shown = _described(row)
        used = "-" if row["downloads"] is None else f"{row['used']}/{row['downloads']}"
        state = (shown["state"], shown["expires"], used)
        rows.append((row["id"], row["maker"], *state, row["path"], row["note"] or ""))
    _tables.show(("ID", "MAKER", "STATE", "EXPIRES", "USED", "OPENS", "NOTE"), rows)


@click.command("revoke")
@click.argument("link_id", metavar="[ID]", required=False)
@click.option("--maker", help="All links of this principal.")
@click.pass_obj
def revoke_links(plugin: Links, /, link_id: str | None, maker: str | None) -> None:
    """End the link ID, or all of a maker. Running servers notice within the seconds of STACFLASK_LINKS_CACHE."""
    if (link_id is None) == (maker is None):
        raise click.UsageError("say an id, or --maker")
    ended = plugin.table.revoke(link_id, maker)
    if not ended:
        raise click.ClickException("there is no such link in force")
    click.echo(f"revoked {len(ended)}", err=True)


@click.command("prune")
@click.pass_obj
def prune_links(plugin: Links, /) -> None:
    """Delete what is kept of links that ended thirty days ago."""
    click.echo(f"deleted {plugin.table.prune(KEPT)} rows", err=True)
