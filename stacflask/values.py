"""The words of the house: what crosses between its rooms, as small frozen records without behaviour of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from stacflask.readonly import EMPTY, ReadOnlyDict, read_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

Json: TypeAlias = Any
Document: TypeAlias = dict[str, Any]
Cql2: TypeAlias = dict[str, Any] | bool
"""A condition in CQL2 JSON (OGC 21-065r2); ``True`` and ``False`` are conditions too."""

NOTHING = EMPTY


def _nothing() -> Mapping[str, Any]:
    return EMPTY


def _protect(record: object, name: str) -> None:
    """Make a mapping of a frozen record read-only: several plugins get it, and none may change it for the others."""
    object.__setattr__(record, name, read_only(getattr(record, name)))


class Condition(dict[str, Any]):
    """A condition of the plugin ``by``, by whose name mistakes in it are logged."""

    __slots__ = ("by",)

    def __init__(self, members: dict[str, Any], by: str) -> None:
        super().__init__(members)
        self.by = by


# --- Who asks, and how -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What an authenticating plugin may look at.

    ``headers`` are looked up without regard to case. ``address`` is the client's address as far as it can be trusted,
    ``base_url`` the address that clients use for this API, without a slash at its end. ``token`` is the credential of
    an address that begins with ``/signed/{token}``; ``path`` is without this beginning.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    token: str = ""

    def credentials(self, scheme: str) -> str | None:
        """Give what follows ``scheme`` (``Bearer``, ``Basic``) in Authorization (RFC 9110, 11.4), or None."""
        name, _, rest = self.headers.get("Authorization", "").partition(" ")
        return rest.strip() if name.lower() == scheme.lower() else None


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, as the plugin that recognised the credentials describes them.

    ``scheme`` names that plugin's kind of credential and is empty for nobody in particular.
    ``scopes`` are the rights the credential is limited to (``read``, ``write``, ``download``); None: not limited.
    ``reference`` names the credential without its secret: by it the plugin's ``recall`` finds it again later, for a
    link that its holder made. Empty: there is no finding it again, and no such links. ``until`` is when ``recall`` will
    vouch no more, where that is known already: no link is said to last longer.
    """

    id: str
    groups: frozenset[str] = frozenset()
    scheme: str = ""
    scopes: frozenset[str] | None = None
    claims: Mapping[str, Any] = field(default_factory=_nothing)
    reference: str = ""
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Make the claims read-only."""
        if type(self.claims) is not ReadOnlyDict:
            _protect(self, "claims")

    @property
    def anonymous(self) -> bool:
        """Whether no plugin recognised anybody."""
        return not self.scheme

    def may(self, scope: str) -> bool:
        """Whether the credential at hand covers ``scope``; what the person may do is another question."""
        return self.scopes is None or scope in self.scopes


ANONYMOUS = Principal("anonymous")


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a plugin wants to be asked: a WWW-Authenticate value, and the same thing as an OpenAPI security scheme.

    ``header`` is empty where there is no such value: for a cookie, or a parameter of the query. ``stac`` is the scheme
    of the STAC authentication extension, where that is another; empty: it is not told there. ``instruction`` is the
    next step for a user without credentials, which a 401 shows: ``send an API key as a bearer token``. In these two,
    ``{base_url}`` stands for the address of this API.
    """

    header: str
    name: str
    scheme: Mapping[str, Any]
    stac: Mapping[str, Any] | None = None
    instruction: str = ""


# --- What is asked for -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of an item, or of a collection when ``item`` is None.

    ``href`` is where the bytes truly are; it never leaves the house. ``size`` is ``file:size`` in bytes, where given.
    ``properties`` are the item's (or the collection's own members), overlaid with the asset's. ``path`` leads from a
    directory asset to the file below it that is meant; else it is empty.
    """

    collection: str
    item: str | None
    key: str
    href: str
    media_type: str | None = None
    size: int | None = None
    roles: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=_nothing)
    path: str = ""

    def __post_init__(self) -> None:
        """Make the properties read-only."""
        if type(self.properties) is not ReadOnlyDict:
            _protect(self, "properties")


@dataclass(frozen=True, slots=True)
class Change:
    """One change asked for over HTTP. ``item`` is None when the collection itself is meant; a POST has no id yet.

    ``new_collection``: the collection itself is to be created; otherwise ``create`` is about items in it.
    """

    action: Literal["create", "replace", "update", "delete"]
    collection: str
    item: str | None = None
    new_collection: bool = False


# --- What is decided -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """One plugin's answer. ``reason`` is for the log, ``detail`` for the client.

    ``kind`` says how a denial is told: ``forbidden`` (403) or ``exhausted`` (429). ``code`` is the error's code in the
    answer, ``link`` an address path of this API where the client can change the outcome (a licence to accept).
    ``headers`` go into the answer either way. ``counted`` forbids caching it: every download must come by.
    ``scope`` is what the credential itself is not meant for, whoever holds it (RFC 6750, 3.1).
    ``allowed`` is None for a remark, which adds to what others decide and decides nothing itself.
    ``max_bytes`` is the size of the largest object that a consent or a remark covers, as its store reports it.
    ``by`` is the name of the plugin that gave it; the house fills it in, and leaves it empty for answers of its own.
    """

    allowed: bool | None
    reason: str
    detail: str | None = None
    kind: Literal["forbidden", "exhausted"] = "forbidden"
    code: str | None = None
    link: str | None = None
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=_nothing)
    extra: Mapping[str, Any] = field(default_factory=_nothing)
    counted: bool = False
    scope: str | None = None
    by: str = ""
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Make headers and extra members read-only."""
        if type(self.headers) is not ReadOnlyDict:
            _protect(self, "headers")
        if type(self.extra) is not ReadOnlyDict:
            _protect(self, "extra")

    @classmethod
    def allow(
        cls,
        reason: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        counted: bool = False,
        max_bytes: int | None = None,
    ) -> Decision:
        """Consent. ``counted``: answers must not be cached, because each download is counted."""
        return cls(allowed=True, reason=reason, headers=headers, counted=counted, max_bytes=max_bytes)

    @classmethod
    def remark(
        cls,
        reason: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        counted: bool = False,
        max_bytes: int | None = None,
    ) -> Decision:
        """Neither consent nor refuse, but add header fields, forbid caching, or limit the size of what is granted."""
        return cls(allowed=None, reason=reason, headers=headers, counted=counted, max_bytes=max_bytes)

    @classmethod
    def deny(
        cls,
        reason: str,
        *,
        detail: str | None = None,
        kind: Literal["forbidden", "exhausted"] = "forbidden",
        code: str | None = None,
        link: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] = NOTHING,
        extra: Mapping[str, Any] = NOTHING,
        scope: str | None = None,
    ) -> Decision:
        """Refuse. ``retry_after`` is in seconds; ``extra`` are further members of the error's body."""
        return cls(False, reason, detail, kind, code, link, retry_after, headers, extra, scope=scope)


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to take one asset. Only the gate makes one, after every plugin has been heard.

    ``id`` is this grant's own, and no secret: it may stand in a store's log, to be found again.
    """

    principal: Principal
    asset: Asset
    decision: Decision
    id: str


@dataclass(frozen=True, slots=True)
class Restriction:
    """What may be seen, as conditions on items and on collections; None: everything."""

    items: Cql2 | None = None
    collections: Cql2 | None = None


UNRESTRICTED = Restriction()

# --- How the bytes leave ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Location:
    """Where an asset's bytes are. ``store`` names the resolver's world (``s3``, ``file``)."""

    store: str
    path: str
    options: Mapping[str, Any] = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        """Make the options read-only."""
        if type(self.options) is not ReadOnlyDict:
            _protect(self, "options")


@dataclass(frozen=True, slots=True)
class Redirect:
    """A temporary address that needs no credentials, good for GET during ``lifetime``.

    ``size`` is the object's size in bytes, if the store has told it; it is charged instead of ``file:size``.
    """

    url: str
    lifetime: timedelta
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Loan:
    """What makes download addresses work without headers: a query for each (``name=value``), good for ``lifetime``."""

    queries: Sequence[str]
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes to be sent through this server.

    ``open(first, length)`` yields ``length`` bytes from offset ``first``; it is called once, and only when bytes are to
    leave. ``length`` is the whole object's size in bytes, ``etag`` a strong validator with its quotes. Ranges,
    conditions, status and headers are the core's business.

    ``content_encoding`` and ``content_language`` are the values of the header fields that describe the stored bytes
    (RFC 9110, 8.4 and 8.5). ``content_type`` is the media type that the store has; an asset's own ``type`` precedes it.
    """

    open: Callable[[int, int], Iterator[bytes]]
    length: int
    etag: str | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None


Delivery: TypeAlias = Redirect | Stream


@dataclass(frozen=True, slots=True)
class Portion:
    """The part of an asset that is about to leave: ``length`` bytes from ``first``; None: unknown, as in a redirect.

    ``size`` is that of the whole object in bytes; None: unknown.
    """

    first: int = 0
    length: int | None = None
    size: int | None = None

    @property
    def opening(self) -> bool:
        """Whether it begins at the first byte: a download, and not a further part of one."""
        return self.first == 0


@dataclass(frozen=True, slots=True)
class Order:
    """How it stands with data that are not online, in the words of STAC's order extension.

    ``orderable``: nobody has asked for them yet. ``ordered`` and ``shipping``: they are coming. ``succeeded``: they are
    there. ``retry_after``: seconds after which it is worth to ask again.
    """

    status: Literal["orderable", "ordered", "shipping", "succeeded", "failed"]
    retry_after: int = 300


# --- What is told afterwards ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visit:
    """The request behind a decision, as far as a record of it may tell. All is empty outside of a request.

    ``address`` is the client's as far as it can be trusted, ``agent`` what it calls itself.
    """

    request_id: str = ""
    method: str = ""
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A download decided: who wanted what, who decided so and why, and for a grant what is about to leave, and how.

    ``others`` are the denials besides the one that decided. ``delivery`` (``redirect``, ``stream``) and ``portion`` are
    None for a refusal. ``id`` is the grant's.
    """

    id: str
    principal: Principal
    asset: Asset
    decision: Decision
    others: tuple[Decision, ...]
    visit: Visit
    delivery: str | None = None
    portion: Portion | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A stream that has ended. ``sent`` are the bytes handed to the connection, in whole pieces.

    ``complete``: all that was announced. ``seconds``: since it was decided.
    """

    verdict: Verdict
    sent: int
    complete: bool
    seconds: float


FreeText: TypeAlias = "str | tuple[Any, ...]"
"""A text to be found; or ``and``, ``or`` or ``not``, and what it joins: ``("or", "ice", ("not", "snow"))``."""

# --- What the catalogue is asked, and what it answers ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval of time; None is an open end."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class SortKey:
    """One of the names that a list is sorted by, and in which direction."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which items, in which order, and which page of them. All conditions hold together.

    ``sort`` is empty for the usual order: newest first.
    """

    limit: int
    collections: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    bbox: tuple[float, ...] | None = None
    intersects: Document | None = None
    interval: Interval | None = None
    filter: Cql2 | None = None
    text: FreeText | None = None
    sort: tuple[SortKey, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionQuery:
    """Which collections, in which order, and which page of them. All conditions hold together.

    ``bbox`` and ``interval`` must meet any of those in a collection's extent; ``sort`` is empty for the order of ids.
    """

    limit: int
    bbox: tuple[float, ...] | None = None
    interval: Interval | None = None
    filter: Cql2 | None = None
    text: FreeText | None = None
    sort: tuple[SortKey, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many items there are on all pages: ``matched`` is exact, ``estimate`` is not; None: not known."""

    matched: int | None = None
    estimate: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a span of time holds: the names of its parts, or ids of items, and after which of these there are more."""

    periods: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    more: str | None = None


@dataclass(frozen=True, slots=True)
class AggregationQuery:
    """Which aggregations, by name.

    ``interval`` is the length of buckets of time, ``precision`` the size of a grid's cells by its name, ``ranges`` the
    width of ranges of numbers or the sides of them all, by property; each is chosen where nothing is said.
    """

    names: tuple[str, ...]
    interval: str | None = None
    precision: Mapping[str, int] = field(default_factory=dict)
    ranges: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of a distribution: how many items have this key, or a number from ``low`` to below ``high``."""

    key: str
    data_type: str
    frequency: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What came of an aggregation: a ``value``, or ``buckets``. ``overflow`` counts the items in none of them."""

    name: str
    data_type: str = "frequency_distribution"
    value: str | int | None = None
    buckets: tuple[Bucket, ...] | None = None
    overflow: int = 0
    distributed: str | None = None
    interval: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A collection or an item as it is kept: see ``catalog/documents.py`` for the form of ``body``."""

    collection: str
    id: str
    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order, with the tokens of the pages before and after, where there are such.

    ``matched`` is the number of records on all pages, if it was counted with the page.
    """

    records: tuple[Record, ...]
    next: str | None = None
    prev: str | None = None
    matched: int | None = None


# --- What plugins may use and add -----------------------------------------------------------------------------------


class Statements(Protocol):
    """One open transaction."""

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Run one SQL statement with ``:name`` parameters; give its rows, if it has any."""


class Storage(Protocol):
    """A plugin's own tables in the catalogue's database."""

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Read with one statement; cheaper than a transaction, and tried again if the connection was lost."""

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Write with one statement, committed at once; cheaper than a transaction, and never tried again."""

    def transaction(self) -> AbstractContextManager[Statements]:
        """Open a transaction: committed when the block ends, undone when it raises."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the house offers to plugins at the start of each process.

    ``recall(principal, since)`` says who somebody is now whom a plugin recognised at that time (hook ``recall``); None:
    no plugin vouches for them any more. It raises BadCredentials for a credential that has ended.
    ``look(collection, item, key)`` says how it stands with an asset, as its order's address does, whoever may see it;
    ``item`` is None for an asset of a collection.
    ``observe(name, value)`` tells a figure to whoever keeps them (hook ``observed``).
    ``filename(asset)`` is the name to save a single download under; None: as ``filename_of`` has it.
    ``changes_possible``: a plugin implements ``authorize_change``, so documents can be changed over HTTP.
    """

    storage: Storage
    recall: Callable[[Principal, datetime], Principal | None] = lambda _principal, _since: None
    observe: Callable[[str, float], None] = lambda _name, _value: None
    look: Callable[[str, str | None, str], Order] = lambda _collection, _item, _key: Order("succeeded")
    changes_possible: bool = False
    filename: Callable[[Asset], str] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable that a plugin reads. Its module tells them in ``SETTINGS``, for operators; it reads them itself.

    ``default`` is what holds unless it is set, as one would write it. The value of a ``secret`` one is never shown.
    """

    name: str
    help: str
    default: str = ""
    required: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an endpoint that a plugin added.

    ``values`` come from the path, ``body`` is the parsed JSON; links begin with ``base_url``, no slash at its end.
    ``request`` is the whole of it, with query and cookies. ``form``: the body came as a page's form, and is its fields.
    """

    principal: Principal
    values: Mapping[str, str]
    body: Json = None
    base_url: str = ""
    request: Request = field(default_factory=lambda: Request("GET", "", {}, {}, ""))
    form: bool = False


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to be set in a browser. Scripts never see it. ``seconds``: how long it lives; 0 ends it."""

    name: str
    value: str
    seconds: int
    path: str = "/"
    secure: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A plugin endpoint's reply: JSON, a status, further header fields, cookies.

    With another ``media_type`` than JSON, ``body`` is the text itself.
    """

    body: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[Cookie] = ()
    media_type: str = "application/json"

    @classmethod
    def redirect(cls, url: str, cookies: Sequence[Cookie] = ()) -> Answer:
        """Send a browser on to ``url``, which it asks by GET; no cache keeps this."""
        return cls("", 303, {"Location": url, "Cache-Control": "no-store"}, cookies, "text/plain")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that a plugin adds to the API.

    ``path`` has OpenAPI's form (``/licences/{licenceId}``); ``request`` and ``response`` are JSON Schemas; ``statuses``
    are the codes it may answer besides those every address has; ``query`` has the parameters it takes, by name and
    meaning. An endpoint ``for_anybody`` is served without asking who it is: the way in, and the way out.
    ``scope`` is the right that a limited credential must have for it; unless said, ``read`` for GET, else ``write``.
    ``by`` is the name of the plugin; stacflask sets it.
    ``forms``: a page's form is taken, too, as an object of its fields. Any site can have a browser send one, so see
    then who did (``Call.form``, Sec-Fetch-Site).
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Callable[[Call], Answer]
    summary: str
    response: Mapping[str, Any]
    request: Mapping[str, Any] | None = None
    status: int = 200
    statuses: Sequence[int] = field(default=())
    media_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    for_anybody: bool = False
    scope: Literal["read", "write", "download"] | None = None
    forms: bool = False
    by: str = ""

    @property
    def needed(self) -> str:
        """The scope that a limited credential must have."""
        return self.scope or ("read" if self.method == "GET" else "write")
