"""What a token says, once it is known to be the provider's, and who that is here."""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt
import msgspec

from plugins._common.groups import is_plain
from plugins.oidc.settings import RIGHTS
from stacflask import ANONYMOUS, BadCredentials, Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from plugins.oidc.settings import Provider
    from plugins.oidc.signing_keys import Keys

SCHEME = "oidc"
PARTS = 3
KINDS = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
"""What an access token may call itself (``typ`` in the header); what says it is something else is none."""
OTHERS = frozenset({"at_hash", "c_hash", "s_hash", "events"})
"""Claims that only tokens for other ends have: those that tell a client who logged in, or out."""
ACCESS_TYPES = frozenset({"bearer", "jwt", "at+jwt"})
"""What an access token may call itself among its claims."""
SCOPED = frozenset({"scope", "scp", "client_id", "cid"})
"""Claims that access tokens have (RFC 9068, Entra, Okta, Auth0), and ID tokens do not."""
FAR = 253402300799
"""The last second of the year 9999, which is as good as never."""
MEANING: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is not meant for this service."),
    (jwt.InvalidIssuerError, "The token is another issuer's."),
    (jwt.InvalidSignatureError, "The token's signature is wrong."),
)


@dataclass(frozen=True, slots=True)
class Head:
    """What an unproven token says of itself: enough to know whose key would prove it."""

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
    """Read what a token says of itself, proven by nothing; None if it is no JSON Web Token."""
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


def proven(token: str, head: Head, provider: Provider, keys: Keys, audiences: list[str]) -> dict[str, Any]:
    """Give the claims of a token that its issuer signed, for us, and for now. Raises BadCredentials, Unavailable."""
    if head.algorithm not in provider.said.algorithms:
        raise BadCredentials(f"Tokens signed with {head.algorithm[:20]!r} are not taken here.")
    if head.critical:
        raise BadCredentials("The token asks for something that is not understood here.")
    key = keys.find(head.key_id, head.algorithm)
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[head.algorithm],
            audience=audiences,
            issuer=provider.said.issuer,
            leeway=provider.said.leeway,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise BadCredentials(_meaning(error)) from error
    except (ValueError, OverflowError, TypeError) as error:
        raise BadCredentials("The token is not well formed.") from error


def _meaning(error: jwt.PyJWTError) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"The token does not say {error.claim!r}."
    return next((text for kind, text in MEANING if isinstance(error, kind)), "The token is not valid.")


def check_access(head: Head, claims: Mapping[str, Any], provider: Provider) -> None:
    """Refuse what is signed well and is no access token for whoever brings it. Raises BadCredentials."""
    kinds = {provider.said.token_type.lower()} if provider.said.token_type else KINDS
    if head.kind not in kinds:
        raise _no_access()
    if not head.kind.endswith("at+jwt"):
        check_kind(claims, provider)
    elif OTHERS & claims.keys():
        raise _no_access()
    check_terms(claims, provider)


def check_kind(claims: Mapping[str, Any], provider: Provider) -> None:
    """Refuse an ID token whose header does not say what it is. Raises BadCredentials.

    Keycloak names the kind of a token in ``typ``, Cognito in ``token_use``. Others are known by claims that only ID
    tokens have (a nonce, the client itself as audience), unless they have a claim of access tokens. Access tokens of
    Keycloak before 25 have a nonce, too.
    """
    typ, use = claims.get("typ", "bearer"), claims.get("token_use", "access")
    if not isinstance(typ, str) or typ.lower() not in ACCESS_TYPES or use != "access" or OTHERS & claims.keys():
        raise _no_access()
    if "typ" in claims and typ.lower() != "jwt":
        return
    if not SCOPED & claims.keys() and "token_use" not in claims and ("nonce" in claims or _is_for(claims, provider)):
        raise _no_access()


def _is_for(claims: Mapping[str, Any], provider: Provider) -> bool:
    """Whether the only audience is the client that asked for the token: that of the login, or ``azp``."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    clients = {claims.get("azp") if isinstance(claims.get("azp"), str) else None}
    if provider.said.login is not None:
        clients.add(provider.said.login.client_id)
    return len(named) == 1 and isinstance(named[0], str) and named[0] in clients


def _no_access() -> BadCredentials:
    return BadCredentials("This is not an access token.")


def check_terms(claims: Mapping[str, Any], provider: Provider) -> None:
    """Refuse a token that is bound to a key, or was given to another client than may come. Raises BadCredentials."""
    if "cnf" in claims:
        raise BadCredentials("The token is bound to a key (DPoP, mTLS), which is not supported here.")
    if provider.said.clients and client_of(claims) not in provider.said.clients:
        raise BadCredentials("The token was given to a client that may not be used here.")


def check_end(claims: Mapping[str, Any], provider: Provider) -> None:
    """Refuse a token that was proven a while ago and has expired since. Raises BadCredentials."""
    if _end(claims) + provider.said.leeway <= time.time():
        raise BadCredentials("The token has expired.")


def client_of(claims: Mapping[str, Any]) -> object:
    """Say to which client a token was given."""
    return claims.get("azp", claims.get("client_id"))


# --- Who it is -------------------------------------------------------------------------------------------------------


def principal_of(claims: Mapping[str, Any], provider: Provider, *, scopes: frozenset[str] | None = None) -> Principal:
    """Say who the claims speak of. ``scopes``: those of a session, whatever the claims say. Raises BadCredentials."""
    name = claims.get(provider.said.id_claim)
    identity = f"{provider.id_prefix}{name}"
    if not isinstance(name, str) or not is_plain(name) or identity == ANONYMOUS.id:
        raise BadCredentials(f"The token does not say {provider.said.id_claim!r}.")
    groups = {
        provider.said.groups_prefix + group for path in provider.groups_claims for group in words(claims, path) if group
    }
    end = _end(claims)
    return Principal(
        identity,
        frozenset(group for group in groups if is_plain(group)),
        SCHEME,
        _scopes(claims, provider) if scopes is None else scopes,
        claims,
        reference=f"{provider.name} {end}",
        until=datetime.fromtimestamp(min(end + provider.said.refresh_principal, FAR), UTC),
    )


def _end(claims: Mapping[str, Any]) -> int:
    end = claims.get("exp", 0)
    if isinstance(end, bool) or not isinstance(end, int | float):
        raise BadCredentials("The token's 'exp' is no time.")
    # A whole number may be too long to be reckoned with.
    return int(min(end, FAR))


def _scopes(claims: Mapping[str, Any], provider: Provider) -> frozenset[str]:
    said = provider.said
    if not said.scopes_claim:
        return frozenset(said.scopes)
    named = {word for entry in words(claims, said.scopes_claim) for word in entry.split()}
    prefixed = {word.removeprefix(said.scopes_prefix) for word in named if word.startswith(said.scopes_prefix)}
    return RIGHTS & prefixed


def words(claims: Mapping[str, Any], path: str) -> list[str]:
    """Give the texts at a dotted path; a member whose own name has dots is found as well."""
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


def still(principal: Principal, provider: Provider, clock: Callable[[], float] = time.time) -> Principal:
    """Give who a token spoke of, as long as it, or what the operator adds to it, lasts. Raises BadCredentials."""
    end = int(principal.reference.rpartition(" ")[2] or 0)
    if clock() > end + provider.said.refresh_principal:
        raise BadCredentials("The token that this was made with has expired.")
    return principal
