"""API keys: whoever sends one is known by its name and groups, and limited to its scopes.

A key is ``sfk_<id>_<secret>``: the id finds the row, the secret is 256 random bits. Only a SHA-256 is kept. Slow hashes
such as bcrypt hinder the guessing of passwords that people choose; nobody guesses 256 bits, and every request would pay
for the delay.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import click

from plugins._common import text_tables
from plugins._common.groups import SPECIAL, is_plain, warn_unknown
from plugins._common.spans import UNITS, cache_seconds, remembered, span
from stacflask import ANONYMOUS, BadCredentials, Challenge, Principal, Setting, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask import Request, Services, Storage

CACHE = "STACFLASK_API_KEYS_CACHE"
REMEMBERED = 4096  # keys
SCHEME = "api_key"
PREFIX = "sfk_"
KEY = re.compile(r"sfk_([0-9a-f]{8})_[A-Za-z0-9_-]{8,200}")
SCOPES = ("read", "download", "write")

COMMANDS = ("keys",)
SETTINGS = (Setting(CACHE, "Seconds for which a key that was looked up is trusted.", "5"),)
RESERVED = SPECIAL | {ANONYMOUS.id}
"""Words that mean many or nobody where rights are granted, so no key may be called so."""

CHALLENGES = (
    Challenge(
        'Bearer realm="stacflask"',
        "apiKey",
        {"type": "http", "scheme": "bearer", "description": f"An API key; it begins with `{PREFIX}`."},
        instruction="send an API key as a bearer token or as a password (ask the operator for a key)",
    ),
    Challenge(
        'Basic realm="stacflask", charset="UTF-8"',
        "apiKeyAsPassword",
        {"type": "http", "scheme": "basic", "description": "An API key as the password; any user name."},
    ),
)


def create_plugin(environ: Mapping[str, str]) -> ApiKeys:
    """Make the plugin. Raises SettingError."""
    return ApiKeys(cache=cache_seconds(environ, CACHE))


# --- Rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept, without its secret. ``hash`` is the SHA-256 of the whole."""

    id: str
    hash: bytes
    principal: Principal
    expires: datetime | None


def presented(request: Request) -> str | None:
    """Give the key that came with a request, right or wrong; None if nothing came that is for us to judge.

    Another kind of Bearer token may be for another plugin. Basic is ours alone. Raises BadCredentials.
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
        raise BadCredentials("The Authorization field is not well-formed Basic.") from None


def digest(key: str) -> bytes:
    """Give what is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def wrong() -> BadCredentials:
    """Give one error for all that is wrong, so that trying teaches nothing."""
    return BadCredentials("The API key is not valid.")


def check(key: Key, text: str, now: datetime) -> None:
    """Raise BadCredentials unless ``text`` is this key and the key is in force."""
    if not hmac.compare_digest(key.hash, digest(text)):
        raise wrong()
    check_time(key, now)


def check_time(key: Key, now: datetime) -> None:
    """Raise BadCredentials if the key has expired."""
    if key.expires is not None and key.expires <= now:
        raise BadCredentials("The API key has expired.")


def expiry(text: str, now: datetime) -> datetime:
    """Read when a key ends: a span such as ``90d``, or a date or time of ISO 8601, in UTC unless it says otherwise."""
    if text[-1:] in UNITS:
        return now + span(text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- Storage ---------------------------------------------------------------------------------------------------------


class Keys:
    """The keys in the database. What is read is remembered for up to ``cache`` seconds, a revoked key too."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.find = remembered(self._find, cache, REMEMBERED)
        self.used = lru_cache(maxsize=REMEMBERED)(self._used)

    def _find(self, key_id: str) -> Key:
        """Give the key with this id. Raises BadCredentials if there is none, or it was revoked."""
        rows = self._storage.rows(
            "SELECT hash, name, groups, scopes, expires FROM plugin_api_keys WHERE id = :id AND revoked IS NULL",
            id=key_id,
        )
        if not rows:
            raise wrong()
        row = rows[0]
        scopes = frozenset(row["scopes"])
        ends = row["expires"]
        principal = Principal(row["name"], frozenset(row["groups"]), SCHEME, scopes, reference=key_id, until=ends)
        return Key(key_id, bytes(row["hash"]), principal, ends)

    def _used(self, key_id: str, today: date) -> None:
        """Note that the key was used today."""
        with self._storage.transaction() as statements:
            statements.rows(
                "UPDATE plugin_api_keys SET last_used = :today WHERE id = :id AND last_used IS DISTINCT FROM :today",
                id=key_id,
                today=today,
            )

    def add(self, text: str, **values: Any) -> bool:
        """Keep a new key; ``values`` are its name, groups, scopes, expires and note. False if its id is taken."""
        with self._storage.transaction() as statements:
            return bool(
                statements.rows(
                    "INSERT INTO plugin_api_keys (id, hash, name, groups, scopes, expires, note) "
                    "VALUES (:id, :hash, :name, :groups, :scopes, :expires, :note) ON CONFLICT DO NOTHING RETURNING id",
                    id=text[len(PREFIX) : len(PREFIX) + 8],
                    hash=digest(text),
                    **values,
                )
            )

    def revoke(self, key_id: str) -> bool:
        """End a key. False if there is none in force with this id."""
        with self._storage.transaction() as statements:
            return bool(
                statements.rows(
                    "UPDATE plugin_api_keys SET revoked = now() WHERE id = :id AND revoked IS NULL RETURNING id",
                    id=key_id,
                )
            )

    def all(self) -> list[Mapping[str, Any]]:
        """Give every key, newest first, with its ``state``."""
        return self._storage.rows(
            "SELECT id, name, groups, scopes, expires, last_used, note, CASE WHEN revoked IS NOT NULL THEN 'revoked' "
            "WHEN expires <= now() THEN 'expired' ELSE 'valid' END AS state FROM plugin_api_keys ORDER BY created DESC"
        )


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class ApiKeys:
    """The plugin. ``cache``: seconds for which a key is believed once looked up; a revocation takes as long to hold."""

    cache: float = 5.0
    storage: Storage = field(init=False, repr=False)
    keys: Keys = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage."""
        self.storage = services.storage
        self.keys = Keys(services.storage, self.cache)

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        """Recognise the holder of a key."""
        text = presented(request)
        if text is None:
            return None
        form = KEY.fullmatch(text)
        if form is None:
            raise wrong()
        key, now = self.keys.find(form[1]), datetime.now(UTC)
        check(key, text, now)
        self.keys.used(key.id, now.date())
        return key.principal

    @hookimpl
    def refresh_principal(self, principal: Principal) -> Principal | None:
        """Look the key up again: its holder's links are worth what it is worth now."""
        if principal.scheme != SCHEME:
            return None
        key = self.keys.find(principal.reference)
        check_time(key, datetime.now(UTC))
        return key.principal

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Ask for a key, as Bearer or as Basic."""
        return CHALLENGES

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask keys``."""
        group = click.Group(
            "keys",
            commands=[create, show, revoke],
            help="Make, list and revoke API keys.",
            context_settings={"obj": self},
        )
        return [group]


# --- Commands --------------------------------------------------------------------------------------------------------


def _given_expiry(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    now = datetime.now(UTC)
    try:
        moment = expiry(text, now)
    except (ValueError, OverflowError):
        raise click.BadParameter("expected a span such as 90d, 12h or 4w, or a date such as 2030-12-31") from None
    if moment <= now:
        raise click.BadParameter("this is in the past")
    return moment


def _given_key(_: click.Context, __: click.Parameter, text: str | None) -> str:
    if text is None:
        return f"{PREFIX}{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    if not KEY.fullmatch(text):
        raise click.BadParameter("expected sfk_<8 hexadecimal digits>_<secret of at least 8 letters, digits, _ or ->")
    return text


def _given_name(_: click.Context, __: click.Parameter, value: str | tuple[str, ...]) -> str | list[str]:
    for name in [value] if isinstance(value, str) else value:
        if name in RESERVED or not is_plain(name):
            raise click.BadParameter(f"{name!r} cannot be used as a name")
    return value if isinstance(value, str) else sorted(set(value))


def _given_scopes(_: click.Context, __: click.Parameter, scopes: tuple[str, ...]) -> list[str]:
    if "download" in scopes and "read" not in scopes:
        raise click.BadParameter("download needs read too: what a key cannot see it cannot download")
    return sorted(set(scopes))


@click.command("create")
@click.argument("name", callback=_given_name)
@click.option("--group", "groups", multiple=True, callback=_given_name, help="A group of the holder; repeatable.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read", "download"),
    show_default=True,
    callback=_given_scopes,
    help="What the key may be used for; repeatable.",
)
@click.option("--expires", callback=_given_expiry, help="When the key ends: 90d, 12h, 4w, or a date or time in UTC.")
@click.option("--note", help="What the key is for.")
@click.option("--key", callback=_given_key, help="A key of your own making, for demos and tests only.")
@click.pass_obj
def create(plugin: ApiKeys, /, key: str, **values: Any) -> None:
    """Make a key for NAME and print it, this once."""
    if not plugin.keys.add(key, **values):
        raise click.ClickException("there is a key with this id already")
    click.echo("Keep the key: it cannot be shown again.", err=True)
    click.echo(key)
    warn_unknown(plugin.storage, values["groups"], than_key=key[len(PREFIX) : len(PREFIX) + 8])


@click.command("list")
@click.pass_obj
def show(plugin: ApiKeys, /) -> None:
    """List the keys, newest first; never their secrets."""
    rows = []
    for row in plugin.keys.all():
        expires = row["expires"].astimezone(UTC).strftime("%Y-%m-%d %H:%M") if row["expires"] else "never"
        groups, scopes = ",".join(row["groups"]) or "-", ",".join(row["scopes"])
        used = str(row["last_used"] or "never")
        rows.append((row["id"], row["name"], row["state"], groups, scopes, expires, used, row["note"] or ""))
    text_tables.show(("ID", "NAME", "STATE", "GROUPS", "SCOPES", "EXPIRES (UTC)", "LAST USED", "NOTE"), rows)


@click.command("revoke")
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke(plugin: ApiKeys, /, key_id: str) -> None:
    """End the key ID. Running servers notice within the seconds of STACFLASK_API_KEYS_CACHE."""
    if not plugin.keys.revoke(key_id):
        raise click.ClickException(f"no key in force has the id {key_id!r}")
    click.echo(f"revoked {key_id}", err=True)
