"""The setting that describes OpenID providers, a JSON object. Error messages have the JSON pointer of the member."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from stacflask import SettingError

from .._common.json_setting import decode_json, json_text

VARIABLE = "STACFLASK_OIDC_ISSUERS"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ALGORITHMS = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    **{f"ES{bits}": ("EC", curve) for bits, curve in ((256, "P-256"), (384, "P-384"), (512, "P-521"))},
    "EdDSA": ("OKP", "Ed25519"),
}
"""Supported signature algorithms with their key types. All use private keys; none uses a shared secret."""
RIGHTS = frozenset({"read", "download", "write"})
NAME = re.compile(r"[A-Za-z0-9._-]+")

Word = Annotated[str, Meta(min_length=1, max_length=1000)]
Words = Word | Annotated[list[Word], Meta(min_length=1)]


class _Client(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The client of this server at a provider."""

    client_id: Word
    client_secret: str = ""
    client_secret_env: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id})"


class Introspection(_Client, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The introspection of opaque tokens (RFC 7662). ``cache``: seconds that a response is cached."""

    cache: Annotated[float, Meta(ge=0, le=300)] = 15.0


class Login(_Client, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The login of users by browser (``plugins.login``)."""

    scope: Word = "openid profile email"
    userinfo: bool = False
    title: str = ""


class Issuer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider, as in docs/identity.md. Times are in seconds."""

    issuer: Word
    audience: Words
    algorithms: Annotated[list[str], Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["RS256", "ES256"])
    leeway: Annotated[float, Meta(ge=0, le=300)] = 30.0
    token_type: str = ""
    clients: list[Word] = []
    id_claim: Word = "sub"
    id_prefix: str | None = None
    groups_claim: Words = "groups"
    groups_prefix: str = ""
    scopes: list[str] = msgspec.field(default_factory=lambda: ["read", "download"])
    scopes_claim: str = ""
    scopes_prefix: str = ""
    refresh_principal: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    timeout: Annotated[float, Meta(ge=0.1, le=30)] = 5.0
    ca_file: str = ""
    introspection: Introspection | None = None
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider: its name, its settings, and its secrets from the settings or other variables."""

    name: str
    settings: Issuer
    introspection_secret: str = field(default="", repr=False)
    login_secret: str = field(default="", repr=False)

    @property
    def audiences(self) -> list[str]:
        """Return the accepted audiences of tokens."""
        return _listed(self.settings.audience)

    @property
    def groups_claims(self) -> list[str]:
        """Return the paths of claims that have groups."""
        return _listed(self.settings.groups_claim)

    @property
    def id_prefix(self) -> str:
        """Return the prefix of principal ids of this provider, which keeps them distinct from those of others."""
        return f"{self.name}:" if self.settings.id_prefix is None else self.settings.id_prefix

    @property
    def local(self) -> bool:
        """Return whether the provider runs on this machine, so that http is allowed."""
        return self.settings.issuer.startswith("http:")


def read_providers(environ: Mapping[str, str]) -> list[Provider]:
    """Parse ``STACFLASK_OIDC_ISSUERS``: JSON, or the path of a JSON file. Raises SettingError."""
    try:
        text = json_text(environ, VARIABLE, "OpenID providers")
        settings = msgspec.json.decode(text, type=dict[str, Issuer])
        decode_json(text)
    except ValueError as error:  # msgspec.ValidationError is one
        raise SettingError(VARIABLE, str(error)) from error
    providers = [_provider(name, issuer, environ) for name, issuer in settings.items()]
    _check_together(providers)
    return providers


def is_safe(url: str, *, local: bool) -> bool:
    """Return whether requests to a URL of a provider are allowed: https, or http if the provider is local."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError if it is invalid
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (local and parts.scheme == "http" and parts.hostname in LOOPBACK)


def _provider(name: str, settings: Issuer, environ: Mapping[str, str]) -> Provider:
    _check(name, settings)
    return Provider(
        name,
        settings,
        introspection_secret=_secret(f"/{name}/introspection", settings.introspection, environ),
        login_secret=_secret(f"/{name}/login", settings.login, environ),
    )


def _check(name: str, settings: Issuer) -> None:
    def expect(condition: object, member: str, problem: str) -> None:
        if not condition:
            raise SettingError(VARIABLE, f"/{name}/{member}: {problem}")

    expect(NAME.fullmatch(name), "", "expected a provider name of letters, digits, '.', '_' and '-'")
    expect(
        is_safe(settings.issuer, local=True) and "?" not in settings.issuer,
        "issuer",
        "expected an https URL without query, such as https://id.example.org/realms/eo (http on this machine only)",
    )
    expect(ALGORITHMS.keys() >= set(settings.algorithms), "algorithms", f"expected some of {', '.join(ALGORITHMS)}")
    expect(set(settings.scopes) <= RIGHTS, "scopes", f"expected some of {', '.join(sorted(RIGHTS))}")
    expect(not settings.ca_file or Path(settings.ca_file).is_file(), "ca_file", "the file does not exist")
    expect(
        settings.login is None or "openid" in settings.login.scope.split(), "login/scope", "expected a list with openid"
    )


def _secret(place: str, client: _Client | None, environ: Mapping[str, str]) -> str:
    """Return a client's secret, from the setting or from the variable that it names."""
    if client is None:
        return ""
    if client.client_secret and client.client_secret_env:
        raise SettingError(VARIABLE, f"{place}/client_secret: expected either client_secret or client_secret_env")
    if not client.client_secret_env:
        return client.client_secret
    secret = environ.get(client.client_secret_env, "").strip()
    if not secret:
        raise SettingError(VARIABLE, f"{place}/client_secret_env: the environment has no {client.client_secret_env}")
    return secret


def _check_together(providers: list[Provider]) -> None:
    issuers = [provider.settings.issuer for provider in providers]
    if not issuers:
        raise SettingError(VARIABLE, "expected at least one provider")
    if len(set(issuers)) < len(issuers):
        raise SettingError(VARIABLE, "two providers have the same issuer; issuers must differ")
    # An opaque token does not name its issuer, and must not be sent to another provider.
    if sum(provider.settings.introspection is not None for provider in providers) > 1:
        raise SettingError(VARIABLE, "introspection: only one provider can introspect opaque tokens")


def _listed(words: Any) -> list[str]:
    return [words] if isinstance(words, str) else list(words)
