"""A store that tests may ask: it has every object, and each is the same ten bytes."""

from datetime import timedelta
from typing import Any

from stacflask import Location, Redirect, Stream, hookimpl

CONTENT = b"0123456789"


class Shelf:
    """Has everything."""

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Find everything."""
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        """Give an address, or the bytes."""
        if streamed:
            return Stream(lambda first, length: iter([CONTENT[first : first + length]]), len(CONTENT), '"tag"')
        return Redirect("https://store.example.org/signed", timedelta(minutes=15))
