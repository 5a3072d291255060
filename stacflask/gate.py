"""The gate: the only room that calls the hooks of a request. It knows people and policy, and nothing of tables or HTTP.

Only ``authorize`` makes a ``Grant``, and ``resolve`` and ``deliver`` take one, so their order cannot be got wrong.
A plugin that raises Refused denies. Nothing here catches any other exception: a policy that breaks closes the door.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from stacflask.errors import BadCredentials, Missing, NoAnswer, NoStore, Offline, Refused, Unavailable
from stacflask.model.decision import UNRESTRICTED, Decision, Grant, Restriction
from stacflask.model.delivery import ByteRange, Delivery, Location, Order, Redirect, SignedQueries
from stacflask.model.events import DownloadDecision, RequestInfo, StreamResult
from stacflask.model.principal import ANONYMOUS, Challenge, Principal, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence
    from datetime import datetime

    import pluggy

    from stacflask.model.asset import Asset, Change
    from stacflask.model.json_types import Cql2

log = logging.getLogger(__name__)

SILENCE = Decision.deny("no plugin vouched")
NOTHING_SEEN = Restriction(items=False, collections=False)


def combine_decisions(decisions: Sequence[Decision]) -> Decision:
    """Weigh the answers of all plugins: the first denial stands, else the first consent, else silence, which refuses.

    Remarks decide nothing. What is settled as a consent has the header fields of all, is counted if any of them is, and
    covers objects up to the smallest limit of them.
    """
    if len(decisions) == 1 and decisions[0].allowed is not None:
        return decisions[0]
    denial = next((decision for decision in decisions if decision.allowed is False), None)
    if denial is not None:
        return denial
    consent = next((decision for decision in decisions if decision.allowed), None)
    if consent is None:
        return SILENCE
    headers = {name: value for decision in reversed(decisions) for name, value in decision.headers.items()}
    limits = [decision.max_bytes for decision in decisions if decision.max_bytes is not None]
    return replace(
        consent,
        headers=headers,
        counted=any(decision.counted for decision in decisions),
        max_bytes=min(limits, default=None),
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """Puts one question to the plugins at each step. ``request_info`` tells the request at hand, for the record."""

    plugins: pluggy.PluginManager
    request_info: Callable[[], RequestInfo] = RequestInfo

    def authenticate(self, request: Request) -> Principal:
        """Say who asks; ``ANONYMOUS`` for who brings no credentials. Raises BadCredentials.

        Credentials that no plugin understands are wrong, and not nobody's, unless no plugin looks at any.
        """
        principal: Principal | None = self.plugins.hook.authenticate(request=request)
        if principal is not None:
            return principal
        if request.token or ("Authorization" in request.headers and self.authenticates):
            raise BadCredentials("These credentials are not of a kind that is understood here.")
        return ANONYMOUS

    @property
    def authenticates(self) -> bool:
        """Whether any plugin recognises people; else nobody needs to be shown a request."""
        return bool(self.plugins.hook.authenticate.get_hookimpls())

    def refresh_principal(self, principal: Principal, since: datetime) -> Principal | None:
        """Say who somebody is now who was recognised at that time; None: nobody vouches. Raises BadCredentials."""
        now: Principal | None = self.plugins.hook.refresh_principal(principal=principal, since=since)
        return now

    def challenges(self) -> list[Challenge]:
        """Give how plugins want to be asked, in their order."""
        return [challenge for several in self.plugins.hook.challenge() for challenge in several]

    @property
    def identifying_headers(self) -> list[str]:
        """Give the header fields besides Authorization by which plugins know people, as their challenges tell them."""
        schemes = [challenge.scheme for challenge in self.challenges()]
        apart = [scheme for scheme in schemes if scheme.get("in") in ("cookie", "header")]
        return list(dict.fromkeys("Cookie" if one["in"] == "cookie" else str(one["name"]) for one in apart))

    @property
    def writable(self) -> bool:
        """Whether any plugin has a word to say on changes; else the Transaction extensions are not there at all."""
        return bool(self.plugins.hook.authorize_change.get_hookimpls())

    def restrict(self, principal: Principal) -> Restriction:
        """Say what this principal may see: all conditions joined by AND."""
        if not principal.may("read"):
            return NOTHING_SEEN
        if not self.plugins.hook.restrict.get_hookimpls():
            return UNRESTRICTED
        ask = self.plugins.hook.restrict
        return Restriction(
            items=_both(ask(principal=principal, of="items")),
            collections=_both(ask(principal=principal, of="collections")),
        )

    def authorize(self, principal: Principal, asset: Asset) -> Grant:
        """Hear every plugin and grant or refuse. Raises Refused."""
        answers = _covered(principal, "download") + self._heard(principal, asset)
        decision = combine_decisions(answers)
        others = _others(answers, decision)
        _record("download", principal, decision, **_about(asset), others=_reasons(others))
        grant = Grant(principal, asset, decision, *_ids(1))
        return grant if decision.allowed else self._refuse(grant, decision, others)

    def authorize_each(self, principal: Principal, assets: Sequence[Asset]) -> list[Grant | Decision]:
        """Hear every plugin on many assets: a grant for each, or the denial.

        Nobody who keeps records is told: nothing leaves yet, and what does is charged first.
        """
        covered = _covered(principal, "download")
        at_once = self._at_once(principal, tuple(assets))
        ask = self._one_by_one(principal)
        weighed: list[Grant | Decision] = []
        for grant_id, asset, *answers in zip(_ids(len(assets)), assets, *at_once, strict=True):
            heard = [answer for answer in (*answers, *ask(asset)) if answer is not None]
            decision = combine_decisions(covered + heard)
            weighed.append(Grant(principal, asset, decision, grant_id) if decision.allowed else decision)
        return weighed

    def _at_once(self, principal: Principal, assets: tuple[Asset, ...]) -> list[list[Decision | None]]:
        try:
            answers: list[list[Decision | None]] = self.plugins.hook.authorize_many(principal=principal, assets=assets)
        except Refused as refused:
            return [[refused.decision] * len(assets)]
        return answers

    def _one_by_one(self, principal: Principal) -> Callable[[Asset], Sequence[Decision | None]]:
        """Ask about one of many assets those who have not answered about all of them."""
        answered = _answerers(self.plugins.hook.authorize_many.get_hookimpls())
        others = [
            one for one in reversed(self.plugins.hook.authorize.get_hookimpls()) if one.plugin_name not in answered
        ]
        if any(_wraps(one) for one in others):
            return lambda asset: self._heard(principal, asset)
        asked = [(one.function, one.argnames) for one in others]

        def ask(asset: Asset) -> list[Decision | None]:
            known: dict[str, Any] = {"principal": principal, "asset": asset}
            try:
                heard: list[Any] = [answer(*[known[name] for name in names]) for answer, names in asked]
            except Refused as refused:
                return [refused.decision]
            return heard

        return ask

    def _heard(self, principal: Principal, asset: Asset) -> list[Decision]:
        """Call the hook. A plugin that raises a refusal denies: those who keep records are told of it, too."""
        try:
            answers: list[Decision] = self.plugins.hook.authorize(principal=principal, asset=asset)
        except Refused as refused:
            return [refused.decision]
        return answers

    def _refuse(self, grant: Grant, denial: Decision, others: tuple[Decision, ...] = ()) -> NoReturn:
        self._tell(self._refusal(grant, denial, others))
        raise Refused(denial, anonymous=grant.principal.anonymous)

    def _withdraw(self, act: str, grant: Grant, denial: Decision) -> NoReturn:
        """Refuse what was granted already. Raises Refused."""
        _record(act, grant.principal, denial, **_about(grant.asset))
        self._refuse(grant, denial)

    def _refusal(self, grant: Grant, denial: Decision, others: tuple[Decision, ...] = ()) -> DownloadDecision:
        return DownloadDecision(grant.id, grant.principal, grant.asset, denial, others, self.request_info())

    def _tell(self, download_decision: DownloadDecision) -> DownloadDecision:
        self.plugins.hook.download_decided(download_decision=download_decision)
        return download_decision

    def resolve(self, grant: Grant) -> Location:
        """Find the bytes. Raises NoStore, Missing, Offline, Refused."""
        try:
            location: Location | None = self._resolving({"asset": grant.asset})
        except Refused as refused:
            self._withdraw("resolve", grant, refused.decision)
        if location is None:
            log.warning("no plugin resolves this href", extra={"href": grant.asset.href})
            raise NoStore("No store of this server has this asset.")
        return location

    def resolves(self, asset: Asset) -> bool:
        """Whether a plugin knows where such an asset's bytes are. Raises whatever plugins raise."""
        return self._resolving({"asset": asset}) is not None

    @property
    def _resolving(self) -> Callable[..., Any]:
        return _first(self.plugins.hook.resolve)

    def deliver(self, grant: Grant, location: Location, *, streamed: bool) -> Delivery:
        """Get the bytes ready. Raises NoAnswer, Missing, Offline, Unavailable, Refused."""
        if grant.decision.max_bytes is None:
            return self._delivery(grant, location, streamed=streamed)
        # Only a stream has the size that its store reports.
        stream = self._delivery(grant, location, streamed=True)
        self._check_size(grant, stream)
        return stream if streamed else self._delivery(grant, location, streamed=False)

    def _delivery(self, grant: Grant, location: Location, *, streamed: bool) -> Delivery:
        try:
            delivery: Delivery | None = self.plugins.hook.deliver(
                principal=grant.principal, asset=grant.asset, location=location, streamed=streamed, grant_id=grant.id
            )
        except Refused as refused:
            self._withdraw("deliver", grant, refused.decision)
        if delivery is None or (streamed and isinstance(delivery, Redirect)):
            log.error("no plugin delivers from this store", extra={"store": location.store, "streamed": streamed})
            raise NoAnswer("No plugin delivers this asset.")
        return delivery

    def _check_size(self, grant: Grant, delivery: Delivery) -> None:
        """Refuse an object that is larger than what the consent covers. Raises Refused."""
        limit = grant.decision.max_bytes
        if limit is not None and (isinstance(delivery, Redirect) or delivery.length > limit):
            reason = f"{grant.decision.reason}, for at most {limit} bytes"
            detail = f"This asset is larger than the {limit} bytes that may be downloaded with your rights."
            denial = Decision.deny(reason, detail=detail, code="TooLarge")
            self._withdraw("deliver", grant, denial)

    def presign(self, grants: Sequence[Grant]) -> list[Redirect | None]:
        """Give temporary addresses without a look at the objects, where their store does and knows them online.

        A grant that is limited by size gets none: the size must be read first.
        """
        resolve, presign = self._resolving, _first(self.plugins.hook.presign)

        def signed(grant: Grant) -> Redirect | None:
            if grant.decision.max_bytes is not None:
                return None
            known = {"principal": grant.principal, "asset": grant.asset, "grant_id": grant.id}
            try:
                location = known["location"] = resolve(known)
                redirect: Redirect | None = None if location is None else presign(known)
            except (Missing, Offline):
                return None
            except Refused as refused:
                with suppress(Refused):
                    self._withdraw("resolve", grant, refused.decision)
                return None
            return redirect

        return [signed(grant) for grant in grants]

    def sign_queries(self, principal: Principal, grants: Sequence[Grant]) -> SignedQueries | None:
        """Give what makes the download addresses of what was granted work without headers; None: nothing does."""
        signed_queries: SignedQueries | None = self.plugins.hook.sign_queries(
            principal=principal, assets=tuple([grant.asset for grant in grants])
        )
        return signed_queries

    def order(self, grant: Grant, offline: Offline) -> Order:
        """Have an asset brought online that nobody has ordered yet; say how it stands. Raises Unavailable, Refused."""
        found: Order | None = offline.order
        if offline.order.status == "orderable":
            try:
                found = self.plugins.hook.order(principal=grant.principal, asset=grant.asset)
            except Refused as refused:
                self._withdraw("order", grant, refused.decision)
        if found is None:
            raise Unavailable(f"{offline.description} Nobody here does that.", code=offline.code, retry_after=86400)
        return found

    def report_order(self, principal: Principal, asset: Asset, order: Order) -> Order:
        """Tell how it stands with an asset that is not online, or was not."""
        self.plugins.hook.order_changed(principal=principal, asset=asset, order=order)
        return order

    def order_status(self, asset: Asset, principal: Principal = ANONYMOUS) -> Order:
        """See how it stands with an asset, and tell. Nothing is handed out.

        Raises NoStore, NoAnswer, Missing, Unavailable.
        """
        grant = Grant(principal, asset, Decision.abstain("a look at its order"), "")
        try:
            self.deliver(grant, self.resolve(grant), streamed=True)
        except Offline as offline:
            return self.report_order(principal, asset, offline.order)
        return self.report_order(principal, asset, Order("succeeded"))

    def order_states(self, collection: str, item: str) -> Mapping[str, str]:
        """Give what is known of the orders of an item's assets, by key."""
        answers = self.plugins.hook.order_states(collection=collection, item=item)
        return {key: status for states in reversed(answers) for key, status in states.items()}

    @property
    def records_downloads(self) -> bool:
        """Whether anybody books what leaves, or keeps records of it; else there is nothing to charge, nor to tell."""
        return bool(self.plugins.hook.charge.get_hookimpls() or self.plugins.hook.download_decided.get_hookimpls())

    def charge(self, grant: Grant, byte_range: ByteRange, delivery: str) -> DownloadDecision:
        """Let plugins book what is about to leave and how, and tell those who keep records. Raises Refused."""
        self._booked([grant], self._charge(grant, byte_range))
        return self._leaving(grant, byte_range, delivery)

    def _charge(self, grant: Grant, byte_range: ByteRange) -> Decision | None:
        try:
            denial: Decision | None = self._charging(
                principal=grant.principal, asset=grant.asset, byte_range=byte_range
            )
        except Refused as refused:
            return refused.decision
        return denial

    @property
    def _charging(self) -> Any:
        return self.plugins.hook.charge

    def charge_many(
        self, grants: Sequence[Grant], byte_ranges: Sequence[ByteRange], delivery: str
    ) -> Iterator[DownloadDecision]:
        """Do the same of several assets of one principal: all are booked, before any is told. Raises Refused."""
        if grants:
            self._booked(grants, self._charge_all(grants, byte_ranges))
        for grant, byte_range in zip(grants, byte_ranges, strict=True):
            yield self._leaving(grant, byte_range, delivery)

    def _charge_all(self, grants: Sequence[Grant], byte_ranges: Sequence[ByteRange]) -> Decision | None:
        try:
            return self._charge_many(grants, tuple(byte_ranges))
        except Refused as refused:
            return refused.decision

    def _charge_many(self, grants: Sequence[Grant], byte_ranges: tuple[ByteRange, ...]) -> Decision | None:
        principal, assets = grants[0].principal, tuple([grant.asset for grant in grants])
        charge, at_once = self._charging, self.plugins.hook.charge_many
        denial: Decision | None = None
        answered: set[str] = set()
        if not _is_wrapped(charge):  # who wraps it sees every booking
            denial = at_once(principal=principal, assets=assets, byte_ranges=byte_ranges)
            answered = _answerers(at_once.get_hookimpls())
        ask = _first(charge, answered)
        for asset, byte_range in zip(assets, byte_ranges, strict=True):
            denial = denial or ask({"principal": principal, "asset": asset, "byte_range": byte_range})
        return denial

    def _booked(self, grants: Sequence[Grant], denial: Decision | None) -> None:
        """Refuse what was not booked."""
        if denial is None:
            return
        for grant in grants:
            _record("charge", grant.principal, denial, **_about(grant.asset))
        for grant in grants[1:]:
            self._tell(self._refusal(grant, denial))
        self._refuse(grants[0], denial)

    def _leaving(self, grant: Grant, byte_range: ByteRange, delivery: str) -> DownloadDecision:
        return self._tell(
            DownloadDecision(
                grant.id, grant.principal, grant.asset, grant.decision, (), self.request_info(), delivery, byte_range
            )
        )

    def stream_finished(self, stream_result: StreamResult) -> None:
        """Tell of the end of a stream."""
        self.plugins.hook.stream_finished(stream_result=stream_result)

    def response_ready(self, route: str, method: str, status: int, seconds: float) -> None:
        """Tell of an answer."""
        self.plugins.hook.response_ready(route=route, method=method, status=status, seconds=seconds)

    def record_metric(self, name: str, value: float) -> None:
        """Tell a figure to the plugins that keep them."""
        self.plugins.hook.metric_recorded(name=name, value=value)

    def require_scope(self, principal: Principal, scope: str) -> None:
        """See that the credential at hand is meant for what has this scope. Raises Refused."""
        for denial in _covered(principal, scope):
            raise Refused(denial, anonymous=principal.anonymous)

    def storage_href(self, href: str) -> str | None:
        """Return the storage address that a temporary address of a store leads to; None: it is no store's."""
        found: str | None = self.plugins.hook.storage_href(href=href)
        return found

    @property
    def reports_orders(self) -> bool:
        """Whether a plugin adds the states of orders to items that are shown."""
        return bool(self.plugins.hook.order_states.get_hookimpls())

    def authorize_change(self, principal: Principal, change: Change) -> None:
        """Hear every plugin on a change to the catalogue. Raises Refused."""
        answers = _covered(principal, "write") + self._heard_on_change(principal, change)
        decision = combine_decisions(answers)
        about = {"collection": change.collection, "item": change.item}
        _record(change.action, principal, decision, **about, others=_reasons(_others(answers, decision)))
        if not decision.allowed:
            raise Refused(decision, anonymous=principal.anonymous)

    def _heard_on_change(self, principal: Principal, change: Change) -> list[Decision]:
        try:
            answers: list[Decision] = self.plugins.hook.authorize_change(principal=principal, change=change)
        except Refused as refused:
            return [refused.decision]
        return answers


def _wraps(impl: Any) -> bool:
    return bool(impl.wrapper)


def _is_wrapped(hook: Any) -> bool:
    return any(_wraps(one) for one in hook.get_hookimpls())


def _answerers(impls: Sequence[Any]) -> set[str]:
    """Name the plugins that answer a hook. Who wraps it sees the answers of others, and has none."""
    return {one.plugin_name for one in impls if not _wraps(one)}


def _first(hook: Any, without: Container[str] = ()) -> Callable[[Mapping[str, Any]], Any]:
    """Give what asks a hook whose first answer is taken as pluggy does, for who asks it for each of thousands.

    It takes the arguments by name, and may be given more than the hook has. Of one that is wrapped, nobody is left out.
    """
    if _is_wrapped(hook):
        return lambda known: hook(**{name: known[name] for name in hook.spec.argnames})
    impls = reversed(hook.get_hookimpls())
    asked = [(one.function, one.argnames) for one in impls if one.plugin_name not in without]

    def ask(known: Mapping[str, Any]) -> Any:
        for answer, names in asked:
            found = answer(*map(known.__getitem__, names))
            if found is not None:
                return found
        return None

    return ask


def _ids(number: int) -> list[str]:
    """Make names for so many grants, each its own."""
    digits = os.urandom(8 * number).hex()
    return [digits[start : start + 16] for start in range(0, len(digits), 16)]


def _both(conditions: Sequence[Cql2]) -> Cql2 | None:
    if len(conditions) > 1:
        return {"op": "and", "args": list(conditions)}
    return conditions[0] if conditions else None


def _covered(principal: Principal, scope: str) -> list[Decision]:
    """Deny what the credential at hand is not meant for; what its holder may is for the plugins to say."""
    if principal.may(scope):
        return []
    detail = f"Your credential is not meant for this: it lacks the scope {scope!r}."
    return [Decision.deny(f"the credential lacks scope {scope}", detail=detail, code="InsufficientScope", scope=scope)]


def _about(asset: Asset) -> dict[str, str | None]:
    key = f"{asset.key}/{asset.path}" if asset.path else asset.key
    return {"collection": asset.collection, "item": asset.item, "asset": key}


def _others(answers: Sequence[Decision], settled: Decision) -> tuple[Decision, ...]:
    """Give those who would have refused, too: mending one is not enough then."""
    return tuple(answer for answer in answers if answer.allowed is False and answer is not settled)


def _reasons(denials: Sequence[Decision]) -> str:
    return "; ".join(denial.reason for denial in denials)


def _record(act: str, principal: Principal, decision: Decision, **about: str | None) -> None:
    """Log the decision with its reason."""
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
            **about,
        },
    )
