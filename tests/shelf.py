"""A store for tests that has every object. Each object is the same ten bytes."""

from datetime import timedelta
from typing import Any

from stacflask import Location, Redirect, Stream, hookimpl

CONTENT = b"0123456789"


class Shelf:
    """Resolves and delivers every asset."""

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Resolve every asset."""
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        """Return a redirect, or the bytes."""
        if streamed:
            return Stream(lambda first, length: iter([CONTENT[first : first + length]]), len(CONTENT), '"tag"')
        return Redirect("https://store.example.org/signed", timedelta(minutes=15))
