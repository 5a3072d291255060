"""Specify the hooks, in the order in which a process calls them. docs/hooks.md describes each with examples.

Two fixed phrases state how the results of several plugins are combined: "Uses the first result that is not None."
and "Combines all results; one denial overrides any number of allows." Plugins are called in the order of
STACFLASK_PLUGINS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import click

    from stacflask.model.asset import Asset, Change
    from stacflask.model.decision import Decision, Only
    from stacflask.model.delivery import ByteRange, Location, Order, Redirect, SignedQueries, Stream
    from stacflask.model.endpoint import Endpoint
    from stacflask.model.events import DownloadDecision, RequestInfo, StreamResult
    from stacflask.model.json_types import Cql2
    from stacflask.model.principal import Challenge, Principal, Request
    from stacflask.model.services import Services

PROJECT = "stacflask"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# --- Startup ---------------------------------------------------------------------------------------------------------


@hookspec
def startup(services: Services) -> None:
    """Prepare the plugin. Called once in each process, before the first request or command.

    Args:
        services: Services of stacflask: storage for the plugin's own tables, and functions to call.

    Raises:
        SettingError: The deployment is set up wrongly. The process does not start.
    """


@hookspec
def extend_api() -> Sequence[Endpoint]:  # type: ignore[empty-body]
    """Return endpoints to add to the API. Called once in each process, after ``startup``.

    The endpoints of all plugins are added. The OpenAPI document describes them like stacflask's own endpoints.

    Returns:
        The endpoints.
    """


@hookspec
def extend_cli() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Return commands to add to ``stacflask``. Called once, when the command line starts.

    The commands of all plugins are added.

    Returns:
        click commands or groups.
    """


@hookspec
def check_setup() -> Sequence[str]:  # type: ignore[empty-body]
    """Report facts about the setup that an operator should check, such as rights that are wider than they look.

    Called by ``stacflask check``, after ``startup``. The notes of all plugins are printed. A note never stops a start.

    Returns:
        Notes of one line each. Each note begins with the name of the setting that it is about.
    """


# --- Authentication --------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def authenticate(request: Request) -> Principal | None:
    """Return the principal for a request. Called at most once for each request, when its principal is first needed.

    Uses the first result that is not None. If all plugins return None, a request without Authorization is
    anonymous, and a request with it is refused (401). A plugin that calls another service should set ``trylast=True``,
    because a plugin that answers without one then saves the call.

    Args:
        request: Method, path, headers, query, cookies and client address.

    Returns:
        The principal, or None if the request has no credential of this plugin's kind.

    Raises:
        BadCredentials: The credential is of this plugin's kind, and is wrong. No further plugin is called.
        Unavailable: The credential cannot be checked at present.
    """


@hookspec
def challenge() -> Sequence[Challenge]:  # type: ignore[empty-body]
    """Return how clients can authenticate, for WWW-Authenticate and for the OpenAPI document.

    Called for a 401 or 403, for the OpenAPI document and at startup. The challenges of all plugins are sent.

    Returns:
        The challenges, the preferred one first.
    """


@hookspec(firstresult=True)
def refresh_principal(principal: Principal, since: datetime) -> Principal | None:
    """Re-check a principal that was authenticated at ``since``, such as the user who made a download link.

    Called by ``services.refresh_principal``, when the link is used. The request has no credential of the user. Uses the
    first result that is not None. If all plugins return None, the link is not valid.

    Args:
        principal: The principal as ``authenticate`` returned it, without the groups of ``principal_groups``.
            ``reference`` identifies the credential.
        since: When the principal was authenticated.

    Returns:
        The principal with its current groups and scopes, or None if the credential is not of this plugin's kind.

    Raises:
        BadCredentials: The credential is of this plugin's kind, and has expired or was revoked.
    """


@hookspec
def principal_groups(principal: Principal, request_info: RequestInfo) -> frozenset[str] | None:
    """Return further groups of a principal, such as those in a directory or of the client's network.

    Called after ``authenticate``, for anonymous requests as well, and after ``refresh_principal``. The groups of all
    plugins are added to those of the principal. An exception ends the request.

    Args:
        principal: The principal, without the groups that this hook adds. Its identifier is unique within its scheme.
        request_info: The request, with the client's address.

    Returns:
        Names of groups, or None for no further groups.

    Raises:
        Unavailable: The groups cannot be read at present.
    """


# --- Visibility ------------------------------------------------------------------------------------------------------


@hookspec
def restrict(
    principal: Principal, of: Literal["items", "collections"], request_info: RequestInfo
) -> Cql2 | Only | None:
    """Restrict which records a principal can see, in searches, lists, single records and downloads.

    Called at most once for each request and each value of ``of``. Combines all results with AND, because a plugin can
    only restrict further.

    Args:
        principal: The principal of the request.
        of: The kind of records that the condition is for. Items of a hidden collection are hidden without a call.
        request_info: The request, with the client's address. The condition is used for this request only.

    Returns:
        A condition in CQL2 JSON (OGC 21-065r2) over ``id``, ``collection``, properties and, for items, ``geometry``;
        ``False`` to hide all records; ``Only(names)`` to show only the collections with these ids and their items; or
        None for no restriction.
    """


# --- Download --------------------------------------------------------------------------------------------------------


@hookspec
def authorize(principal: Principal, asset: Asset, request_info: RequestInfo) -> Decision | None:
    """Decide whether a principal can download an asset. Called for GET and HEAD, so it must not charge anything.

    Combines all results; one denial overrides any number of allows. If no plugin consents, the asset is refused.

    Args:
        principal: The principal of the request.
        asset: The asset. Its properties are those of the item, overridden by those of the asset.
        request_info: The request, with the client's address.

    Returns:
        ``Decision.allow(reason)``, ``Decision.deny(reason, ...)``, ``Decision.abstain(reason, ...)``, or None for no
        opinion.

    Raises:
        Unavailable: The plugin cannot decide at present.
    """


@hookspec
def authorize_many(  # type: ignore[empty-body]
    principal: Principal, assets: Sequence[Asset], request_info: RequestInfo
) -> Sequence[Decision | None]:
    """Decide for many assets at once, as ``authorize`` does for one.

    Called for manifests, archives and signed pages. A plugin should implement it if ``authorize`` calls a service or
    the database. It must implement ``authorize`` as well, which is then not called for these assets. Combines all
    results; one denial overrides any number of allows.

    Args:
        principal: The principal of the request.
        assets: The assets.
        request_info: The request, with the client's address.

    Returns:
        One decision or None for each asset, in the order of the assets.

    Raises:
        Unavailable: The plugin cannot decide at present.
    """


@hookspec(firstresult=True)
def resolve(asset: Asset) -> Location | None:
    """Return where the bytes of an asset are. Called after ``authorize`` has granted the asset.

    Uses the first result that is not None. If all plugins return None, the response is an error, and the href is
    logged.

    Args:
        asset: An asset that was granted.

    Returns:
        The location, or None if the href is not of this plugin's kind.

    Raises:
        Missing: The store of this plugin does not have the object.
        Offline: The store of this plugin must bring the object online first; see ``order``.
        Unavailable: The store cannot be reached.
    """


@hookspec(firstresult=True)
def deliver(
    principal: Principal, asset: Asset, location: Location, streamed: bool, grant_id: str
) -> Redirect | Stream | None:
    """Return the bytes of an asset, as a temporary URL or as a stream through this server. Called after ``resolve``.

    Uses the first result that is not None. If all plugins return None, the response is an error.

    Args:
        principal: The principal of the request.
        asset: The asset. Its media type and key determine the name and type of the download.
        location: The location that ``resolve`` returned.
        streamed: True if a stream is required: for HEAD, and if a decision, the client or a setting demands one.
        grant_id: Identifier of the grant. It can be part of a temporary URL, to match a store's log with the records
            of stacflask.

    Returns:
        A ``Redirect``, a ``Stream``, or None if the store is not of this plugin's kind. If ``streamed``, a
        ``Redirect`` only if the store cannot stream: HEAD then has its size, and other requests are refused (501).

    Raises:
        Missing: The store does not have the object.
        Offline: The object must be brought online first; see ``order``. This hook must not order it.
        Unavailable: The store cannot be reached.
    """


@hookspec
def transform(principal: Principal, asset: Asset, stream: Stream) -> Stream | None:
    """Return another stream instead of that of the store, such as one with a watermark. Called after ``deliver``.

    Called for GET and HEAD of each asset that is streamed, so the work must be done when the bytes are read:
    ``stream.transformed(function)`` returns such a stream. The plugins are called one after the other, and each gets
    the stream of the previous one. A plugin that changes bytes must demand the stream in ``authorize``
    (``Decision.abstain(reason, stream=True)``), because redirects are not transformed. An error before the first byte
    is the response. A later one breaks the connection.

    Args:
        principal: The principal of the request.
        asset: The asset.
        stream: The bytes of the store, or of the plugin further left.

    Returns:
        Another ``Stream``, or None to leave the stream unchanged.

    Raises:
        Refused: The asset cannot be transformed, so it is denied.
        Unavailable: The asset cannot be transformed at present.
    """


@hookspec
def presign(  # type: ignore[empty-body]
    principal: Principal, assets: Sequence[Asset], locations: Sequence[Location], grant_ids: Sequence[str]
) -> Sequence[Redirect | None]:
    """Return temporary URLs of many assets without a request to the store, as ``deliver`` does for one.

    Called for the assets of a page or manifest that the client requests with ``hrefs=signed``. All plugins are called.
    For each asset, uses the first result that is not None. An asset without one keeps a URL of this server.

    Args:
        principal: The principal of the request.
        assets: The assets. Their media types and keys determine the names and types of the downloads.
        locations: The locations that ``resolve`` returned, in the order of the assets.
        grant_ids: Identifiers of the grants, in the order of the assets. They can be part of the URLs, to match a
            store's log with the records of stacflask.

    Returns:
        A ``Redirect`` for each asset, in the order of the assets, or None if its store is not of this plugin's kind or
        does not give out URLs.
    """


@hookspec(firstresult=True)
def sign_queries(principal: Principal, assets: Sequence[Asset]) -> SignedQueries | None:
    """Return queries that make download URLs of these assets work without headers, for a limited time.

    Called for the assets of a signed page or manifest that are not presigned. Each download is charged when it is made.
    Uses the first result that is not None. If all plugins return None, the URLs require credentials.

    Args:
        principal: The principal of the request. Each download is authorized for this principal.
        assets: The assets.

    Returns:
        One query for each asset, in the order of the assets, and their lifetime.
    """


@hookspec(firstresult=True)
def order(principal: Principal, asset: Asset) -> Order | None:
    """Bring an asset online. Called for GET if ``resolve`` or ``deliver`` raised Offline with status ``orderable``.

    Uses the first result that is not None. If all plugins return None, the response is 503. Several processes can
    call this hook for one asset at the same time; the plugin must order the asset only once.

    Args:
        principal: The principal of the request, which may download the asset.
        asset: The asset.

    Returns:
        The order, or None if the plugin cannot bring this asset online.

    Raises:
        Unavailable: The asset cannot be ordered at present.
    """


@hookspec
def order_changed(principal: Principal, asset: Asset, order: Order) -> None:
    """Observe the state of an order. Called after each 202 for a download, and each request for an order's state.

    All plugins are called. ``succeeded`` is reported only for a request for the state, also if there was no order.

    Args:
        principal: The principal of the request; ``ANONYMOUS`` if a plugin called ``services.order_status``.
        asset: The asset.
        order: The state of its order.
    """


@hookspec
def order_states(collection: str, item: str) -> Mapping[str, str] | None:
    """Return the states of the orders of an item's assets. Called for responses with a single item; must be quick.

    The mappings of all plugins are merged. If two plugins return a state for one asset, the plugin further left in
    STACFLASK_PLUGINS takes precedence.

    Args:
        collection: Identifier of the collection.
        item: Identifier of the item. The principal of the request can see it.

    Returns:
        ``order:status`` by asset key, for assets whose state is recorded, or None.
    """


@hookspec(firstresult=True)
def charge(principal: Principal, asset: Asset, byte_range: ByteRange) -> Decision | None:
    """Charge for the bytes that are about to be sent. Called for GET only, after ``deliver`` and before any byte.

    Uses the first result that is not None. A denial refuses the download; plugins further right are not called, so
    they charge nothing.

    Args:
        principal: The principal of the request.
        asset: The asset.
        byte_range: The bytes to be sent. For a redirect it is the whole asset, with the declared length in bytes or
            None.

    Returns:
        ``Decision.deny(...)`` to refuse the download, or None if it was charged or the plugin does not charge.
    """


@hookspec(firstresult=True)
def charge_many(principal: Principal, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]) -> Decision | None:
    """Charge for several assets at once: for all of them, or for none if they exceed a limit together.

    Called for archives, which are sent completely or not at all. A plugin that implements it must implement ``charge``
    as well, which is then not called for archives. Implementations of this hook are called before those of ``charge``.
    Uses the first result that is not None. What a plugin further left has charged stays charged.

    Args:
        principal: The principal of the request.
        assets: The assets.
        byte_ranges: The bytes to be sent of each asset, in the order of the assets.

    Returns:
        ``Decision.deny(...)`` to refuse the archive, or None if all was charged or the plugin does not charge.
    """


@hookspec
def download_decided(download_decision: DownloadDecision) -> None:
    """Record a decision on a download. Called once for each, after ``charge`` and before any byte is sent.

    Called for refusals of GET and HEAD, and for GET requests that were granted. It is not called if a granted download
    fails before it is sent, or if the client has the bytes already (304). All plugins are called. An exception stops
    the download, although it may have been charged.

    Args:
        download_decision: The principal, the asset, the decision, its plugin and reason, and the bytes to be sent.
    """


@hookspec
def stream_finished(stream_result: StreamResult) -> None:
    """Record the end of a stream. Called once for each decision whose delivery is a stream, even if it failed.

    All plugins are called.

    Args:
        stream_result: The decision, the number of bytes sent, and whether the stream is complete.
    """


# --- Changes over HTTP -----------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def storage_href(href: str) -> str | None:
    """Return the storage URL of the object that a temporary URL leads to.

    Called for web URLs with a query in documents that are written, over HTTP and by ``stacflask load``. A client may
    send back a URL that ``presign`` made, and stored URLs must be neither secret nor temporary. Uses the first result
    that is not None. If all plugins return None, the URL is stored unchanged.

    Args:
        href: A web URL. It can also be a stored URL without a query, for a comparison.

    Returns:
        The storage URL that ``resolve`` accepts (``s3://bucket/key``), or None if the URL is not of this plugin's
        store.
    """


@hookspec
def authorize_change(principal: Principal, change: Change, request_info: RequestInfo) -> Decision | None:
    """Decide whether a principal can make a change to the catalog over HTTP. Called once for each request.

    Combines all results; one denial overrides any number of allows. If no plugin consents, the change is refused. If
    no plugin implements this hook, the API does not declare the Transaction extensions.

    Args:
        principal: The principal of the request.
        change: The action, the collection and the item.
        request_info: The request, with the client's address.

    Returns:
        ``Decision.allow(reason)``, ``Decision.deny(reason, ...)``, or None for no opinion.
    """


@hookspec
def changes_committed(changes: Sequence[Change], principal: Principal, request_info: RequestInfo) -> None:
    """Observe changes to the catalog that were committed, over HTTP and by commands, for webhooks and caches.

    Called in the background, after the response is ready or later: a plugin that is slow or fails affects no request.
    The calls of one plugin are made one after the other. Each change is reported at most once, in the process that
    made it. It is lost if that process is killed, or if 1,000 calls of the plugin wait already. All plugins are
    called. A wrapper is an error at startup.

    Args:
        changes: The changes of one request or command. ``bulk`` stands for many items of a collection that were
            loaded or deleted.
        principal: The principal of the request; ``ANONYMOUS`` for a command.
        request_info: The request; empty for a command.
    """


# --- Metrics ---------------------------------------------------------------------------------------------------------


@hookspec
def response_ready(route: str, method: str, status: int, seconds: float) -> None:
    """Observe a response. Called for every request, before the body of a stream is sent; must be quick.

    All plugins are called.

    Args:
        route: The rule of the path, such as ``/collections/<collection_id>``; empty if no rule matches.
        method: The HTTP method as the client sent it.
        status: The status code of the response.
        seconds: Seconds since the request arrived.
    """


@hookspec
def metric_recorded(name: str, value: float, labels: Mapping[str, str]) -> None:
    """Record a metric, from stacflask or from a plugin that called ``services.record_metric``; must be quick.

    All plugins are called.

    Args:
        name: The metric: ``database_seconds`` (a statement), ``store_seconds`` (a request to a store),
            ``queue_seconds`` (the wait of a request for a thread), or a name that a plugin chose, in lower case
            letters, digits and underscores.
        value: Seconds if the name ends in ``_seconds``, else the increment of a counter.
        labels: Label values by name, such as the ``store``.
    """


# --- End -------------------------------------------------------------------------------------------------------------


@hookspec
def shutdown() -> None:
    """Release what the plugin holds. Called once when a server process or a command ends, if ``startup`` succeeded.

    Called after the requests of the process; the database can still be used. All plugins are called at the same time,
    each after its calls of ``changes_committed``. After 3 seconds the process ends anyway. A process that is killed
    (SIGKILL) does not call this hook. A wrapper is an error at startup.
    """
