"""The hooks, in the order of a program's life. docs/hooks.md tells them at length; the tests hold both together.

How answers combine is said in one of two phrases: "The first answer that is not None is taken." and
"Every answer counts; one denial outweighs any number of consents."
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import click

    from stacflask.model.asset import Asset, Change
    from stacflask.model.decision import Decision
    from stacflask.model.delivery import ByteRange, Location, Order, Redirect, SignedQueries, Stream
    from stacflask.model.endpoint import Endpoint
    from stacflask.model.events import DownloadDecision, StreamResult
    from stacflask.model.json_types import Cql2
    from stacflask.model.principal import Challenge, Principal, Request
    from stacflask.model.services import Services

PROJECT = "stacflask"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# --- At the start ----------------------------------------------------------------------------------------------------


@hookspec
def startup(services: Services) -> None:
    """Called once in each process, before the first request or command.

    :param services: what the house offers, above all storage for the plugin's own tables.
    """


@hookspec
def extend_api() -> Sequence[Endpoint]:  # type: ignore[empty-body]
    """Add addresses to the API. They stand in the OpenAPI document like core's own.

    :return: the endpoints; those of all plugins are added.
    """


@hookspec
def extend_cli() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Add commands to ``stacflask``.

    :return: click commands or groups; those of all plugins are added.
    """


@hookspec
def check_setup() -> Sequence[str]:  # type: ignore[empty-body]
    """Report what an operator should know about the setup: for example rights that are wider than they look.

    Called by ``stacflask check``, after ``startup``. Nothing of this stops a start.

    :return: notes of one line each, which begin with the setting that they are about; those of all plugins are printed.
    """


# --- Who asks --------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def authenticate(request: Request) -> Principal | None:
    """Say who is asking. Called once for each request, when somebody first wants to know.

    The first answer that is not None is taken. If all are silent, a request without Authorization is anonymous, and one
    with it is refused. Plugins that go to the network should ask to come last (``trylast=True``), so that a cheap
    answer can spare the journey.

    :param request: method, path, headers, query and client address.
    :return: the principal, or None if this is not your kind of credential.
    :raises BadCredentials: it is your kind, and wrong. Nobody else is asked.
    """


@hookspec
def challenge() -> Sequence[Challenge]:  # type: ignore[empty-body]
    """Say how you want to be asked, for WWW-Authenticate and for the OpenAPI document.

    :return: the challenges, best first; those of all plugins are sent.
    """


@hookspec(firstresult=True)
def refresh_principal(principal: Principal, since: datetime) -> Principal | None:
    """Say who somebody is now, whom you recognised earlier and who is not here: a link of theirs is being used.

    The first answer that is not None is taken. If all are silent, the link opens nothing.

    :param principal: as you described them then; ``reference`` names the credential.
    :param since: when that was.
    :return: the principal with the groups and scopes of now, or None if this is not your kind of credential.
    :raises BadCredentials: it is yours, and has ended.
    """


# --- What may be seen ------------------------------------------------------------------------------------------------


@hookspec
def restrict(principal: Principal, of: Literal["items", "collections"]) -> Cql2 | None:
    """Narrow what this principal sees: in searches, lists, single records and downloads alike.

    Every answer counts: they are joined by AND, so a plugin can only narrow.

    :param principal: who asks.
    :param of: what the condition is about. Items of a hidden collection are hidden without being asked about.
    :return: a condition in CQL2 JSON, over ``id``, ``collection`` and properties, ``False`` to hide all, or None.
    """


# --- A download, step by step ----------------------------------------------------------------------------------------


@hookspec
def authorize(principal: Principal, asset: Asset) -> Decision | None:
    """Say whether this principal may take this asset. Called for GET and HEAD; nothing may be charged here.

    Every answer counts; one denial outweighs any number of consents. If all are silent, the asset is refused.

    :param principal: who asks.
    :param asset: what for; its properties are the item's overlaid with the asset's.
    :return: ``Decision.allow(reason)``, ``Decision.deny(reason, ...)``, or None for no opinion.
    :raises Unavailable: you cannot tell right now.
    """


@hookspec
def authorize_many(principal: Principal, assets: Sequence[Asset]) -> Sequence[Decision | None]:  # type: ignore[empty-body]
    """Say of many assets at once what ``authorize`` says of each, where asking one by one would be slow.

    Asked for manifests, archives and signed pages. A plugin that implements it is not asked one by one there; it must
    implement ``authorize``, too. Every answer counts; one denial outweighs any number of consents.

    :param principal: who asks.
    :param assets: what for.
    :return: one answer for each asset, in their order.
    :raises Unavailable: you cannot tell right now.
    """


@hookspec(firstresult=True)
def resolve(asset: Asset) -> Location | None:
    """Say where the asset's bytes are.

    The first answer that is not None is taken. If all are silent, the answer is an error, and the href is logged.

    :param asset: an asset that has been granted.
    :return: its location, or None if this is not your kind of href.
    :raises Missing: it is yours, and there is no such object.
    :raises Offline: it is yours, and must be brought online first; see ``order``.
    """


@hookspec(firstresult=True)
def deliver(
    principal: Principal, asset: Asset, location: Location, streamed: bool, grant_id: str
) -> Redirect | Stream | None:
    """Hand the bytes over, as a temporary address or as a stream through this server.

    The first answer that is not None is taken. If all are silent, the answer is an error.

    :param principal: to whom.
    :param asset: what; its media type and key make the download's name and type.
    :param location: where ``resolve`` found it.
    :param streamed: True if only a stream will do: for HEAD, and where client or deployment want the bytes from here.
    :param grant_id: what may stand in a temporary address, so that a store's log can be read beside our records.
    :return: a ``Redirect`` (never when ``streamed``), a ``Stream``, or None if this is not your store.
    :raises Missing: the object is not there.
    :raises Offline: it must be brought online first; see ``order``. Nothing may be ordered here.
    :raises Unavailable: the store cannot be reached.
    """


@hookspec(firstresult=True)
def presign(principal: Principal, asset: Asset, location: Location, grant_id: str) -> Redirect | None:
    """Give a temporary address at once, without asking the store whether the object is there.

    Called for the many assets of a page or manifest whose hrefs are asked for ready to use. The first answer that is
    not None is taken. If all are silent, the asset keeps an address of this server.

    :param principal: to whom.
    :param asset: what; its media type and key make the download's name and type.
    :param location: where ``resolve`` found it.
    :param grant_id: the grant, for who wants to tell it to the store's log.
    :return: a ``Redirect``, or None if this is not your store, or nothing is to leave it by address.
    """


@hookspec(firstresult=True)
def sign_queries(principal: Principal, assets: Sequence[Asset]) -> SignedQueries | None:
    """Give what makes the download addresses of these assets work without headers, for a while.

    Called for those of a page or manifest that must come by here: each download is charged when it is made. The first
    answer that is not None is taken. If all are silent, the addresses need credentials.

    :param principal: who asks, and in whose name the addresses are to be used.
    :param assets: what for.
    :return: a query for each address, in their order, and how long they are good.
    """


@hookspec(firstresult=True)
def order(principal: Principal, asset: Asset) -> Order | None:
    """Bring an asset online. Called for GET, when ``resolve`` or ``deliver`` raised Offline and it is ``orderable``.

    The first answer that is not None is taken. If all are silent, the answer is 503. Many may ask for the same asset at
    once, in many processes: it must be brought online once.

    :param principal: who asks; she may take the asset.
    :param asset: what.
    :return: how it stands now, or None if the asset is not yours to bring online.
    :raises Unavailable: it cannot be ordered just now.
    """


@hookspec
def order_changed(principal: Principal, asset: Asset, order: Order) -> None:
    """Hear how it stands with an asset that somebody asks for: after each 202, and each look at an order.

    Every plugin hears it. ``succeeded`` is told to whoever looks at an order, also where there never was one.

    :param principal: who asks; ``ANONYMOUS`` where a plugin had the house look.
    :param asset: what.
    :param order: how it stands.
    """


@hookspec
def order_states(collection: str, item: str) -> Mapping[str, str] | None:
    """Say what is known of the orders of an item's assets. Called when an item is shown alone; be quick.

    The answers of all plugins are put together; of two on one asset, the leftmost plugin's stands.

    :param collection: the collection's id.
    :param item: the item's id; whoever asks sees it.
    :return: ``order:status`` by asset key, for those of which anything is known, or None.
    """


@hookspec(firstresult=True)
def charge(principal: Principal, asset: Asset, byte_range: ByteRange) -> Decision | None:
    """Book what is about to leave. Called for GET only, when the delivery is ready and before anything of it goes out.

    The first answer that is not None is taken: a denial refuses the download, and plugins further right are not asked,
    so they charge nothing.

    :param principal: to whom.
    :param asset: what.
    :param byte_range: which bytes; a redirect is the whole asset, its length as declared or None.
    :return: ``Decision.deny(...)`` to refuse after all, or None once it is booked, or when you do not count.
    """


@hookspec(firstresult=True)
def charge_many(principal: Principal, assets: Sequence[Asset], byte_ranges: Sequence[ByteRange]) -> Decision | None:
    """Book at once what ``charge`` books one by one: all of it, or nothing if any of it is too much.

    Asked for archives, which leave whole or not at all. A plugin that implements it is not asked one by one there, and
    before those that are; it must implement ``charge``, too. The first answer that is not None is taken: what a plugin
    further left has booked stays booked.

    :param principal: to whom.
    :param assets: what.
    :param byte_ranges: which bytes of each asset, in their order.
    :return: ``Decision.deny(...)`` to refuse after all, or None once all is booked, or when you do not count.
    """


@hookspec
def download_decided(download_decision: DownloadDecision) -> None:
    """Hear of a download that is refused, or granted and about to leave: once each, after ``charge`` and before bytes.

    HEAD is told if it is refused; nothing is told of what was granted and then failed, or is with the client already.
    Every plugin hears it. An exception keeps the bytes here, though they may have been charged.

    :param download_decision: who, what, how it was decided by whom and why, and what is about to leave how.
    """


@hookspec
def stream_finished(stream_result: StreamResult) -> None:
    """Hear of the end of a stream: once for each verdict whose delivery is a stream, however it ended.

    Every plugin hears it.

    :param stream_result: the verdict, how many bytes were sent, and whether those were all.
    """


# --- Changes over HTTP -----------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def storage_href(href: str) -> str | None:
    """Return the storage address of the object that a temporary address leads to.

    Called for web addresses with a query in documents that are written, over HTTP and by ``stacflask load``: a client
    may send back an address that ``presign`` made, and what is stored must be neither secret nor temporary. The first
    answer that is not None is taken. If all are silent, the address is stored as it is.

    :param href: a web address. It may also be a stored one without a query, to be compared.
    :return: the storage address that ``resolve`` knows (``s3://bucket/key``), or None if this is not your store.
    """


@hookspec
def authorize_change(principal: Principal, change: Change) -> Decision | None:
    """Say whether this principal may make this change to the catalogue over HTTP.

    Every answer counts; one denial outweighs any number of consents. If all are silent, the change is refused; if no
    plugin implements this hook, the Transaction extensions are not even declared.

    :param principal: who asks.
    :param change: action, collection and item.
    :return: ``Decision.allow(reason)``, ``Decision.deny(reason, ...)``, or None for no opinion.
    """


# --- What is measured ------------------------------------------------------------------------------------------------


@hookspec
def response_ready(route: str, method: str, status: int, seconds: float) -> None:
    """Hear of an answer that is ready. Of a stream, that is before its bytes. Called for every request; be quick.

    :param route: the rule of the address, such as ``/collections/<collection_id>``; empty if there is no such address.
    :param method: as the client spelled it.
    :param status: the answer's status.
    :param seconds: from the request's arrival.
    """


@hookspec
def metric_recorded(name: str, value: float) -> None:
    """Hear a figure, from the house or from a plugin that called ``services.observe``. Be quick.

    :param name: what it is: ``database_seconds`` (a statement), ``store_seconds`` (a question to a store), or any
        plugin's own word in small letters and underscores.
    :param value: seconds for a name that ends in ``_seconds``, else how many more there are.
    """
