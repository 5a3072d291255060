"""Client addresses in records: whole, as a network, hashed, or left out."""

from __future__ import annotations

import hashlib
import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from stacflask import StacflaskError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date


@lru_cache(maxsize=4096)
def network(address: str) -> str | None:
    """Give the network that an address is in, a /24 or a /48; None for what is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network((mapped, 24 if mapped.version == 4 else 48), strict=False))  # noqa: PLR2004


class Addresses:
    """Clients' addresses, as far as they are kept."""

    def __init__(self, kept: str, salt: Callable[[date], bytes]) -> None:
        self._kept = kept
        self._salt = salt
        self._today: tuple[date, bytes] | None = None

    def keep(self, address: str, day: date) -> str | None:
        """Give what is kept of an address on a day; nothing where that cannot be told."""
        match self._kept:
            case "full":
                return address or None
            case "network":
                return network(address)
            case "hashed":
                return self._hashed(address, day)
        return None

    def _hashed(self, address: str, day: date) -> str | None:
        today = self._today
        if today is None or today[0] != day:
            try:
                today = self._today = day, self._salt(day)
            except StacflaskError:
                return None
        return hashlib.blake2b(address.encode(), key=today[1], digest_size=8).hexdigest()
