"""Plugins and principals that stand for an identity provider and a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from stacflask.errors import BadCredentials, Missing
from stacflask.hookspecs import hookimpl
from stacflask.model.asset import Asset
from stacflask.model.delivery import Location, Redirect, Stream
from stacflask.model.principal import Challenge, Principal, Request

SCHEME = "test"


def as_user(user: str, groups: Iterable[str] = (), **fields: Any) -> Principal:
    """Return the principal of an authenticated user, for hooks and for requests.

    ``client.get(url, user=as_user("ann", groups=["staff"]))`` is a request of that user. It needs neither a
    credential nor an identity plugin.

    Args:
        user: Identifier of the user.
        groups: Names of the user's groups.
        fields: Further fields of ``Principal``, such as ``scopes`` and ``claims``.
    """
    return Principal(user, frozenset(groups), **{"scheme": SCHEME, **fields})


class FakeIdentity:
    """An identity plugin for tests: the bearer token of a user is the name of the user.

    Args:
        groups: The groups of each user, by name. A test can change them later in the attribute of the same name.
    """

    def __init__(self, groups: Mapping[str, Iterable[str]]) -> None:
        self.groups = dict(groups)

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        """Return the user that the bearer token names. Raises BadCredentials for an unknown user."""
        user = request.credentials("Bearer")
        return None if user is None else self._principal(user)

    @hookimpl
    def refresh_principal(self, principal: Principal, since: datetime) -> Principal | None:  # noqa: ARG002
        """Return the user with its current groups. Raises BadCredentials for a user that was removed."""
        return self._principal(principal.reference) if principal.scheme == SCHEME else None

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Return the bearer scheme."""
        return [Challenge("Bearer", "test", {"type": "http", "scheme": "bearer"})]

    def _principal(self, user: str) -> Principal:
        if user not in self.groups:
            raise BadCredentials("The test has no user with this token.")
        return as_user(user, self.groups[user], reference=user)


class MemoryStore:
    """A store for tests that delivers bytes from memory.

    Args:
        objects: The bytes of each object, by href. A test can change them later in the attribute of the same name.
        redirects: True if it redirects to (unusable) temporary URLs where a redirect is possible.
    """

    def __init__(self, objects: Mapping[str, bytes], *, redirects: bool = False) -> None:
        self.objects = dict(objects)
        self.redirects = redirects

    @hookimpl
    def resolve(self, asset: Asset) -> Location | None:
        """Return the location of an href that is an object, or begins with ``memory:``. Raises Missing."""
        href = f"{asset.href.rstrip('/')}/{asset.path}" if asset.path else asset.href
        if href in self.objects:
            return Location("memory", href)
        if href.startswith("memory:"):
            raise Missing("The test has no object with this href.")
        return None

    @hookimpl
    def deliver(self, location: Location, streamed: bool) -> Redirect | Stream | None:
        """Return the bytes, or a redirect."""
        if location.store != "memory":
            return None
        content = self.objects[location.path]
        if self.redirects and not streamed:
            return Redirect(
                f"https://store.example/{quote(location.path, safe='')}", timedelta(minutes=5), len(content)
            )

        def open_range(first: int, length: int) -> Iterator[bytes]:
            yield content[first : first + length]

        return Stream(open_range, len(content), f'"{sha256(content).hexdigest()[:16]}"')
