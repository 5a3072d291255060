"""What an operator says about OpenID providers, read from one JSON object. Every complaint names the place in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from plugins._common.json_setting import decode_json, json_text
from stacflask import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "STACFLASK_OIDC_ISSUERS"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ALGORITHMS = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    **{f"ES{bits}": ("EC", curve) for bits, curve in ((256, "P-256"), (384, "P-384"), (512, "P-521"))},
    "EdDSA": ("OKP", "Ed25519"),
}
"""Signatures that there may be, and the keys they take. All are made with a private key: none with a shared secret."""
RIGHTS = frozenset({"read", "download", "write"})
NAME = re.compile(r"[A-Za-z0-9._-]+")

Word = Annotated[str, Meta(min_length=1, max_length=1000)]
Words = Word | Annotated[list[Word], Meta(min_length=1)]


class _Client(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What we are to a provider when we ask it something ourselves."""

    client_id: Word
    client_secret: str = ""
    client_secret_env: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client_id})"


class Introspection(_Client, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How opaque tokens are asked about (RFC 7662). ``cache``: seconds for which an answer is trusted."""

    cache: Annotated[float, Meta(ge=0, le=300)] = 15.0


class Login(_Client, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How people log in by browser (``plugins.login``)."""

    scope: Word = "openid profile email"
    userinfo: bool = False
    title: str = ""


class Issuer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider, as docs/identity.md tells. Times are in seconds."""

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
    """One provider as it is used: its name, what was said about it, and the secrets, wherever they stood."""

    name: str
    said: Issuer
    introspection_secret: str = field(default="", repr=False)
    login_secret: str = field(default="", repr=False)

    @property
    def audiences(self) -> list[str]:
        """Give the names under which tokens may be meant for us."""
        return _listed(self.said.audience)

    @property
    def groups_claims(self) -> list[str]:
        """Give the places where groups stand."""
        return _listed(self.said.groups_claim)

    @property
    def id_prefix(self) -> str:
        """Give what begins the ids of all people of this provider, so that they are nobody else's."""
        return f"{self.name}:" if self.said.id_prefix is None else self.said.id_prefix

    @property
    def local(self) -> bool:
        """Whether it runs on this machine, where plain http is safe."""
        return self.said.issuer.startswith("http:")


def read_providers(environ: Mapping[str, str]) -> list[Provider]:
    """Read ``STACFLASK_OIDC_ISSUERS``: the JSON itself, or the path of a file that holds it. Raises SettingError."""
    try:
        text = json_text(environ, VARIABLE, "OpenID providers")
        said = msgspec.json.decode(text, type=dict[str, Issuer])
        decode_json(text)
    except ValueError as error:  # that of msgspec is one, too
        raise SettingError(VARIABLE, str(error)) from error
    providers = [_provider(name, issuer, environ) for name, issuer in said.items()]
    _together(providers)
    return providers


def is_safe(url: str, *, local: bool) -> bool:
    """Whether a provider may be asked there: by https, or on this machine, where the whole provider is."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (local and parts.scheme == "http" and parts.hostname in LOOPBACK)


def _provider(name: str, said: Issuer, environ: Mapping[str, str]) -> Provider:
    _check(name, said)
    return Provider(
        name,
        said,
        introspection_secret=_secret(f"/{name}/introspection", said.introspection, environ),
        login_secret=_secret(f"/{name}/login", said.login, environ),
    )


def _check(name: str, said: Issuer) -> None:
    def expect(condition: object, member: str, problem: str) -> None:
        if not condition:
            raise SettingError(VARIABLE, f"/{name}/{member}: {problem}")

    expect(NAME.fullmatch(name), "", "a provider's name has letters, digits, '.', '_' and '-' only")
    expect(
        is_safe(said.issuer, local=True) and "?" not in said.issuer,
        "issuer",
        "expected an https address without query, such as https://id.example.org/realms/eo (http on this machine only)",
    )
    expect(ALGORITHMS.keys() >= set(said.algorithms), "algorithms", f"expected some of {', '.join(ALGORITHMS)}")
    expect(set(said.scopes) <= RIGHTS, "scopes", f"expected some of {', '.join(sorted(RIGHTS))}")
    expect(not said.ca_file or Path(said.ca_file).is_file(), "ca_file", "there is no such file")
    expect(said.login is None or "openid" in said.login.scope.split(), "login/scope", "expected openid in it")


def _secret(place: str, client: _Client | None, environ: Mapping[str, str]) -> str:
    """Give a client's secret, said itself or by the name of the variable that holds it."""
    if client is None:
        return ""
    if client.client_secret and client.client_secret_env:
        raise SettingError(VARIABLE, f"{place}/client_secret: given twice, here and by client_secret_env")
    if not client.client_secret_env:
        return client.client_secret
    secret = environ.get(client.client_secret_env, "").strip()
    if not secret:
        raise SettingError(VARIABLE, f"{place}/client_secret_env: the environment has no {client.client_secret_env}")
    return secret


def _together(providers: list[Provider]) -> None:
    issuers = [provider.said.issuer for provider in providers]
    if not issuers:
        raise SettingError(VARIABLE, "names no provider")
    if len(set(issuers)) < len(issuers):
        raise SettingError(VARIABLE, "an issuer is given twice")
    # An opaque token does not say whose it is, and must not be shown to a stranger.
    if sum(provider.said.introspection is not None for provider in providers) > 1:
        raise SettingError(VARIABLE, "introspection: only one provider can be asked about opaque tokens")


def _listed(words: Any) -> list[str]:
    return [words] if isinstance(words, str) else list(words)
