"""API keys: a key authenticates a principal with a name and groups, and limits it to scopes.

A key is ``sfk_<id>_<secret>``: the id finds the row, the secret is 256 random bits. Only its SHA-256 is stored. Slow
hashes such as bcrypt make it harder to guess passwords that people choose. 256 bits cannot be guessed, and a slow hash
would delay every request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import click

from stacflask import ANONYMOUS, BadCredentials, Challenge, Principal, Request, Services, Setting, Storage, hookimpl

from .._common import text_tables
from .._common.durations import UNITS, cache_seconds, cached, parse_duration
from .._common.groups import SPECIAL, is_plain, warn_unknown

CACHE = "STACFLASK_API_KEYS_CACHE"
CACHED_KEYS = 4096
SCHEME = "api_key"
PREFIX = "sfk_"
KEY = re.compile(r"sfk_([0-9a-f]{8})_[A-Za-z0-9_-]{8,200}")
SCOPES = ("read", "download", "write")

COMMANDS = ("keys",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (Setting(CACHE, "Seconds that a key is cached.", "5"),)
RESERVED = SPECIAL | {ANONYMOUS.id}
"""Names that no key can have: in grants they stand for everybody, nobody, or anonymous users."""

CHALLENGES = (
    Challenge(
        'Bearer realm="stacflask"',
        "apiKey",
        {"type": "http", "scheme": "bearer", "description": f"An API key; it begins with `{PREFIX}`."},
        instruction="send an API key as a bearer token or as a password (the operator issues keys)",
    ),
    Challenge(
        'Basic realm="stacflask", charset="UTF-8"',
        "apiKeyAsPassword",
        {"type": "http", "scheme": "basic", "description": "An API key as the password; any user name."},
    ),
)


def create_plugin(environ: Mapping[str, str]) -> ApiKeys:
    """Return the plugin. Raises SettingError."""
    return ApiKeys(cache=cache_seconds(environ, CACHE))


# --- Rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """A stored key, without its secret. ``hash`` is the SHA-256 of the whole key."""

    id: str
    hash: bytes
    principal: Principal
    expires: datetime | None


def key_in(request: Request) -> str | None:
    """Return the key in a request, not verified yet; None if there is none.

    Other Bearer tokens may be for another plugin. Basic is used by this plugin alone. Raises BadCredentials.
    """
    token = request.credentials("Bearer")
    if token is not None:
        return token if token.startswith(PREFIX) else None
    pair = request.credentials("Basic")
    return None if pair is None else _password(pair)


def _password(pair: str) -> str:
    try:
        return base64.b64decode(pair, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise BadCredentials(
            "The Authorization header is not well-formed: expected Basic and base64 of user:password."
        ) from None


def digest(key: str) -> bytes:
    """Return the SHA-256 of a key."""
    return hashlib.sha256(key.encode()).digest()


def invalid_key() -> BadCredentials:
    """Return the same error for every invalid key, so that an attacker learns nothing from it."""
    return BadCredentials("The API key is not valid.")


def check_key(key: Key, text: str, now: datetime) -> None:
    """Raise BadCredentials unless ``text`` is this key and the key has not expired."""
    if not hmac.compare_digest(key.hash, digest(text)):
        raise invalid_key()
    check_expiry(key, now)


def check_expiry(key: Key, now: datetime) -> None:
    """Raise BadCredentials if the key has expired."""
    if key.expires is not None and key.expires <= now:
        raise BadCredentials("The API key has expired.")


def parse_expiry(text: str, now: datetime) -> datetime:
    """Parse an expiry: a duration such as ``90d``, or an ISO 8601 date or time, in UTC without a zone."""
    if text[-1:] in UNITS:
        return now + parse_duration(text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- Storage ---------------------------------------------------------------------------------------------------------


class KeyTable:
    """The keys in the database. A key is cached for up to ``cache`` seconds, also after it was revoked."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = cached(self._find, cache, CACHED_KEYS)
        self.used = lru_cache(maxsize=CACHED_KEYS)(self._used)

    def _find(self, key_id: str) -> Key:
        """Return the key with this id. Raises BadCredentials if there is none, or it was revoked."""
        rows = self._storage.rows(
            "SELECT hash, name, groups, scopes, expires FROM plugin_api_keys WHERE id = :id AND revoked IS NULL",
            id=key_id,
        )
        if not rows:
            raise invalid_key()
        row = rows[0]
        scopes = frozenset(row["scopes"])
        ends = row["expires"]
        principal = Principal(row["name"], frozenset(row["groups"]), SCHEME, scopes, reference=key_id, until=ends)
        return Key(key_id, bytes(row["hash"]), principal, ends)

    def _used(self, key_id: str, today: date) -> None:
        """Record that the key was used today."""
        self._storage.write(
            "UPDATE plugin_api_keys SET last_used = :today WHERE id = :id AND last_used IS DISTINCT FROM :today",
            id=key_id,
            today=today,
        )

    def add(self, text: str, **values: Any) -> bool:
        """Store a new key; ``values`` are name, groups, scopes, expires and note. Return False if its id exists."""
        return bool(
            self._storage.write(
                "INSERT INTO plugin_api_keys (id, hash, name, groups, scopes, expires, note) "
                "VALUES (:id, :hash, :name, :groups, :scopes, :expires, :note) ON CONFLICT DO NOTHING RETURNING id",
                id=text[len(PREFIX) : len(PREFIX) + 8],
                hash=digest(text),
                **values,
            )
        )

    def revoke(self, key_id: str) -> bool:
        """Revoke a key. Return False if there is none with this id that is not revoked yet."""
        return bool(
            self._storage.write(
                "UPDATE plugin_api_keys SET revoked = now() WHERE id = :id AND revoked IS NULL RETURNING id",
                id=key_id,
            )
        )

    def all(self) -> list[Mapping[str, Any]]:
        """Return every key, newest first, with its ``state``."""
        return self._storage.rows(
            "SELECT id, name, groups, scopes, expires, last_used, note, CASE WHEN revoked IS NOT NULL THEN 'revoked' "
            "WHEN expires <= now() THEN 'expired' ELSE 'valid' END AS state FROM plugin_api_keys ORDER BY created DESC"
        )


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class ApiKeys:
    """The plugin. ``cache``: seconds that a key is cached, so that a revocation takes effect within them."""

    cache: float = 5.0
    storage: Storage = field(init=False, repr=False)
    keys: KeyTable = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage."""
        self.storage = services.storage
        self.keys = KeyTable(services.storage, self.cache)

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of the key in a request."""
        text = key_in(request)
        if text is None:
            return None
        match = KEY.fullmatch(text)
        if match is None:
            raise invalid_key()
        key, now = self.keys.find(match[1]), datetime.now(UTC)
        check_key(key, text, now)
        self.keys.used(key.id, now.date())
        return key.principal

    @hookimpl
    def refresh_principal(self, principal: Principal) -> Principal | None:
        """Read the key again, because links of its holder have the rights that the key has now."""
        if principal.scheme != SCHEME:
            return None
        key = self.keys.find(principal.reference)
        check_expiry(key, datetime.now(UTC))
        return key.principal

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Return the challenges for Bearer and Basic."""
        return CHALLENGES

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask keys``."""
        group = click.Group(
            "keys",
            commands=[create, show, revoke],
            help="Create, list and revoke API keys.",
            context_settings={"obj": self},
        )
        return [group]


# --- Commands --------------------------------------------------------------------------------------------------------


def _parse_expiry(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    now = datetime.now(UTC)
    try:
        moment = parse_expiry(text, now)
    except (ValueError, OverflowError):
        raise click.BadParameter("expected a duration such as 90d, 12h or 4w, or a date such as 2030-12-31") from None
    if moment <= now:
        raise click.BadParameter(f"{text} is in the past")
    return moment


def _parse_key(_: click.Context, __: click.Parameter, text: str | None) -> str:
    if text is None:
        return f"{PREFIX}{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    if not KEY.fullmatch(text):
        raise click.BadParameter("expected sfk_<8 hexadecimal digits>_<secret of at least 8 letters, digits, _ or ->")
    return text


def _parse_name(_: click.Context, __: click.Parameter, value: str | tuple[str, ...]) -> str | list[str]:
    for name in [value] if isinstance(value, str) else value:
        if name in RESERVED or not is_plain(name):
            raise click.BadParameter(f"{name!r} cannot be used as a name")
    return value if isinstance(value, str) else sorted(set(value))


def _parse_scopes(_: click.Context, __: click.Parameter, scopes: tuple[str, ...]) -> list[str]:
    if "download" in scopes and "read" not in scopes:
        raise click.BadParameter("download needs read too, because a key cannot download what it cannot see")
    return sorted(set(scopes))


@click.command("create")
@click.argument("name", callback=_parse_name)
@click.option("--group", "groups", multiple=True, callback=_parse_name, help="A group of the principal; repeatable.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read", "download"),
    show_default=True,
    callback=_parse_scopes,
    help="A scope of the key; repeatable.",
)
@click.option("--expires", callback=_parse_expiry, help="When the key expires: 90d, 12h, 4w, or a date or time in UTC.")
@click.option("--note", help="A note that `list` shows.")
@click.option("--key", callback=_parse_key, help="A key that you chose, for demos and tests only.")
@click.pass_obj
def create(plugin: ApiKeys, /, key: str, **values: Any) -> None:
    """Create a key for the principal NAME and print it. It is printed only once."""
    if not plugin.keys.add(key, **values):
        raise click.ClickException("a key with this id exists already; choose another id")
    click.echo("Store the key now: it cannot be shown again.", err=True)
    click.echo(key)
    warn_unknown(plugin.storage, values["groups"], except_key=key[len(PREFIX) : len(PREFIX) + 8])


@click.command("list")
@click.pass_obj
def show(plugin: ApiKeys, /) -> None:
    """List the keys, newest first, without their secrets."""
    rows = []
    for row in plugin.keys.all():
        expires = row["expires"].astimezone(UTC).strftime("%Y-%m-%d %H:%M") if row["expires"] else "never"
        groups, scopes = ",".join(row["groups"]) or "-", ",".join(row["scopes"])
        used = str(row["last_used"] or "never")
        rows.append((row["id"], row["name"], row["state"], groups, scopes, expires, used, row["note"] or ""))
    text_tables.print_table(("ID", "NAME", "STATE", "GROUPS", "SCOPES", "EXPIRES (UTC)", "LAST USED", "NOTE"), rows)


@click.command("revoke")
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke(plugin: ApiKeys, /, key_id: str) -> None:
    """Revoke the key ID. It takes effect in running servers within STACFLASK_API_KEYS_CACHE seconds."""
    if not plugin.keys.revoke(key_id):
        raise click.ClickException(f"no key has the id {key_id!r}, or it is revoked already")
    click.echo(f"revoked {key_id}", err=True)
