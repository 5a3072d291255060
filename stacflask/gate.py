"""Call the hooks of a request and combine their results. This module depends neither on tables nor on HTTP.

Only ``authorize`` and ``authorize_each`` create a ``Grant``. ``resolve`` and ``deliver`` require one, so that they
cannot be called first. A plugin that raises Refused denies. Other exceptions of plugins are not caught, so that a
download fails if a plugin fails.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, reduce
from operator import and_
from typing import Any, NoReturn

import pluggy

from stacflask.errors import BadCredentials, Missing, NoAnswer, NoStore, NotStreamable, Offline, Refused, Unavailable
from stacflask.model.asset import Asset, Change
from stacflask.model.decision import UNRESTRICTED, Decision, Grant, Only, Restriction
from stacflask.model.delivery import ByteRange, Delivery, Location, Order, Redirect, SignedQueries, Stream
from stacflask.model.events import DownloadDecision, RequestInfo, StreamResult
from stacflask.model.json_types import Cql2
from stacflask.model.principal import ANONYMOUS, Challenge, Principal, Request
from stacflask.model.readonly import EMPTY

log = logging.getLogger(__name__)

NO_CONSENT = Decision.deny("no plugin consented")
HIDE_ALL = Restriction(items=False, collections=False)


def combine_decisions(decisions: Sequence[Decision]) -> Decision:
    """Combine the decisions of all plugins: the first denial, else the first consent, else a denial.

    Abstentions decide nothing. A combined consent has the header fields of all decisions, is counted or demands a
    stream if any of them does, and covers objects up to the smallest of their limits.
    """
    if len(decisions) == 1 and decisions[0].allowed is not None:
        return decisions[0]
    denial = next((decision for decision in decisions if decision.allowed is False), None)
    if denial is not None:
        return denial
    consent = next((decision for decision in decisions if decision.allowed), None)
    if consent is None:
        return NO_CONSENT
    headers = {name: value for decision in reversed(decisions) for name, value in decision.headers.items()}
    limits = [decision.max_bytes for decision in decisions if decision.max_bytes is not None]
    return replace(
        consent,
        headers=headers,
        counted=any(decision.counted for decision in decisions),
        max_bytes=min(limits, default=None),
        stream=any(decision.stream for decision in decisions),
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """Calls the hooks of each step of a request. ``request_info`` returns the current request."""

    plugins: pluggy.PluginManager
    request_info: Callable[[], RequestInfo] = RequestInfo

    def authenticate(self, request: Request) -> Principal:
        """Return the principal for a request, or ``ANONYMOUS`` if it has no credentials. Raises BadCredentials.

        Credentials that no plugin recognizes are wrong, unless no plugin authenticates requests.
        """
        principal: Principal | None = self.plugins.hook.authenticate(request=request)
        if principal is None and (request.token or ("Authorization" in request.headers and self.authenticates)):
            raise BadCredentials("Unknown kind of credentials. See WWW-Authenticate for the accepted ones.")
        return self.with_groups(principal or ANONYMOUS)

    def with_groups(self, principal: Principal) -> Principal:
        """Return a principal with the groups that plugins add to its own."""
        if not self.adds_groups:
            return principal
        principal = _without_added_groups(principal)
        added = self.plugins.hook.principal_groups(principal=principal, request_info=self.request_info())
        groups = principal.groups.union(*added)
        return replace(principal, groups=groups, added_groups=groups - principal.groups)

    @property
    def adds_groups(self) -> bool:
        """True if a plugin adds groups to principals."""
        return bool(self.plugins.hook.principal_groups.get_hookimpls())

    @property
    def authenticates(self) -> bool:
        """True if a plugin authenticates requests."""
        return bool(self._implementations("authenticate"))

    def refresh_principal(self, principal: Principal, since: datetime) -> Principal | None:
        """Re-check a principal that was authenticated at ``since``.

        Returns None if no plugin recognizes it. Raises BadCredentials.
        """
        current: Principal | None = self.plugins.hook.refresh_principal(
            principal=_without_added_groups(principal), since=since
        )
        return current and self.with_groups(current)

    def challenges(self) -> list[Challenge]:
        """Return the challenges of all plugins, in the order of the plugins."""
        return [challenge for challenges in self.plugins.hook.challenge() for challenge in challenges]

    @property
    def identifying_headers(self) -> list[str]:
        """Return the header fields besides Authorization that have credentials, from the challenges of plugins."""
        schemes = [challenge.scheme for challenge in self.challenges()]
        in_headers = [scheme for scheme in schemes if scheme.get("in") in ("cookie", "header")]
        return list(dict.fromkeys("Cookie" if one["in"] == "cookie" else str(one["name"]) for one in in_headers))

    @property
    def writable(self) -> bool:
        """True if a plugin authorizes changes, which enables the Transaction extensions."""
        return bool(self._implementations("authorize_change"))

    def restrict(self, principal: Principal) -> Restriction:
        """Return what a principal can see in this request: the conditions of all plugins, joined by AND."""
        if not principal.may("read"):
            return HIDE_ALL
        if not self._implementations("restrict"):
            return UNRESTRICTED
        restrict = partial(self.plugins.hook.restrict, principal=principal, request_info=self.request_info())
        of_items = [_of_items(one) for one in restrict(of="items")]
        of_collections = restrict(of="collections")
        ids = [one for one in of_collections if isinstance(one, Only)]
        conditions = [one for one in of_collections if not isinstance(one, Only)]
        return Restriction(_conjunction(of_items), _conjunction(conditions), reduce(and_, ids) if ids else None)

    def authorize(self, principal: Principal, asset: Asset) -> Grant:
        """Return a grant for an asset, by the decisions of all plugins. Raises Refused."""
        decisions = _scope_denials(principal, "download") + self._decisions(principal, asset)
        decision = combine_decisions(decisions)
        others = _other_denials(decisions, decision)
        _log_decision("download", principal, decision, **_asset_fields(asset), others=_reasons(others))
        grant = Grant(principal, asset, decision, *_grant_ids(1))
        return grant if decision.allowed else self._refuse(grant, decision, others)

    def authorize_each(self, principal: Principal, assets: Sequence[Asset]) -> list[Grant | Decision]:
        """Return a grant or the denial for each of many assets, by the decisions of all plugins.

        The decisions are not recorded, because nothing is sent yet. Downloads are charged and recorded later.
        """
        scope_denials = _scope_denials(principal, "download")
        by_plugin = self._decisions_on_many(principal, tuple(assets))
        decide = self._decisions_on_each(principal)
        results: list[Grant | Decision] = []
        for grant_id, asset, *decisions in zip(_grant_ids(len(assets)), assets, *by_plugin, strict=True):
            known = [decision for decision in decisions if decision is not None]
            decision = combine_decisions([*scope_denials, *known, *decide(asset)])
            results.append(Grant(principal, asset, decision, grant_id) if decision.allowed else decision)
        return results

    def _decisions_on_many(self, principal: Principal, assets: tuple[Asset, ...]) -> list[list[Decision | None]]:
        try:
            by_plugin: list[list[Decision | None]] = self.plugins.hook.authorize_many(
                principal=principal, assets=assets, request_info=self.request_info()
            )
        except Refused as refused:
            return [[refused.decision] * len(assets)]
        return by_plugin

    def _decisions_on_each(self, principal: Principal) -> Callable[[Asset], Sequence[Decision]]:
        """Return a function that calls ``authorize`` of the plugins without ``authorize_many``."""
        if self._is_wrapped("authorize"):
            return lambda asset: self._decisions(principal, asset)
        call, request_info = self._without("authorize", "authorize_many"), self.request_info()

        def decide(asset: Asset) -> Sequence[Decision]:
            try:
                return list(call({"principal": principal, "asset": asset, "request_info": request_info}))
            except Refused as refused:
                return [refused.decision]

        return decide

    def _without(self, hook: str, many: str) -> Callable[[Mapping[str, Any]], Iterator[Any]]:
        """Return a function that calls a hook without the plugins that implement the hook ``many``.

        It yields the results that are not None. pluggy can exclude only plugins that are hashable, and a dataclass is
        not.
        """
        excluded = {impl.plugin_name for impl in self._implementations(many) if not impl.wrapper}
        impls = [impl for impl in reversed(self._implementations(hook)) if impl.plugin_name not in excluded]

        def call(arguments: Mapping[str, Any]) -> Iterator[Any]:
            results = (impl.function(*[arguments[name] for name in impl.argnames]) for impl in impls)
            return (result for result in results if result is not None)

        return call

    def _implementations(self, hook: str) -> Sequence[Any]:
        implementations: Sequence[Any] = getattr(self.plugins.hook, hook).get_hookimpls()
        return implementations

    def _is_wrapped(self, hook: str) -> bool:
        return any(impl.wrapper for impl in self._implementations(hook))

    def _decisions(self, principal: Principal, asset: Asset) -> list[Decision]:
        """Return the decisions of all plugins. A plugin that raises Refused denies, and its denial is recorded."""
        try:
            decisions: list[Decision] = self.plugins.hook.authorize(
                principal=principal, asset=asset, request_info=self.request_info()
            )
        except Refused as refused:
            return [refused.decision]
        return decisions

    def _refuse(self, grant: Grant, denial: Decision, others: tuple[Decision, ...] = ()) -> NoReturn:
        self._notify(self._refusal(grant, denial, others))
        raise Refused(denial, anonymous=grant.principal.anonymous)

    def _revoke(self, act: str, grant: Grant, denial: Decision) -> NoReturn:
        """Deny an asset that was granted already. Raises Refused."""
        _log_decision(act, grant.principal, denial, **_asset_fields(grant.asset))
        self._refuse(grant, denial)

    def _refusal(self, grant: Grant, denial: Decision, others: tuple[Decision, ...] = ()) -> DownloadDecision:
        return DownloadDecision(grant.id, grant.principal, grant.asset, denial, others, self.request_info())

    def _notify(self, download_decision: DownloadDecision) -> DownloadDecision:
        self.plugins.hook.download_decided(download_decision=download_decision)
        return download_decision

    def resolve(self, grant: Grant) -> Location:
        """Return where the bytes of an asset are. Raises NoStore, Missing, Offline, Refused."""
        try:
            location = self._location(grant.asset)
        except Refused as refused:
            self._revoke("resolve", grant, refused.decision)
        if location is None:
            log.warning("href not resolved", extra={"href": grant.asset.href})
            raise NoStore("The asset is in no store of this server.")
        return location

    def resolves(self, asset: Asset) -> bool:
        """Return whether a plugin resolves an asset. Raises the errors of plugins."""
        return self._location(asset) is not None

    def _location(self, asset: Asset) -> Location | None:
        location: Location | None = self.plugins.hook.resolve(asset=asset)
        return location

    def deliver(self, grant: Grant, location: Location, *, streamed: bool, head: bool = False) -> Delivery:
        """Return the delivery of an asset: a redirect, or a stream with the transformations of all plugins.

        Args:
            grant: The grant for the asset.
            location: The location of its bytes.
            streamed: True if only a stream is accepted. A decision can demand that too.
            head: True if a redirect is accepted only from a store that cannot stream.

        Raises:
            NoAnswer, NotStreamable, Missing, Offline, Unavailable, Refused.
        """
        streamed = streamed or grant.decision.stream
        limited = grant.decision.max_bytes is not None
        delivery = self._delivery(grant, location, streamed=streamed or head or limited)
        if limited:
            # The size must be read from a stream, because a redirect need not have it.
            self._check_size(grant, delivery)
            if not (streamed or head):
                delivery = self._delivery(grant, location, streamed=False)
        if isinstance(delivery, Stream):
            return self._transformed(grant, delivery)
        if streamed:
            log.warning("store only redirects", extra={"store": location.store})
            raise NotStreamable("The bytes of this asset must pass this server, but its store only redirects.")
        return delivery

    def _delivery(self, grant: Grant, location: Location, *, streamed: bool) -> Delivery:
        try:
            delivery: Delivery | None = self.plugins.hook.deliver(
                principal=grant.principal, asset=grant.asset, location=location, streamed=streamed, grant_id=grant.id
            )
        except Refused as refused:
            self._revoke("deliver", grant, refused.decision)
        if delivery is None:
            log.error("location not delivered", extra={"store": location.store, "streamed": streamed})
            raise NoAnswer("No plugin delivers this asset.")
        return delivery

    def _check_size(self, grant: Grant, delivery: Delivery) -> None:
        """Deny an object that is larger than the consent covers. Raises Refused."""
        limit = grant.decision.max_bytes
        size = delivery.size if isinstance(delivery, Redirect) else delivery.length
        if limit is not None and (size is None or size > limit):
            reason = f"{grant.decision.reason}, for at most {limit} bytes"
            detail = f"The asset is too large. Your permission covers at most {limit} bytes."
            denial = Decision.deny(reason, detail=detail, code="TooLarge")
            self._revoke("deliver", grant, denial)

    def _transformed(self, grant: Grant, stream: Stream) -> Stream:
        """Return a stream with the transformations of all plugins, the leftmost plugin's first. Raises Refused."""
        transformed = stream
        for impl in reversed(self._implementations("transform")):
            arguments: dict[str, Any] = {"principal": grant.principal, "asset": grant.asset, "stream": transformed}
            try:
                result: Stream | None = impl.function(*[arguments[name] for name in impl.argnames])
            except Refused as refused:
                self._revoke("transform", grant, refused.decision)
            if result is not None:
                if problem := _contradiction(stream, transformed, result, demanded=grant.decision.stream):
                    raise TypeError(f"{impl.plugin_name}: transform: {problem}")
                transformed = result
        return transformed

    def may_transform(self, grant: Grant) -> bool:
        """Return whether a plugin can transform the stream of an asset, so that its size and checksum are unknown."""
        return grant.decision.stream and bool(self._implementations("transform"))

    def transform_fields(self, asset: Asset) -> dict[str, str | None]:
        """Return the fields of a log line on a transformed asset: the asset, and the plugins that can transform it."""
        plugins = [str(impl.plugin_name) for impl in reversed(self._implementations("transform"))]
        return {**_asset_fields(asset), "plugins": ", ".join(plugins)}

    def presign(self, grants: Sequence[Grant]) -> list[Redirect | None]:
        """Return temporary URLs without a request to the stores, or None for assets that are offline or not presigned.

        A grant with a size limit is not presigned, because the size must be read first. Neither is one that demands a
        stream.
        """
        locations = [self._location_to_presign(grant) for grant in grants]
        placed = [(grant, location) for grant, location in zip(grants, locations, strict=True) if location is not None]
        redirects = iter(self._presigned(*zip(*placed, strict=True)) if placed else ())
        return [None if location is None else next(redirects) for location in locations]

    def _location_to_presign(self, grant: Grant) -> Location | None:
        if grant.decision.max_bytes is not None or grant.decision.stream:
            return None
        try:
            return self._location(grant.asset)
        except (Missing, Offline):
            return None
        except Refused as refused:
            with suppress(Refused):
                self._revoke("resolve", grant, refused.decision)
            return None

    def _presigned(self, grants: Sequence[Grant], locations: Sequence[Location]) -> list[Redirect | None]:
        """Return for each location the first redirect of a plugin."""
        by_plugin = self.plugins.hook.presign(
            principal=grants[0].principal,
            assets=tuple([grant.asset for grant in grants]),
            locations=locations,
            grant_ids=tuple([grant.id for grant in grants]),
        )
        return [next(filter(None, found), None) for found in zip([None] * len(grants), *by_plugin, strict=True)]

    def sign_queries(self, principal: Principal, grants: Sequence[Grant]) -> SignedQueries | None:
        """Return queries that make the download URLs of granted assets work without headers, or None."""
        signed_queries: SignedQueries | None = self.plugins.hook.sign_queries(
            principal=principal, assets=tuple([grant.asset for grant in grants])
        )
        return signed_queries

    def order(self, grant: Grant, offline: Offline) -> Order:
        """Order an offline asset, unless it is ordered already, and return the order. Raises Unavailable, Refused."""
        order: Order | None = offline.order
        if offline.order.status == "orderable":
            try:
                order = self.plugins.hook.order(principal=grant.principal, asset=grant.asset)
            except Refused as refused:
                self._revoke("order", grant, refused.decision)
        if order is None:
            raise Unavailable(
                f"{offline.description} This server cannot order them.", code=offline.code, retry_after=86400
            )
        return order

    def report_order(self, principal: Principal, asset: Asset, order: Order) -> Order:
        """Report the state of an asset's order to the plugins, and return it."""
        self.plugins.hook.order_changed(principal=principal, asset=asset, order=order)
        return order

    def order_status(self, asset: Asset, principal: Principal = ANONYMOUS) -> Order:
        """Return the state of an asset's order, and report it to the plugins. Nothing is sent to the client.

        Raises NoStore, NoAnswer, Missing, Unavailable.
        """
        grant = Grant(principal, asset, Decision.abstain("order status requested"), "")
        try:
            self._delivery(grant, self.resolve(grant), streamed=True)
        except Offline as offline:
            return self.report_order(principal, asset, offline.order)
        return self.report_order(principal, asset, Order("succeeded"))

    def order_states(self, collection: str, item: str) -> Mapping[str, str]:
        """Return the states of the orders of an item's assets, by key."""
        by_plugin = self.plugins.hook.order_states(collection=collection, item=item)
        return {key: status for states in reversed(by_plugin) for key, status in states.items()}

    @property
    def records_downloads(self) -> bool:
        """True if a plugin charges for downloads or records them."""
        return bool(self._implementations("charge") or self._implementations("download_decided"))

    def charge(self, grant: Grant, byte_range: ByteRange, delivery: str) -> DownloadDecision:
        """Charge for the bytes to be sent, and report the decision to the plugins. Raises Refused."""
        self._require_charged([grant], self._charge(grant, byte_range))
        return self._granted(grant, byte_range, delivery)

    def _charge(self, grant: Grant, byte_range: ByteRange) -> Decision | None:
        try:
            denial: Decision | None = self.plugins.hook.charge(
                principal=grant.principal, asset=grant.asset, byte_range=byte_range
            )
        except Refused as refused:
            return refused.decision
        return denial

    def charge_many(
        self, grants: Sequence[Grant], byte_ranges: Sequence[ByteRange], delivery: str
    ) -> Iterator[DownloadDecision]:
        """Charge for several assets of one principal, and then report each decision to the plugins. Raises Refused."""
        charged = list(zip(grants, byte_ranges, strict=True))
        # A wrapper of ``charge`` must see every charge.
        one_by_one = (self._charge(grant, byte_range) for grant, byte_range in charged)
        denials: Iterator[Decision | None] = one_by_one if self._is_wrapped("charge") else self._denials(charged)
        self._require_charged(grants, next((denial for denial in denials if denial is not None), None))
        for grant, byte_range in charged:
            yield self._granted(grant, byte_range, delivery)

    def _denials(self, charged: Sequence[tuple[Grant, ByteRange]]) -> Iterator[Decision | None]:
        """Charge by ``charge_many``, and then by the plugins that have only ``charge``."""
        if not charged:
            return
        principal, assets = charged[0][0].principal, tuple(grant.asset for grant, _ in charged)
        try:
            yield self.plugins.hook.charge_many(
                principal=principal, assets=assets, byte_ranges=tuple(byte_range for _, byte_range in charged)
            )
            call = self._without("charge", "charge_many")
            for grant, byte_range in charged:
                yield from call({"principal": principal, "asset": grant.asset, "byte_range": byte_range})
        except Refused as refused:
            yield refused.decision

    def _require_charged(self, grants: Sequence[Grant], denial: Decision | None) -> None:
        """Deny assets that were not charged. Raises Refused."""
        if denial is None:
            return
        for grant in grants:
            _log_decision("charge", grant.principal, denial, **_asset_fields(grant.asset))
        for grant in grants[1:]:
            self._notify(self._refusal(grant, denial))
        self._refuse(grants[0], denial)

    def _granted(self, grant: Grant, byte_range: ByteRange, delivery: str) -> DownloadDecision:
        return self._notify(
            DownloadDecision(
                grant.id, grant.principal, grant.asset, grant.decision, (), self.request_info(), delivery, byte_range
            )
        )

    def stream_finished(self, stream_result: StreamResult) -> None:
        """Report the end of a stream to the plugins."""
        self.plugins.hook.stream_finished(stream_result=stream_result)

    def response_ready(self, route: str, method: str, status: int, seconds: float) -> None:
        """Report a response to the plugins."""
        self.plugins.hook.response_ready(route=route, method=method, status=status, seconds=seconds)

    def record_metric(self, name: str, value: float, labels: Mapping[str, str] = EMPTY, /) -> None:
        """Report a metric to the plugins."""
        self.plugins.hook.metric_recorded(name=name, value=value, labels=labels)

    def require_scope(self, principal: Principal, scope: str) -> None:
        """Check that the credential of a principal has a scope. Raises Refused."""
        for denial in _scope_denials(principal, scope):
            raise Refused(denial, anonymous=principal.anonymous)

    def storage_href(self, href: str) -> str | None:
        """Return the storage URL for a temporary URL, or None if it is of no store."""
        stored: str | None = self.plugins.hook.storage_href(href=href)
        return stored

    @property
    def reports_orders(self) -> bool:
        """True if a plugin adds the states of orders to items."""
        return bool(self._implementations("order_states"))

    def authorize_change(self, principal: Principal, change: Change) -> None:
        """Authorize a change to the catalog, by the decisions of all plugins. Raises Refused."""
        decisions = _scope_denials(principal, "write") + self._change_decisions(principal, change)
        decision = combine_decisions(decisions)
        fields = {"collection": change.collection, "item": change.item}
        _log_decision(
            change.action, principal, decision, **fields, others=_reasons(_other_denials(decisions, decision))
        )
        if not decision.allowed:
            raise Refused(decision, anonymous=principal.anonymous)

    def report_changes(self, changes: Sequence[Change], principal: Principal = ANONYMOUS) -> None:
        """Report committed changes to the plugins. They are called in the background."""
        if changes:
            self.plugins.hook.changes_committed(
                changes=tuple(changes), principal=principal, request_info=self.request_info()
            )

    def _change_decisions(self, principal: Principal, change: Change) -> list[Decision]:
        try:
            decisions: list[Decision] = self.plugins.hook.authorize_change(
                principal=principal, change=change, request_info=self.request_info()
            )
        except Refused as refused:
            return [refused.decision]
        return decisions


def _contradiction(original: Stream, previous: Stream, result: Stream, *, demanded: bool) -> str | None:
    """Return in which way a transformed stream contradicts the stream of the store or the decision, or None."""
    if not result.changed:
        same = not previous.changed and (result.length, result.etag) == (original.length, original.etag)
        return None if same else "expected changed to be True, because the stream is not that of the store"
    if result.etag is not None and result.etag == original.etag:
        return "expected another etag than that of the store, because the bytes are changed"
    if not demanded:
        return "expected authorize to demand the stream (stream=True), because a redirect would not be transformed"
    return None


def _grant_ids(number: int) -> list[str]:
    """Return unique identifiers of grants."""
    digits = os.urandom(8 * number).hex()
    return [digits[start : start + 16] for start in range(0, len(digits), 16)]


def _of_items(result: Cql2 | Only) -> Cql2:
    """Return a condition on items for what a plugin returned."""
    if not isinstance(result, Only):
        return result
    condition: Cql2 = (
        {"op": "in", "args": [{"property": "collection"}, sorted(result.names)]} if result.names else False
    )
    return {"op": "not", "args": [condition]} if result.excluded else condition


def _conjunction(conditions: Sequence[Cql2]) -> Cql2 | None:
    if len(conditions) > 1:
        return {"op": "and", "args": list(conditions)}
    return conditions[0] if conditions else None


def _without_added_groups(principal: Principal) -> Principal:
    return replace(principal, groups=principal.own_groups, added_groups=frozenset())


def _scope_denials(principal: Principal, scope: str) -> list[Decision]:
    """Return a denial if the credential lacks a scope. Plugins decide about the rights of the principal itself."""
    if principal.may(scope):
        return []
    detail = f"Your credential lacks the scope {scope!r}. Use a credential that has it."
    return [Decision.deny(f"the credential lacks scope {scope}", detail=detail, code="InsufficientScope", scope=scope)]


def _asset_fields(asset: Asset) -> dict[str, str | None]:
    key = f"{asset.key}/{asset.path}" if asset.path else asset.key
    return {"collection": asset.collection, "item": asset.item, "asset": key}


def _other_denials(decisions: Sequence[Decision], combined: Decision) -> tuple[Decision, ...]:
    """Return the denials besides the combined decision. The user must resolve all of them."""
    return tuple(decision for decision in decisions if decision.allowed is False and decision is not combined)


def _reasons(denials: Sequence[Decision]) -> str:
    return "; ".join(denial.reason for denial in denials)


def _log_decision(act: str, principal: Principal, decision: Decision, **fields: str | None) -> None:
    """Log a decision with its reason."""
    log.info(
        "%s %s",
        act,
        "granted" if decision.allowed else "refused",
        extra={
            "act": act,
            "principal": principal.id,
            "decision": decision.allowed,
            "reason": decision.reason,
            "by": decision.by,
            **fields,
        },
    )
