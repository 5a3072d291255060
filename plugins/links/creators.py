"""Creators of links: which principals can create links, and what they see of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from stacflask import Decision, Principal, Refused, Request

from .tokens import Target, check_caveat, invalid_link

SCHEME = "link"
MIN_LIFETIME = timedelta(seconds=1)
"""A credential that expires sooner cannot create links."""


def check_caveats(caveats: Sequence[str], request: Request, now: datetime) -> list[Target]:
    """Check the caveats of a link, and return their targets. Raises BadCredentials."""
    try:
        targets = [check_caveat(caveat, request.path, request.address, now) for caveat in caveats]
    except ValueError:
        raise invalid_link() from None
    return [target for target in targets if target is not None]


def check_authenticated(principal: Principal) -> Principal:
    """Return a principal that is not anonymous. Raises Refused."""
    if principal.anonymous:
        refuse("anonymous users have no links", "", anonymous=True)
    return principal


def can_make(principal: Principal) -> bool:
    """Return whether a principal can be refreshed later, and may download now."""
    refreshable = not principal.anonymous and principal.scheme != SCHEME and principal.reference
    return bool(refreshable) and principal.may("read") and principal.may("download")


def time_left(principal: Principal, now: datetime) -> timedelta:
    """Return how long the credential is valid; ``timedelta.max`` if unknown. A link expires with it."""
    return timedelta.max if principal.until is None else principal.until - now


def check_creator(principal: Principal, now: datetime) -> None:
    """Raise Refused for a principal that cannot create links."""
    check_authenticated(principal)
    if principal.scheme == SCHEME or not principal.reference:
        refuse("credential cannot be refreshed", "Links cannot be created with this kind of credential.")
    if not can_make(principal):
        refuse("the credential lacks scope download", "Your credential does not include the scopes read and download.")
    if time_left(principal, now) < MIN_LIFETIME:
        refuse("the credential is about to expire", "Your credential is about to expire, and a link expires with it.")


def refuse(reason: str, detail: str, *, anonymous: bool = False) -> NoReturn:
    """Raise Refused."""
    raise Refused(Decision.deny(reason, detail=detail or None), anonymous=anonymous)


def description(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a link, without the link itself."""
    state = "revoked" if row["revoked"] else "expired" if row["expires"] <= datetime.now(UTC) else "valid"
    used_up = row["downloads"] is not None and row["used"] >= row["downloads"]
    return {
        "id": row["id"],
        "path": row["path"],
        "state": "used up" if state == "valid" and used_up else state,
        "created": utc_text(row["created"]),
        "expires": utc_text(row["expires"]),
        "addresses": list(row["addresses"]),
        "downloads": row["downloads"],
        "used": row["used"] if row["downloads"] is not None else None,
        "note": row["note"],
    }


def utc_text(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339 text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
