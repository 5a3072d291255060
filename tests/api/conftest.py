"""Applications as the tests of the API need them: read only, open to changes, and with a door for downloads."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from stacflask import Decision, Location, Redirect, Stream, hookimpl
from stacflask.testing import Plug

CONTENT = bytes(range(256)) * 4


class Leave:
    """Lets everybody change everything."""

    @hookimpl
    def authorize_change(self) -> Decision:
        """Consent."""
        return Decision.allow("test")


class Consent:
    """Lets everybody download everything."""

    @hookimpl
    def authorize(self) -> Decision:
        """Consent."""
        return Decision.allow("test")


class Store:
    """Has one object, whatever it is asked for, and knows what became of its streams."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag: str | None = '"v1"'
        self.modified: datetime | None = datetime(2024, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
        self.opened: list[tuple[int, int]] = []
        self.closed = 0
        self.breaks = False
        self.described: tuple[str | None, str | None, str | None] = (None, None, None)
        self.surplus: Iterator[bytes] = iter(())

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Find everything."""
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        """Send an address, or what is asked for."""
        if streamed:
            return Stream(self.open, len(self.content), self.etag, self.modified, *self.described)
        return Redirect("https://store.example.org/signed?a=1&b=2", timedelta(minutes=15))

    def open(self, first: int, length: int) -> Iterator[bytes]:
        """Note what is asked for, and give it in small pieces."""
        self.opened.append((first, length))
        return self._chunks(first, length)

    def _chunks(self, first: int, length: int) -> Iterator[bytes]:
        try:
            for start in range(first, first + length, 100):
                yield self.content[start : min(start + 100, first + length)]
                if self.breaks:
                    raise ConnectionError("the store went away")
            yield from self.surplus
        finally:
            self.closed += 1


@pytest.fixture
def client(plug: Plug) -> FlaskClient:
    """Give a client of an application without plugins: all is seen, nothing is changed or downloaded."""
    return plug()


@pytest.fixture
def editor(plug: Plug) -> FlaskClient:
    """Give a client who may change everything."""
    return plug(Leave())


@pytest.fixture
def edit(plug: Plug) -> Callable[..., FlaskClient]:
    """Give clients who may change everything, under these settings."""
    return lambda **environ: plug(Leave(), environ=environ)


@pytest.fixture
def store() -> Store:
    """Give the store behind ``door``."""
    return Store()


@pytest.fixture
def consent() -> Consent:
    """Give a plugin that lets everybody download everything."""
    return Consent()


@pytest.fixture
def door(plug: Plug, store: Store, consent: Consent) -> FlaskClient:
    """Give a client who may download and change everything."""
    return plug(store, consent, Leave())
