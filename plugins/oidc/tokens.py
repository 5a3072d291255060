"""Verification of tokens, and the principal for their claims."""

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec

from stacflask import ANONYMOUS, BadCredentials, Principal

from .._common.groups import is_plain
from .settings import RIGHTS, Provider
from .signing_keys import ProviderKeys

SCHEME = "oidc"
PARTS = 3
KINDS = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
"""Values of ``typ`` in the header of access tokens. Other values mean another kind of token."""
OTHERS = frozenset({"at_hash", "c_hash", "s_hash", "events"})
"""Claims that only other kinds of tokens have: ID tokens and logout tokens."""
ACCESS_TYPES = frozenset({"bearer", "jwt", "at+jwt"})
"""Values of the claim ``typ`` in access tokens."""
SCOPED = frozenset({"scope", "scp", "client_id", "cid"})
"""Claims that access tokens have (RFC 9068, Entra, Okta, Auth0), and ID tokens do not."""
MAX_TIME = 253402300799
"""The last second of the year 9999, in seconds since 1970. Later expiries are shortened to it."""
MESSAGES: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is not for this service."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.InvalidSignatureError, "The signature of the token is wrong."),
)


@dataclass(frozen=True, slots=True)
class Head:
    """The parts of an unverified token that are needed to find the key that verifies it."""

    issuer: str
    algorithm: str
    key_id: str | None
    kind: str
    critical: bool


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Any = None


class _Payload(msgspec.Struct):
    iss: str = ""


def head_of(token: str) -> Head | None:
    """Return the unverified head of a token; None if it is no JSON Web Token (RFC 7519)."""
    parts = token.split(".")
    if len(parts) != PARTS:
        return None
    try:
        header = msgspec.json.decode(_decoded(parts[0]), type=_Header)
        payload = msgspec.json.decode(_decoded(parts[1]), type=_Payload)
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
        return None
    return Head(payload.iss, header.alg, header.kid, (header.typ or "").lower(), header.crit is not None)


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def verified_claims(
    token: str, head: Head, provider: Provider, keys: ProviderKeys, audiences: list[str]
) -> dict[str, Any]:
    """Return the claims of a token after checks of signature, issuer, audience and time.

    Raises BadCredentials, Unavailable.
    """
    if head.algorithm not in provider.settings.algorithms:
        raise BadCredentials(f"Tokens signed with {head.algorithm[:20]!r} are not accepted.")
    if head.critical:
        raise BadCredentials("The token has critical header parameters (crit), which are not supported.")
    key = keys.find(head.key_id, head.algorithm)
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[head.algorithm],
            audience=audiences,
            issuer=provider.settings.issuer,
            leeway=provider.settings.leeway,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise BadCredentials(_message(error)) from error
    except (ValueError, OverflowError, TypeError) as error:
        raise BadCredentials("The token is not well-formed.") from error


def _message(error: jwt.PyJWTError) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"The token has no claim {error.claim!r}."
    return next((text for kind, text in MESSAGES if isinstance(error, kind)), "The token is not valid.")


def check_access(head: Head, claims: Mapping[str, Any], provider: Provider) -> None:
    """Raise BadCredentials for a verified token that is no access token for bearers."""
    kinds = {provider.settings.token_type.lower()} if provider.settings.token_type else KINDS
    if head.kind not in kinds:
        raise _no_access()
    if not head.kind.endswith("at+jwt"):
        check_kind(claims, provider)
    elif OTHERS & claims.keys():
        raise _no_access()
    check_terms(claims, provider)


def check_kind(claims: Mapping[str, Any], provider: Provider) -> None:
    """Raise BadCredentials for an ID token, also if its header has no ``typ``.

    Keycloak has the kind of a token in the claim ``typ``, Cognito in ``token_use``. Other ID tokens have a nonce, or
    the client itself as audience, and no claim of access tokens. Access tokens of Keycloak before 25 have a nonce, too.
    """
    typ, use = claims.get("typ", "bearer"), claims.get("token_use", "access")
    if not isinstance(typ, str) or typ.lower() not in ACCESS_TYPES or use != "access" or OTHERS & claims.keys():
        raise _no_access()
    if "typ" in claims and typ.lower() != "jwt":
        return
    if not SCOPED & claims.keys() and "token_use" not in claims and ("nonce" in claims or _is_for(claims, provider)):
        raise _no_access()


def _is_for(claims: Mapping[str, Any], provider: Provider) -> bool:
    """Return whether the only audience is the client that requested the token: that of the login, or ``azp``."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    clients = {claims.get("azp") if isinstance(claims.get("azp"), str) else None}
    if provider.settings.login is not None:
        clients.add(provider.settings.login.client_id)
    return len(named) == 1 and isinstance(named[0], str) and named[0] in clients


def _no_access() -> BadCredentials:
    return BadCredentials("This is not an access token.")


def check_terms(claims: Mapping[str, Any], provider: Provider) -> None:
    """Raise BadCredentials for a token that is bound to a key, or was issued to a client that is not configured."""
    if "cnf" in claims:
        raise BadCredentials("The token is bound to a key (DPoP, mTLS), which is not supported.")
    if provider.settings.clients and client_of(claims) not in provider.settings.clients:
        raise BadCredentials("The token was issued to a client that is not accepted.")


def check_end(claims: Mapping[str, Any], provider: Provider) -> None:
    """Raise BadCredentials for a cached token that has expired."""
    if _end(claims) + provider.settings.leeway <= time.time():
        raise BadCredentials("The token has expired.")


def client_of(claims: Mapping[str, Any]) -> object:
    """Return the client to which a token was issued."""
    return claims.get("azp", claims.get("client_id"))


# --- Principals ------------------------------------------------------------------------------------------------------


def principal_of(claims: Mapping[str, Any], provider: Provider, *, scopes: frozenset[str] | None = None) -> Principal:
    """Return the principal for claims. ``scopes`` replaces the scopes in the claims. Raises BadCredentials."""
    name = claims.get(provider.settings.id_claim)
    identity = f"{provider.id_prefix}{name}"
    if not isinstance(name, str) or not is_plain(name) or identity == ANONYMOUS.id:
        raise BadCredentials(f"The token has no usable claim {provider.settings.id_claim!r}.")
    groups = {
        provider.settings.groups_prefix + group
        for path in provider.groups_claims
        for group in words(claims, path)
        if group
    }
    end = _end(claims)
    return Principal(
        identity,
        frozenset(group for group in groups if is_plain(group)),
        SCHEME,
        _scopes(claims, provider) if scopes is None else scopes,
        claims,
        reference=f"{provider.name} {end}",
        until=datetime.fromtimestamp(min(end + provider.settings.refresh_principal, MAX_TIME), UTC),
    )


def _end(claims: Mapping[str, Any]) -> int:
    end = claims.get("exp", 0)
    if isinstance(end, bool) or not isinstance(end, int | float):
        raise BadCredentials("The claim 'exp' of the token is not a time.")
    # An integer in JSON may be too large for a datetime.
    return int(min(end, MAX_TIME))


def _scopes(claims: Mapping[str, Any], provider: Provider) -> frozenset[str]:
    settings = provider.settings
    if not settings.scopes_claim:
        return frozenset(settings.scopes)
    named = {word for entry in words(claims, settings.scopes_claim) for word in entry.split()}
    prefixed = {word.removeprefix(settings.scopes_prefix) for word in named if word.startswith(settings.scopes_prefix)}
    return RIGHTS & prefixed


def words(claims: Mapping[str, Any], path: str) -> list[str]:
    """Return the strings at a dotted path; names of members can have dots, too."""
    for value in _at(claims, path):
        if isinstance(value, str):
            return [value]
        if isinstance(value, list):
            return [word for word in value if isinstance(word, str)]
    return []


def _at(value: Any, path: str) -> Iterable[Any]:
    if isinstance(value, dict):
        if path in value:
            yield value[path]
        for dot in (place for place, character in enumerate(path) if character == "."):
            if path[:dot] in value:
                yield from _at(value[path[:dot]], path[dot + 1 :])


def refreshed(principal: Principal, provider: Provider, clock: Callable[[], float] = time.time) -> Principal:
    """Return the principal until its token expires, plus the provider's ``refresh_principal``.

    Raises BadCredentials.
    """
    end = int(principal.reference.rpartition(" ")[2] or 0)
    if clock() > end + provider.settings.refresh_principal:
        raise BadCredentials("The token of the creator has expired.")
    return principal
