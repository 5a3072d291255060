"""Sessions in the database, and the cookies by which browsers name them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from plugins._common.durations import cached
from plugins.oidc.settings import LOOPBACK
from stacflask import BadCredentials, Cookie, Principal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from stacflask import Storage

SCHEME = "session"
REMEMBERED = 4096  # sessions


@dataclass(frozen=True, slots=True)
class Jar:
    """The cookies of one address of this API. Without https there are none, but on this machine itself.

    Their names keep what stands beside us on the same domain from planting some (``__Host-``, ``__Secure-``).
    """

    base_url: str

    @property
    def usable(self) -> bool:
        """Whether there can be cookies at all."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "https" or parts.hostname in LOOPBACK

    def name(self, purpose: str) -> str:
        """Give the full name of a cookie."""
        if not self._secure:
            return f"stacflask-{purpose}"
        return f"__Host-stacflask-{purpose}" if self._path == "/" else f"__Secure-stacflask-{purpose}"

    def cookie(self, purpose: str, value: str, seconds: int) -> Cookie:
        """Make a cookie; 0 seconds end it."""
        return Cookie(self.name(purpose), value, seconds, self._path, secure=self._secure)

    def read(self, purpose: str, cookies: Mapping[str, str]) -> str | None:
        """Give what a browser sent."""
        return cookies.get(self.name(purpose)) if self.usable else None

    @property
    def _secure(self) -> bool:
        return self.base_url.startswith("https:")

    @property
    def _path(self) -> str:
        return urlsplit(self.base_url).path or "/"


def digest(secret: str) -> bytes:
    """Give what is kept of a session's cookie."""
    return hashlib.sha256(secret.encode()).digest()


class Sessions:
    """Who is logged in. What is read is cached for up to ``cache`` seconds, an ended session too."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = cached(self._find, cache, REMEMBERED)

    def _find(self, name: bytes) -> tuple[Principal, datetime]:
        """Give whose session this is, and until when. Raises BadCredentials if there is none."""
        rows = self._storage.rows(
            "SELECT principal, groups, scopes, expires FROM plugin_login_sessions WHERE hash = :hash", hash=name
        )
        if not rows:
            raise BadCredentials("Your session has ended: log in again.")
        row = rows[0]
        return _principal(row, name), row["expires"]

    def begin(self, principal: Principal, provider: str, id_token: str, lifetime: timedelta) -> str:
        """Open a session, and give the secret that names it. Sessions that have ended go on this occasion."""
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
        """Close a session; give its provider and ID token if there was one."""
        with self._storage.transaction() as statements:
            ended = statements.rows(
                "DELETE FROM plugin_login_sessions WHERE hash = :hash RETURNING provider, id_token", hash=digest(secret)
            )
        return ended[0] if ended else None

    def end_all(self, principal: str) -> int:
        """Close all sessions of somebody; give their number."""
        with self._storage.transaction() as statements:
            return len(
                statements.rows(
                    "DELETE FROM plugin_login_sessions WHERE principal = :principal RETURNING hash", principal=principal
                )
            )

    def all(self) -> list[Mapping[str, Any]]:
        """Give the open sessions, newest first."""
        return self._storage.rows(
            "SELECT principal, groups, provider, created, expires FROM plugin_login_sessions WHERE expires > now() "
            "ORDER BY created DESC"
        )


def _principal(row: Mapping[str, Any], name: bytes) -> Principal:
    groups, scopes = frozenset(row["groups"]), frozenset(row["scopes"])
    return Principal(row["principal"], groups, SCHEME, scopes, reference=name.hex(), until=row["expires"])
