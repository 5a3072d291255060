"""Client addresses in records: full, as a network, hashed, or omitted."""

import hashlib
import ipaddress
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from stacflask import StacflaskError


@lru_cache(maxsize=4096)
def network(address: str) -> str | None:
    """Return the network of an address, a /24 or a /48; None if the text is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(ipaddress.ip_network((mapped, 24 if mapped.version == 4 else 48), strict=False))  # noqa: PLR2004


class Addresses:
    """Converts client addresses to the stored form: ``network``, ``full``, ``hashed`` or ``off``."""

    def __init__(self, form: str, salt: Callable[[date], bytes]) -> None:
        self._form = form
        self._salt = salt
        self._today: tuple[date, bytes] | None = None

    def stored(self, address: str, day: date) -> str | None:
        """Return the stored form of an address on a day; None if there is none, or the salt cannot be read."""
        match self._form:
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
