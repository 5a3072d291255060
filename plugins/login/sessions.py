"""Sessions in the database, and the cookies that name them."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from stacflask import BadCredentials, Cookie, Principal, Storage

from .._common.durations import cached
from ..oidc.settings import LOOPBACK

SCHEME = "session"
CACHED_SESSIONS = 4096


@dataclass(frozen=True, slots=True)
class CookieJar:
    """The cookies for one base URL of this API. Without https there are none, except on this machine.

    The prefixes ``__Host-`` and ``__Secure-`` prevent other sites on the same domain from setting them (RFC 6265bis).
    """

    base_url: str

    @property
    def usable(self) -> bool:
        """Whether cookies can be used."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "https" or parts.hostname in LOOPBACK

    def name(self, purpose: str) -> str:
        """Return the full name of a cookie."""
        if not self._secure:
            return f"stacflask-{purpose}"
        return f"__Host-stacflask-{purpose}" if self._path == "/" else f"__Secure-stacflask-{purpose}"

    def cookie(self, purpose: str, value: str, seconds: int) -> Cookie:
        """Return a cookie; 0 seconds delete it."""
        return Cookie(self.name(purpose), value, seconds, self._path, secure=self._secure)

    def read(self, purpose: str, cookies: Mapping[str, str]) -> str | None:
        """Return the value that the browser sent."""
        return cookies.get(self.name(purpose)) if self.usable else None

    @property
    def _secure(self) -> bool:
        return self.base_url.startswith("https:")

    @property
    def _path(self) -> str:
        return urlsplit(self.base_url).path or "/"


def digest(secret: str) -> bytes:
    """Return the stored hash of a session cookie."""
    return hashlib.sha256(secret.encode()).digest()


def session_ended() -> BadCredentials:
    """Return the error for a session that has ended or does not exist."""
    return BadCredentials("Your session has ended. Log in again.")


class Sessions:
    """The sessions. A session is cached for up to ``cache`` seconds, also after it was ended."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = cached(self._find, cache, CACHED_SESSIONS)

    def _find(self, name: bytes) -> tuple[Principal, datetime]:
        """Return the principal of a session and its expiry. Raises BadCredentials if there is none."""
        rows = self._storage.rows(
            "SELECT principal, groups, scopes, expires FROM plugin_login_sessions WHERE hash = :hash", hash=name
        )
        if not rows:
            raise session_ended()
        row = rows[0]
        return _principal(row, name), row["expires"]

    def begin(self, principal: Principal, provider: str, id_token: str, lifetime: timedelta) -> str:
        """Open a session, and return the secret of its cookie. Expired sessions are deleted."""
        secret = secrets.token_urlsafe(32)
        with self._storage.transaction() as statements:
            statements.rows("DELETE FROM plugin_login_sessions WHERE expires <= now()")
            statements.rows(
                "INSERT INTO plugin_login_sessions (hash, principal, groups, scopes, provider, id_token, expires) "
                "VALUES (:hash, :principal, :groups, :scopes, :provider, :id_token, now() + :lifetime)",
                hash=digest(secret),
                principal=principal.id,
                groups=sorted(principal.groups),
                scopes=sorted(principal.scopes or ()),
                provider=provider,
                id_token=id_token,
                lifetime=lifetime,
            )
        return secret

    def end(self, secret: str) -> Mapping[str, Any] | None:
        """End a session, and return its provider and ID token; None if there is none."""
        ended = self._storage.write(
            "DELETE FROM plugin_login_sessions WHERE hash = :hash RETURNING provider, id_token", hash=digest(secret)
        )
        return ended[0] if ended else None

    def end_all(self, principal: str) -> int:
        """End all sessions of a principal, and return their number."""
        return len(
            self._storage.write(
                "DELETE FROM plugin_login_sessions WHERE principal = :principal RETURNING hash", principal=principal
            )
        )

    def all(self) -> list[Mapping[str, Any]]:
        """Return the open sessions, newest first."""
        return self._storage.rows(
            "SELECT principal, groups, provider, created, expires FROM plugin_login_sessions WHERE expires > now() "
            "ORDER BY created DESC"
        )


def _principal(row: Mapping[str, Any], name: bytes) -> Principal:
    groups, scopes = frozenset(row["groups"]), frozenset(row["scopes"])
    return Principal(row["principal"], groups, SCHEME, scopes, reference=name.hex(), until=row["expires"])
