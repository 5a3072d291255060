"""What an operator says about S3 stores, read from one JSON object. Every complaint names the place in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from minio.helpers import check_bucket_name

from plugins._common.json_setting import decode_json, json_text
from plugins.s3.endpoints import check, read_endpoint
from stacflask import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE = "STACFLASK_S3_STORES"
SHORTEST = 10  # seconds: below it, a client may find a fresh link already ended
LONGEST = 7 * 86400  # seconds: what signature version 4 allows

WAITS = {"Expedited": 60, "Standard": 1800, "Bulk": 3600}
"""Tiers of a restore, with the seconds after which it is worth to ask again how it stands."""
MOST_DAYS = 365

AWS_NAMES = {
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}

OWN_FOLDER = "{collection}/"
"""Stands at the end of a prefix: each collection has the folder there that is called by its id."""
EVERY_COLLECTION = "*"

T = TypeVar("T")
REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials as given, with the time at which they end, if they do."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Restore:
    """How archived objects are brought back: in which tier, and for how many days."""

    tier: str
    days: int


class Part(NamedTuple):
    """A part of a bucket: all keys with this prefix, which is empty for all keys.

    ``own_folders``: the assets of a collection are in the folder below the prefix that is called by its id.
    """

    bucket: str
    prefix: str
    own_folders: bool = False


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """One store. ``keys`` None: the machine's own role. ``virtual`` None: as the endpoint's kind has it.

    Times are in seconds. Only assets of ``collections`` are here; None: of any collection. ``shared``: the operator
    wrote that any collection may use all objects.
    """

    name: str
    endpoint: str
    public_endpoint: str
    region: str
    buckets: tuple[Part, ...]
    keys: Keys | None
    virtual: bool | None
    requester_pays: bool
    stream: bool
    verify: bool
    verify_ttl: float
    lifetime: timedelta
    timeout: float
    stall_timeout: float
    ca_file: str | None
    restore: Restore | None
    collections: frozenset[str] | None
    shared: bool

    @property
    def unowned(self) -> bool:
        """Whether the settings leave open which collections may use some of the objects."""
        return self.collections is None and not self.shared and not all(part.own_folders for part in self.buckets)


def read_stores(environ: Mapping[str, str]) -> list[StoreSettings]:
    """Read ``STACFLASK_S3_STORES``: the JSON itself, or the path of a file that holds it. Raises SettingError."""
    stores = _object(json_text(environ, VARIABLE, "the stores"))
    if not stores:
        raise SettingError(VARIABLE, "names no store")
    return [_store(name, Place(f"/{name}", _members(f"/{name}", members), environ)) for name, members in stores.items()]


class Place:
    """A JSON object somewhere in the setting. What is taken from it is checked; what is left over is an error."""

    def __init__(self, pointer: str, members: dict[str, Any], environ: Mapping[str, str]) -> None:
        self.pointer = pointer
        self.members = dict(members)
        self.environ = environ

    def take(self, name: str, parse: Callable[[Any], T], default: Any = REQUIRED) -> T:
        """Take out one member. Values are never repeated in a message: one of them is a secret."""
        if name not in self.members:
            if default is REQUIRED:
                self.complain(name, "missing")
            return default  # type: ignore[no-any-return]
        try:
            return parse(self.members.pop(name))
        except ValueError as error:
            self.complain(name, str(error))

    def secret(self, name: str, *, required: bool) -> str | None:
        """Take out a member given in itself, or by the name of an environment variable under ``<name>_env``."""
        if f"{name}_env" not in self.members:
            return self.take(name, _word, REQUIRED if required else None)
        if name in self.members:
            self.complain(name, f"given twice, here and by {name}_env")
        return self.variable(f"{name}_env", self.take(f"{name}_env", _word))

    def variable(self, name: str, variable: str) -> str:
        """Read the environment variable that the member ``name`` points to."""
        value = self.environ.get(variable, "").strip()
        return value or self.complain(name, f"the environment has no {variable}")

    def complain(self, name: str, problem: str) -> NoReturn:
        """Raise a SettingError for one member."""
        raise SettingError(VARIABLE, f"{self.pointer}/{name}: {problem}")

    def finish(self) -> None:
        """Complain if any member has not been taken: it is misspelt, or of no use beside the others."""
        for name in self.members:
            self.complain(name, "unknown here")


def _object(text: str) -> dict[str, Any]:
    try:
        return _members("", decode_json(text))
    except ValueError as error:
        raise SettingError(VARIABLE, f"not JSON: {error}") from error


def _members(pointer: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingError(VARIABLE, f"{pointer or '/'}: expected an object")
    return value


def _store(name: str, place: Place) -> StoreSettings:
    if not re.fullmatch(r"[\w.-]+", name):
        raise SettingError(VARIABLE, f"{place.pointer}: a store's name has letters, digits, '.', '_' and '-' only")
    endpoint = place.take("endpoint", lambda value: read_endpoint(_word(value)))
    shared = place.members.get("collections") == EVERY_COLLECTION
    store = StoreSettings(
        name=name,
        endpoint=endpoint,
        public_endpoint=place.take("public_endpoint", lambda value: read_endpoint(_word(value)), endpoint),
        region=place.take("region", _region),
        buckets=place.take("buckets", _buckets),
        keys=_keys(place),
        virtual=place.take("addressing", _one_of("path", "virtual"), None),
        requester_pays=place.take("requester_pays", _truth, False),
        stream=place.take("delivery", _one_of("redirect", "stream"), False),
        verify=place.take("verify", _truth, True),
        verify_ttl=place.take("verify_ttl", _seconds(0, 86400), 30.0),
        lifetime=timedelta(seconds=int(place.take("lifetime", _seconds(SHORTEST, LONGEST), 900))),
        timeout=place.take("timeout", _seconds(0.1, 60), 4.0),
        stall_timeout=place.take("stall_timeout", _seconds(0.1, 3600), 30.0),
        ca_file=place.take("ca_file", _file, None),
        restore=place.take("restore", _restore, None),
        collections=place.take("collections", _collections, None),
        shared=shared,
    )
    place.finish()
    for member in ("endpoint", "public_endpoint"):
        check(member, store, place.complain)
    return store


def _keys(place: Place) -> Keys | None:
    source = place.take("credentials", _choice("static", "env", "aws"), "static")
    if source == "aws":
        return None
    if source == "env":
        place.members |= {f"{name}_env": AWS_NAMES[name] for name in ("access_key", "secret_key")}
        if place.environ.get(AWS_NAMES["session_token"]):
            place.members["session_token_env"] = AWS_NAMES["session_token"]
    return Keys(
        access_key=place.secret("access_key", required=True) or "",
        secret_key=place.secret("secret_key", required=True) or "",
        session_token=place.secret("session_token", required=False),
        expires=place.take("expires", _time, None),
    )


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise ValueError("expected text without spaces around it")
    return value


def _region(value: Any) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,61}[a-zA-Z0-9]", _word(value)):
        raise ValueError("expected a name such as eu-central-1; us-east-1 suits most stores that have no regions")
    return str(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - all complaints of a parser are ValueErrors
    return value


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"expected seconds from {least} to {most}")
        return value

    return parse


def _choice(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return str(value)

    return parse


def _one_of(no: str, yes: str) -> Callable[[Any], bool]:
    return lambda value: _choice(no, yes)(value) == yes


def _file(value: Any) -> str:
    if not Path(_word(value)).is_file():
        raise ValueError("there is no such file")
    return str(value)


def _restore(value: Any) -> Restore:
    if not isinstance(value, dict) or value.keys() - {"tier", "days"}:
        raise ValueError("expected an object with tier and days")
    days = value.get("days", 7)
    if isinstance(days, float) and days.is_integer():
        days = int(days)
    if isinstance(days, bool) or not isinstance(days, int) or not 0 < days <= MOST_DAYS:
        raise ValueError(f"days: expected a whole number from 1 to {MOST_DAYS}")
    return Restore(_choice(*WAITS)(value.get("tier", "Standard")), days)


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2030-01-31T12:00:00Z")
    return moment


def _buckets(value: Any) -> tuple[Part, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of buckets and of prefixes such as bucket/folder/")
    return tuple(_bucket(_word(entry)) for entry in value)


def _collections(value: Any) -> frozenset[str] | None:
    if value == EVERY_COLLECTION:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError('expected a list of collections, or "*" if every collection may use every object')
    return frozenset(map(_word, value))


def _bucket(entry: str) -> Part:
    bucket, _, prefix = entry.partition("/")
    check_bucket_name(bucket)
    own_folders = prefix.endswith(OWN_FOLDER) and prefix.removesuffix(OWN_FOLDER)[-1:] in ("", "/")
    if own_folders:
        prefix = prefix.removesuffix(OWN_FOLDER)
    if {"{", "}"}.intersection(prefix):
        raise ValueError(f"{entry!r}: {OWN_FOLDER} can only be the last folder of a prefix")
    # Without the slash, "a/2024" would take in "a/2024-secret/" too.
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"the prefix of {entry!r} must end with /")
    if {".", ".."}.intersection(prefix.split("/")):
        raise ValueError(f"the prefix of {entry!r} has a part that no key may have")
    return Part(bucket, prefix, own_folders)
