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
        redirects: True if it returns (unusable) URLs of ``https://store.example`` where possible: in ``deliver``, and
            in ``presign`` for pages and manifests with signed hrefs.
        fields: Further fields of the ``Stream`` of each object, such as ``content_type`` and ``content_encoding``.
    """

    def __init__(self, objects: Mapping[str, bytes], *, redirects: bool = False, **fields: Any) -> None:
        self.objects = dict(objects)
        self.redirects = redirects
        self.fields = fields

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
            return self._redirect(location)

        def open_range(first: int, length: int) -> Iterator[bytes]:
            yield content[first : first + length]

        return Stream(open_range, **{"length": len(content), "etag": _etag(content), **self.fields})

    @hookimpl
    def presign(self, locations: Sequence[Location]) -> list[Redirect | None]:
        """Return a redirect for each object of this store."""
        ours = [self.redirects and location.store == "memory" for location in locations]
        return [self._redirect(one) if own else None for one, own in zip(locations, ours, strict=True)]

    def _redirect(self, location: Location) -> Redirect:
        url = f"https://store.example/{quote(location.path, safe='')}"
        return Redirect(url, timedelta(minutes=5), len(self.objects[location.path]))


def _etag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:16]}"'
