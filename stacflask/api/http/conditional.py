"""Conditional requests (RFC 9110, section 13)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import request

from stacflask.errors import PreconditionFailed


@dataclass(frozen=True, slots=True)
class State:
    """The validators of a representation: a strong ETag without its quotes, and the time of the last change.

    ``same`` converts ETags of a request to the form of ``etag``, if one state has several ETags.
    """

    etag: str | None
    modified: datetime | None = None
    same: Callable[[str], str] = str


_CONDITION_FIELDS = frozenset(
    f"HTTP_IF_{name}" for name in ("MATCH", "NONE_MATCH", "MODIFIED_SINCE", "UNMODIFIED_SINCE")
)


def not_modified(state: State) -> bool:
    """Return whether the client of a GET or HEAD already has this state.

    Raises PreconditionFailed if If-Match or If-Unmodified-Since does not hold.
    """
    if _CONDITION_FIELDS.isdisjoint(request.environ):  # most requests have no condition
        return False
    if "If-Match" in request.headers:
        expected = _tags(state, request.if_match.as_set())
        if not request.if_match.star_tag and state.etag not in expected:
            raise PreconditionFailed("The resource has changed: its ETag is not in If-Match.")
    elif _modified_after(state, request.if_unmodified_since):
        raise PreconditionFailed("The resource was modified after the time in If-Unmodified-Since.")
    if "If-None-Match" in request.headers:
        cached = _tags(state, request.if_none_match.as_set(include_weak=True))
        return request.if_none_match.star_tag or state.etag in cached
    since = request.if_modified_since
    return since is not None and state.modified is not None and not _modified_after(state, since)


def _tags(state: State, sent: set[str]) -> set[str]:
    # Werkzeug returns an empty tag ("") as None.
    return {state.same(tag) for tag in sent if tag}


def _modified_after(state: State, moment: datetime | None) -> bool:
    if state.modified is None or moment is None:
        return False
    return whole_seconds(state.modified) > moment


def whole_seconds(moment: datetime) -> datetime:
    """Return an instant without fractions of a second, which an HTTP date cannot express."""
    return moment.astimezone(UTC).replace(microsecond=0)
