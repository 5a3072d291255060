"""Conditions (RFC 9110, section 13): whether what the client knows of a state still holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import request

from stacflask.errors import PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class State:
    """What a representation is known by: a strong ETag without its quotes, and when it was last modified.

    ``same`` brings the ETags of a request into the form of ``etag``, where it has several.
    """

    etag: str | None
    modified: datetime | None = None
    same: Callable[[str], str] = str


CONDITIONS = frozenset(f"HTTP_IF_{name}" for name in ("MATCH", "NONE_MATCH", "MODIFIED_SINCE", "UNMODIFIED_SINCE"))


def not_modified(state: State) -> bool:
    """Say whether the client of a GET or HEAD has this state already. Raises PreconditionFailed: it wants another."""
    if CONDITIONS.isdisjoint(request.environ):  # as in most requests
        return False
    if "If-Match" in request.headers:
        wanted = _tags(state, request.if_match.as_set())
        if not request.if_match.star_tag and state.etag not in wanted:
            raise PreconditionFailed("It is in another state than If-Match says.")
    elif _modified_after(state, request.if_unmodified_since):
        raise PreconditionFailed("It was modified after the time that If-Unmodified-Since says.")
    if "If-None-Match" in request.headers:
        known = _tags(state, request.if_none_match.as_set(include_weak=True))
        return request.if_none_match.star_tag or state.etag in known
    since = request.if_modified_since
    return since is not None and state.modified is not None and not _modified_after(state, since)


def _tags(state: State, sent: set[str]) -> set[str]:
    # An empty tag ("") comes as None.
    return {state.same(tag) for tag in sent if tag}


def _modified_after(state: State, moment: datetime | None) -> bool:
    if state.modified is None or moment is None:
        return False
    return whole_seconds(state.modified) > moment


def whole_seconds(moment: datetime) -> datetime:
    """Give an instant as an HTTP date can say it: without a fraction."""
    return moment.astimezone(UTC).replace(microsecond=0)
