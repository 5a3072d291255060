"""The setting that describes S3 stores, a JSON object. Error messages have the JSON pointer of the member."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from minio.helpers import check_bucket_name

from stacflask import SettingError

from .._common.json_setting import decode_json, json_text
from .endpoints import check_endpoint, read_endpoint

VARIABLE = "STACFLASK_S3_STORES"
MIN_LIFETIME_SECONDS = 10  # a shorter one could expire before the client uses the URL
MAX_LIFETIME_SECONDS = 7 * 86400  # the limit of signature version 4

RETRY_AFTER_SECONDS = {"Expedited": 60, "Standard": 1800, "Bulk": 3600}
"""Tiers of a restore, with the seconds after which a client should check the state again."""
MAX_RESTORE_DAYS = 365

AWS_NAMES = {
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}

OWN_FOLDER = "{collection}/"
"""The end of a prefix below which each collection has a folder with its id."""
EVERY_COLLECTION = "*"

T = TypeVar("T")
REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Credentials in the setting, with their expiry or None."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Restore:
    """The restore of archived objects: the tier, and the number of days that they stay online."""

    tier: str
    days: int


class Part(NamedTuple):
    """A part of a bucket: all keys with a prefix; an empty prefix means all keys.

    ``own_folders``: the assets of a collection are in the folder below the prefix with the collection's id.
    """

    bucket: str
    prefix: str
    own_folders: bool = False


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """One store. ``keys`` None: the role of the machine. ``virtual`` None: the default for the kind of endpoint.

    Times are in seconds. The store has only assets of ``collections``; None: of all collections. ``shared``: the
    setting allows all collections to use all objects.
    """

    name: str
    endpoint: str
    public_endpoint: str
    region: str
    buckets: tuple[Part, ...]
    keys: StaticCredentials | None
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
        """Whether the setting does not say which collections may use some of the objects."""
        return self.collections is None and not self.shared and not all(part.own_folders for part in self.buckets)


def read_stores(environ: Mapping[str, str]) -> list[StoreSettings]:
    """Parse ``STACFLASK_S3_STORES``: JSON, or the path of a JSON file. Raises SettingError."""
    stores = _object(json_text(environ, VARIABLE, "the stores"))
    if not stores:
        raise SettingError(VARIABLE, "expected at least one store")
    return [
        _store(name, Members(f"/{name}", _members(f"/{name}", members), environ)) for name, members in stores.items()
    ]


class Members:
    """The members of a JSON object in the setting. Each is taken and parsed; remaining members are an error."""

    def __init__(self, pointer: str, members: dict[str, Any], environ: Mapping[str, str]) -> None:
        self.pointer = pointer
        self.members = dict(members)
        self.environ = environ

    def take(self, name: str, parse: Callable[[Any], T], default: Any = REQUIRED) -> T:
        """Take and parse one member. Messages never have its value, which may be a secret."""
        if name not in self.members:
            if default is REQUIRED:
                self.fail(name, "missing")
            return default  # type: ignore[no-any-return]
        try:
            return parse(self.members.pop(name))
        except ValueError as error:
            self.fail(name, str(error))

    def secret(self, name: str, *, required: bool) -> str | None:
        """Take a member, or read the environment variable that the member ``<name>_env`` names."""
        if f"{name}_env" not in self.members:
            return self.take(name, _word, REQUIRED if required else None)
        if name in self.members:
            self.fail(name, f"expected either {name} or {name}_env")
        return self.variable(f"{name}_env", self.take(f"{name}_env", _word))

    def variable(self, name: str, variable: str) -> str:
        """Return the environment variable that the member ``name`` names."""
        value = self.environ.get(variable, "").strip()
        return value or self.fail(name, f"the environment has no {variable}")

    def fail(self, name: str, problem: str) -> NoReturn:
        """Raise a SettingError for one member."""
        raise SettingError(VARIABLE, f"{self.pointer}/{name}: {problem}")

    def finish(self) -> None:
        """Raise SettingError for a member that was not taken: it is misspelt, or has no effect with the others."""
        for name in self.members:
            self.fail(name, "unknown member, or without effect together with the others")


def _object(text: str) -> dict[str, Any]:
    try:
        return _members("", decode_json(text))
    except ValueError as error:
        raise SettingError(VARIABLE, f"not JSON: {error}") from error


def _members(pointer: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingError(VARIABLE, f"{pointer or '/'}: expected a JSON object")
    return value


def _store(name: str, members: Members) -> StoreSettings:
    if not re.fullmatch(r"[\w.-]+", name):
        raise SettingError(VARIABLE, f"{members.pointer}: expected a store name of letters, digits, '.', '_' and '-'")
    endpoint = members.take("endpoint", lambda value: read_endpoint(_word(value)))
    shared = members.members.get("collections") == EVERY_COLLECTION
    store = StoreSettings(
        name=name,
        endpoint=endpoint,
        public_endpoint=members.take("public_endpoint", lambda value: read_endpoint(_word(value)), endpoint),
        region=members.take("region", _region),
        buckets=members.take("buckets", _buckets),
        keys=_keys(members),
        virtual=members.take("addressing", _one_of("path", "virtual"), None),
        requester_pays=members.take("requester_pays", _boolean, False),
        stream=members.take("delivery", _one_of("redirect", "stream"), False),
        verify=members.take("verify", _boolean, True),
        verify_ttl=members.take("verify_ttl", _seconds(0, 86400), 30.0),
        lifetime=timedelta(
            seconds=int(members.take("lifetime", _seconds(MIN_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS), 900))
        ),
        timeout=members.take("timeout", _seconds(0.1, 60), 4.0),
        stall_timeout=members.take("stall_timeout", _seconds(0.1, 3600), 30.0),
        ca_file=members.take("ca_file", _file, None),
        restore=members.take("restore", _restore, None),
        collections=members.take("collections", _collections, None),
        shared=shared,
    )
    members.finish()
    for member in ("endpoint", "public_endpoint"):
        check_endpoint(member, store, members.fail)
    return store


def _keys(members: Members) -> StaticCredentials | None:
    source = members.take("credentials", _choice("static", "env", "aws"), "static")
    if source == "aws":
        return None
    if source == "env":
        members.members |= {f"{name}_env": AWS_NAMES[name] for name in ("access_key", "secret_key")}
        if members.environ.get(AWS_NAMES["session_token"]):
            members.members["session_token_env"] = AWS_NAMES["session_token"]
    return StaticCredentials(
        access_key=members.secret("access_key", required=True) or "",
        secret_key=members.secret("secret_key", required=True) or "",
        session_token=members.secret("session_token", required=False),
        expires=members.take("expires", _time, None),
    )


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise ValueError("expected a string without spaces around it")
    return value


def _region(value: Any) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,61}[a-zA-Z0-9]", _word(value)):
        raise ValueError("expected a name such as eu-central-1; us-east-1 suits most stores that have no regions")
    return str(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - parsers raise ValueError only
    return value


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"expected a number of seconds from {least} to {most}")
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
        raise ValueError("the file does not exist")
    return str(value)


def _restore(value: Any) -> Restore:
    if not isinstance(value, dict) or value.keys() - {"tier", "days"}:
        raise ValueError("expected an object with tier and days")
    days = value.get("days", 7)
    if isinstance(days, float) and days.is_integer():
        days = int(days)
    if isinstance(days, bool) or not isinstance(days, int) or not 0 < days <= MAX_RESTORE_DAYS:
        raise ValueError(f"days: expected an integer from 1 to {MAX_RESTORE_DAYS}")
    return Restore(_choice(*RETRY_AFTER_SECONDS)(value.get("tier", "Standard")), days)


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("expected a time with a zone, such as 2030-01-31T12:00:00Z")
    return moment


def _buckets(value: Any) -> tuple[Part, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of buckets and prefixes such as bucket/folder/")
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
    # Without the slash, "a/2024" would include "a/2024-secret/".
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"the prefix of {entry!r} must end with /")
    if {".", ".."}.intersection(prefix.split("/")):
        raise ValueError(f"the prefix of {entry!r} must not have the folders . and ..")
    return Part(bucket, prefix, own_folders)
