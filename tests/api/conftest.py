"""Applications for the tests of the API: read-only, with changes, and with downloads."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from stacflask import Decision, Location, Redirect, Stream, hookimpl
from stacflask.testing import Plug

CONTENT = bytes(range(256)) * 4


class AllowChanges:
    """Allows every change."""

    @hookimpl
    def authorize_change(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")


class AllowDownloads:
    """Allows every download."""

    @hookimpl
    def authorize(self) -> Decision:
        """Return a consent."""
        return Decision.allow("test")


class Store:
    """Has the same object for every asset, and records the state of its streams."""

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
        """Resolve every asset."""
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        """Return a redirect, or a stream if required."""
        if streamed:
            return Stream(self.open, len(self.content), self.etag, self.modified, *self.described)
        return Redirect("https://store.example.org/signed?a=1&b=2", timedelta(minutes=15))

    def open(self, first: int, length: int) -> Iterator[bytes]:
        """Record the call, and return the bytes in small chunks."""
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
    """Return a client of an application without plugins: all is visible, and nothing can be changed or downloaded."""
    return plug()


@pytest.fixture
def editor(plug: Plug) -> FlaskClient:
    """Return a client that can make all changes."""
    return plug(AllowChanges())


@pytest.fixture
def edit(plug: Plug) -> Callable[..., FlaskClient]:
    """Return a function that returns clients that can make all changes, with these settings."""
    return lambda **environ: plug(AllowChanges(), environ=environ)


@pytest.fixture
def store() -> Store:
    """Return the store of ``download_client``."""
    return Store()


@pytest.fixture
def consent() -> AllowDownloads:
    """Return a plugin that allows every download."""
    return AllowDownloads()


@pytest.fixture
def download_client(plug: Plug, store: Store, consent: AllowDownloads) -> FlaskClient:
    """Return a client that can download and change everything."""
    return plug(store, consent, AllowChanges())
