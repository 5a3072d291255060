"""Which principals can make links, and how a link is described to its maker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from plugins.links.tokens import (
    Place,
    check,
    wrong,
)
from stacflask import (
    Decision,
    Principal,
    Refused,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask import Request
SCHEME = "link"
SHORTEST = timedelta(seconds=1)
"""A credential that lasts no longer makes no links."""


def check_narrowing(given: Sequence[str], request: Request, now: datetime) -> list[Place]:
    """Check what the holders of a link added, and give the places they named. Raises BadCredentials."""
    try:
        found = [check(caveat, request.path, request.address, now) for caveat in given]
    except ValueError:
        raise wrong() from None
    return [place for place in found if place is not None]


def check_known(principal: Principal) -> Principal:
    """Return a principal that is not anonymous. Raises Refused."""
    if principal.anonymous:
        refuse("nobody makes no links", "", anonymous=True)
    return principal


def can_make(principal: Principal) -> bool:
    """Whether who asks can be recalled later, and may download now."""
    recallable = not principal.anonymous and principal.scheme != SCHEME and principal.reference
    return bool(recallable) and principal.may("read") and principal.may("download")


def time_left(principal: Principal, now: datetime) -> timedelta:
    """Say how much longer the credential at hand lasts, as far as is known; a link ends with it."""
    return timedelta.max if principal.until is None else principal.until - now


def check_maker(principal: Principal, now: datetime) -> None:
    """Raise Refused for who cannot make links."""
    check_known(principal)
    if principal.scheme == SCHEME or not principal.reference:
        refuse("credentials that cannot be recalled", "With credentials of this kind no links can be made.")
    if not can_make(principal):
        refuse("the credential lacks scope download", "Your credential is not meant for downloads.")
    if time_left(principal, now) < SHORTEST:
        refuse("the credential is about to end", "Your credential is about to end, and a link would end with it.")


def refuse(reason: str, detail: str, *, anonymous: bool = False) -> NoReturn:
    """Raise Refused."""
    raise Refused(Decision.deny(reason, detail=detail or None), anonymous=anonymous)


def described(row: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a link without giving it."""
    state = "revoked" if row["revoked"] else "expired" if row["expires"] <= datetime.now(UTC) else "valid"
    used_up = row["downloads"] is not None and row["used"] >= row["downloads"]
    return {
        "id": row["id"],
        "path": row["path"],
        "state": "used up" if state == "valid" and used_up else state,
        "made": utc_text(row["made"]),
        "expires": utc_text(row["expires"]),
        "addresses": list(row["addresses"]),
        "downloads": row["downloads"],
        "used": row["used"] if row["downloads"] is not None else None,
        "note": row["note"],
    }


def utc_text(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339 text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
