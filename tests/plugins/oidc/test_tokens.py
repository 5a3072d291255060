"""OpenID Connect: accepted tokens, their principals, and outages of the provider."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
import requests
import requests_mock as rm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from plugins.oidc import OpenId, create_plugin, signing_keys
from stacflask import ANONYMOUS, BadCredentials, Decision, Principal, Request, SettingError, Unavailable, hookimpl
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug, Publish, an_item

ISSUER = "https://id.example.org/realms/eo"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
JWKS = f"{ISSUER}/keys"
INTROSPECTION = f"{ISSUER}/introspect"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
WRONG_CURVE = ec.generate_private_key(ec.SECP384R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
Authenticate = Callable[[str], Principal]


def jwk(key: Any, kid: str, **members: Any) -> dict[str, Any]:
    """Return a public key in the form that providers publish (RFC 7517)."""
    algorithms = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", ed25519.Ed25519PrivateKey: "EdDSA"}
    name = next(name for kind, name in algorithms.items() if isinstance(key, kind))
    made = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    return {**{k: v for k, v in made.items() if k != "key_ops"}, "kid": kid, **members}


KEYS = [
    jwk(RSA, "rsa", use="sig"),
    jwk(CURVE, "ec"),
    jwk(EDWARDS, "ed", alg="EdDSA"),
    jwk(WEAK, "weak"),
    jwk(WRONG_CURVE, "p384"),
    jwk(OTHER, "for-encryption", use="enc"),
    jwk(OTHER, "for-ps", alg="PS256"),
    {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
    {"kty": "RSA", "kid": "broken", "n": "?", "e": "AQAB"},
    "no key at all",
]


def pem(key: Any) -> bytes:
    """Return a public key as PEM, to use it as a shared secret by mistake."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def token(key: Any = RSA, kid: Any = "rsa", alg: Any = "RS256", typ: Any = "JWT", **claims: Any) -> str:
    """Return a token that is valid except for the arguments; a claim that is None is omitted."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": "stacflask", "sub": "jane", "iat": now, "exp": now + 300, **claims}
    headers = {"typ": typ, **({} if kid is None else {"kid": kid})}
    return jwt.encode({k: v for k, v in good.items() if v is not None}, key, alg, headers)


def bearer(text: str) -> Request:
    return Request("GET", "/search", {"Authorization": f"Bearer {text}"}, {}, "192.0.2.1")


@pytest.fixture
def web() -> Iterator[rm.Mocker]:
    """Return a mock of the provider's HTTP responses."""
    with rm.Mocker() as mocker:
        mocker.get(DISCOVERY, json={"issuer": ISSUER, "jwks_uri": JWKS, "introspection_endpoint": INTROSPECTION})
        mocker.get(JWKS, json={"keys": KEYS})
        yield mocker


def plugin(environ: Any = None, **members: Any) -> OpenId:
    settings = {"issuer": ISSUER, "audience": "stacflask", **members}
    environ = {"STACFLASK_OIDC_CACHE": "0", "SECRET": "hush", **(environ or {})}
    return create_plugin({"STACFLASK_OIDC_ISSUERS": json.dumps({"eo": settings}), **environ})


def authenticator(made: OpenId) -> Authenticate:
    gate = Gate(manage({"oidc": made}))
    return lambda text: gate.authenticate(bearer(text))


@pytest.fixture
def authenticate(web: rm.Mocker) -> Authenticate:
    """Return a function from tokens to principals, for a plugin that allows several algorithms."""
    return authenticator(plugin(algorithms=["RS256", "PS256", "ES256", "EdDSA"]))


# --- Principals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "kid", "alg"),
    [(RSA, "rsa", "RS256"), (RSA, "rsa", "PS256"), (CURVE, "ec", "ES256"), (EDWARDS, "ed", "EdDSA")],
)
def test_a_valid_token_authenticates(authenticate: Authenticate, key: Any, kid: str, alg: str) -> None:
    """A token with an allowed algorithm authenticates its subject, with the provider's name as a prefix."""
    principal = authenticate(token(key, kid, alg, groups=["members", "curators"]))
    assert (principal.id, principal.scheme) == ("eo:jane", "oidc")
    assert principal.groups == {"members", "curators"}
    assert principal.scopes == frozenset({"read", "download"})


@pytest.mark.parametrize(
    ("members", "claims", "groups"),
    [
        ({}, {}, set()),
        ({}, {"groups": "one"}, {"one"}),
        ({}, {"groups": ["a", 1, None, "", "b\n", {"c": 1}]}, {"a"}),
        ({"groups_claim": "realm_access.roles"}, {"realm_access": {"roles": ["a"]}}, {"a"}),
        ({"groups_claim": "realm_access.roles"}, {"realm_access": ["a"]}, set()),
        ({"groups_claim": "https://eo.example.org/groups"}, {"https://eo.example.org/groups": ["a"]}, {"a"}),
        ({"groups_claim": "resource_access.eo.app.roles"}, {"resource_access": {"eo.app": {"roles": ["a"]}}}, {"a"}),
        ({"groups_claim": ["groups", "roles"]}, {"groups": ["a"], "roles": ["b"]}, {"a", "b"}),
        ({"groups_prefix": "eo/"}, {"groups": ["a"]}, {"eo/a"}),
    ],
)
def test_groups_come_from_claims(web: rm.Mocker, members: Any, claims: Any, groups: set[str]) -> None:
    """Groups are read by path from one claim or several, with a prefix; values that are no group names are skipped."""
    assert authenticator(plugin(**members))(token(**claims)).groups == groups


@pytest.mark.parametrize(
    ("members", "claims", "scopes"),
    [
        ({"scopes": ["read", "write"]}, {"scope": "download"}, {"read", "write"}),
        ({"scopes_claim": "scope"}, {"scope": "read openid write"}, {"read", "write"}),
        ({"scopes_claim": "scp", "scopes_prefix": "stac:"}, {"scp": ["stac:read", "write"]}, {"read"}),
        ({"scopes_claim": "scope"}, {}, set()),
    ],
)
def test_scopes_come_from_claims_or_settings(web: rm.Mocker, members: Any, claims: Any, scopes: set[str]) -> None:
    """Scopes are the same for all tokens, or come from a claim; a token without the claim has no scopes."""
    assert authenticator(plugin(**members))(token(**claims)).scopes == frozenset(scopes)


def test_the_id_can_be_another_claim(web: rm.Mocker) -> None:
    """The id of a principal can be another claim, without the provider's name as a prefix."""
    authenticate = authenticator(plugin(id_claim="preferred_username", id_prefix=""))
    assert authenticate(token(preferred_username="Jane Doe")).id == "Jane Doe"
    for wrong in (None, "", 7, "anonymous", "a\nb"):
        with pytest.raises(BadCredentials, match="preferred_username"):
            authenticate(token(preferred_username=wrong))


# --- Invalid tokens --------------------------------------------------------------------------------------------------


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def unsigned(alg: str) -> str:
    return f"{encoded(json.dumps({'alg': alg, 'kid': 'rsa'}).encode())}.{encoded(claims_of(token()).encode())}."


def claims_of(text: str) -> str:
    return json.dumps(jwt.decode(text, options={"verify_signature": False}))


def shared(secret: bytes, kid: str) -> str:
    """Return a token signed with a shared secret, which the library would not sign with a public key."""
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    signed = f"{head}.{encoded(claims_of(token()).encode())}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def now() -> int:
    """Return the time when a test runs, because the suite takes longer than some tokens are valid."""
    return int(time.time())


WRONG = [
    (lambda: unsigned("none"), "signed with 'none'"),
    (lambda: unsigned("None"), "signed with 'None'"),
    (lambda: unsigned("RS256"), "signature of the token is wrong"),
    (lambda: shared(pem(RSA), "rsa"), "signed with 'HS256'"),
    (lambda: shared(b"s" * 32, "shared"), "signed with 'HS256'"),
    (lambda: token(OTHER), "signature of the token is wrong"),
    (lambda: token(OTHER, "unknown"), "not signed with a published key"),
    (lambda: token(OTHER, "for-encryption"), "not signed with a published key"),
    (lambda: token(OTHER, "for-ps"), "not signed with a published key"),
    (lambda: token(OTHER, "weak"), "not signed with a published key"),
    (lambda: token(WRONG_CURVE, "p384", "ES384"), "signed with 'ES384'"),
    (lambda: token(RSA, "ec"), "not signed with a published key"),
    (lambda: token(RSA, None, "PS256"), "not signed with a published key"),
    (lambda: token(exp=now() - 3600), "has expired"),
    (lambda: token(exp=None), "no claim 'exp'"),
    (lambda: token(nbf=now() + 3600), "not valid yet"),
    (lambda: token(iat=now() + 3600), "not valid yet"),
    (lambda: token(aud="another"), "not for this service"),
    (lambda: token(aud=["another", 1]), "not for this service"),
    (lambda: token(aud=None), "no claim 'aud'"),
    (lambda: token(sub=None), "no usable claim 'sub'"),
    (lambda: token(typ="logout+jwt"), "not an access token"),
    (lambda: token(at_hash="x"), "not an access token"),
    (lambda: token(nonce="n"), "not an access token"),
    (lambda: token(nonce="n", azp="portal", email="j@example.org"), "not an access token"),
    (lambda: token(azp="stacflask"), "not an access token"),
    (lambda: token(aud=["stacflask"], azp="stacflask", auth_time=1), "not an access token"),
    (lambda: token(token_use="id"), "not an access token"),
    (lambda: token(token_use="id", scope="read"), "not an access token"),
    (lambda: token(nonce="n", typ="JWT", aud=["stacflask", "portal"]), "not an access token"),
    (lambda: token(typ="JWT", events={}), "not an access token"),
    (lambda: token(cnf={"jkt": "x"}), "bound to a key"),
    (lambda: token() + "x", "not|wrong"),
]


@pytest.mark.parametrize(("make", "problem"), WRONG, ids=[problem for _, problem in WRONG])
def test_a_wrong_token_is_refused(authenticate: Authenticate, make: Callable[[], str], problem: str) -> None:
    """An invalid token of the issuer is refused with its problem, and never makes the request anonymous."""
    with pytest.raises(BadCredentials, match=problem):
        authenticate(make())


ACCESS: dict[str, Callable[[], str]] = {
    "RFC 9068": lambda: token(typ="at+jwt", client_id="portal", jti="1", auth_time=1, nonce="n"),
    "RFC 9068 of one's own": lambda: token(typ="at+jwt", client_id="stacflask", azp="stacflask"),
    "Keycloak": lambda: of_type("Bearer", azp="portal", scope="openid", sid="s"),
    "Keycloak before 25": lambda: of_type("Bearer", azp="stacflask", nonce="n", auth_time=1),
    "Auth0": lambda: token(aud=["stacflask", "https://t.example.org/userinfo"], azp="portal", scope="openid"),
    "Entra": lambda: token(azp="stacflask", scp="read", ver="2.0"),
    "Okta": lambda: token(cid="portal", scp=["openid"], uid="u"),
    "Cognito": lambda: token(token_use="access", client_id="portal"),
    "plain": token,
}


def of_type(kind: str, **claims: Any) -> str:
    """Return a token with its kind in the claim ``typ``."""
    return jwt.encode({**json.loads(claims_of(token(**claims))), "typ": kind}, RSA, "RS256", {"kid": "rsa"})


@pytest.mark.parametrize("made", ACCESS)
def test_access_tokens_of_common_providers_are_accepted(web: rm.Mocker, made: str) -> None:
    """The checks for ID tokens accept access tokens of common providers."""
    assert authenticator(plugin())(ACCESS[made]()).id == "eo:jane"


def test_the_id_token_of_the_login_is_no_access_token(web: rm.Mocker) -> None:
    """A token whose only audience is the client of the login is an ID token, unless it has a scope."""
    login = {"client_id": "stacflask"}
    with pytest.raises(BadCredentials, match="not an access token"):
        authenticator(plugin(login=login))(token())
    assert authenticator(plugin(login=login))(token(scope="openid")).id == "eo:jane"


def test_other_kinds_of_tokens_are_refused(web: rm.Mocker) -> None:
    """Keycloak has the kind of a token in a claim; a setting can require the type of RFC 9068."""
    authenticate = authenticator(plugin())
    for kind in ("ID", "Refresh", "Logout"):
        made = jwt.encode({**json.loads(claims_of(token())), "typ": kind}, RSA, "RS256", {"kid": "rsa"})
        with pytest.raises(BadCredentials, match="not an access token"):
            authenticate(made)
    strict = authenticator(plugin(token_type="at+jwt"))
    assert strict(token(typ="at+jwt")).id == "eo:jane"
    with pytest.raises(BadCredentials, match="not an access token"):
        strict(token())


def test_clients_can_be_limited(web: rm.Mocker) -> None:
    """If the setting names clients, a token that was issued to another one is refused."""
    authenticate = authenticator(plugin(clients=["portal"]))
    assert authenticate(token(azp="portal")).id == "eo:jane"
    assert authenticate(token(client_id="portal")).id == "eo:jane"
    for claims in ({"azp": "other"}, {"client_id": "other"}, {}, {"azp": "other", "client_id": "portal"}):
        with pytest.raises(BadCredentials, match="client"):
            authenticate(token(**claims))


def test_leeway_is_a_setting(web: rm.Mocker) -> None:
    """Clocks can differ by the leeway in the setting, and no more."""
    late = {"exp": int(time.time()) - 60}
    assert authenticator(plugin(leeway=120))(token(**late)).id == "eo:jane"
    with pytest.raises(BadCredentials, match="expired"):
        authenticator(plugin(leeway=10))(token(**late))


def test_tokens_of_other_issuers_are_ignored(web: rm.Mocker) -> None:
    """The plugin ignores tokens of other issuers and API keys, so that another plugin can accept them."""

    class Other:
        @hookimpl
        def authenticate(self, request: Request) -> Principal | None:
            return Principal("other", scheme="other") if request.credentials("Bearer") else None

    # The plugin sends requests, so it is called last, independent of its position.
    gate = Gate(manage({"oidc": plugin(introspection={"client_id": "us"}), "other": Other()}))
    assert gate.authenticate(bearer(token())).id == "other"
    alone = plugin(introspection={"client_id": "us"})
    for text in (token(iss="https://evil.example.org"), token(iss=None), "sfk_00000001_a-key-of-ours", "a b", "ü" * 9):
        assert alone.authenticate(bearer(text)) is None
    assert alone.authenticate(Request("GET", "/", {"Authorization": "Basic eDp5"}, {}, "")) is None
    assert alone.authenticate(Request("GET", "/", {}, {}, "")) is None
    assert web.call_count == 0


def test_each_issuer_has_its_own_keys(web: rm.Mocker) -> None:
    """The tokens of an issuer are verified with its own keys; a key of another issuer verifies nothing."""
    second = "https://second.example.org"
    web.get(f"{second}/.well-known/openid-configuration", json={"issuer": second, "jwks_uri": f"{second}/keys"})
    web.get(f"{second}/keys", json={"keys": [jwk(OTHER, "rsa")]})
    settings = {"one": {"issuer": ISSUER, "audience": "stacflask"}, "two": {"issuer": second, "audience": "stacflask"}}
    authenticate = authenticator(create_plugin({"STACFLASK_OIDC_ISSUERS": json.dumps(settings)}))
    assert authenticate(token()).id == "one:jane"
    assert authenticate(token(OTHER, iss=second)).id == "two:jane"
    for text in (token(iss=second), token(OTHER)):
        with pytest.raises(BadCredentials, match="signature of the token is wrong"):
            authenticate(text)


@pytest.mark.parametrize(
    "text",
    [
        "..", "a.b.c", "e30.e30.e30", "W10.W10.", "eyJhbGciOjF9.e30.x", ".".join(["A" * 4000] * 3), "é.é.é",
        base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.x",
    ],
)  # fmt: skip
def test_malformed_tokens_are_ignored(web: rm.Mocker, text: str) -> None:
    """A text that only looks like a token is ignored without an error."""
    assert plugin().authenticate(bearer(text)) is None


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1e400}, {"exp": "soon"}, {"exp": "9999999999"}, {"exp": [1]}, {"nbf": {}}, {"sub": ["x"]}, {"aud": {}}],
)
def test_claims_of_a_wrong_type_are_refused(authenticate: Authenticate, claims: Any) -> None:
    """A signed token with claims of a wrong type is refused without another error."""
    with pytest.raises(BadCredentials):
        authenticate(token(**claims))


def test_a_token_can_have_a_very_late_expiry(authenticate: Authenticate, web: rm.Mocker) -> None:
    """An expiry that is too late for a datetime is shortened, without an error."""
    principal = authenticate(token(exp=10**4000))
    assert principal.id == "eo:jane"
    assert (
        Gate(manage({"oidc": plugin(refresh_principal=1)})).refresh_principal(principal, datetime.now(UTC)) == principal
    )


def test_a_verified_token_is_cached(web: rm.Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is verified once within the cache's seconds; its expiry is always checked, and errors are not cached."""
    authenticate, good = authenticator(plugin({"STACFLASK_OIDC_CACHE": "3600"}, leeway=0)), token()
    decoded: list[str] = []
    decode = jwt.decode

    def counted(text: str, *rest: Any, **more: Any) -> Any:
        decoded.append(text)
        return decode(text, *rest, **more)

    monkeypatch.setattr(jwt, "decode", counted)
    for _ in range(10):
        assert authenticate(good).id == "eo:jane"
    assert len(decoded) <= 2  # twice if the clock just ticked
    for wrong in (good[:-4] + "AAAA", token(aud="another")):
        for _ in range(2):
            with pytest.raises(BadCredentials):
                authenticate(wrong)
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(BadCredentials, match="expired"):
        authenticate(good)


# --- Keys ------------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that tests set."""

    now = 100000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(web: rm.Mocker, clock: Clock) -> Authenticate:
    """Return a function from tokens to principals, with that clock and without background threads."""
    made = plugin()
    keys = made.trusted[ISSUER].keys
    keys.web.clock = clock
    keys.clock, keys.run = clock, lambda work: work()
    return authenticator(made)


def fetched(web: rm.Mocker) -> int:
    return sum(call.url == JWKS for call in web.request_history)


def test_keys_are_fetched_once(timed: Authenticate, web: rm.Mocker) -> None:
    """A hundred requests fetch the keys once."""
    for _ in range(100):
        timed(token())
    assert fetched(web) == 1


def test_a_new_key_is_fetched_once(timed: Authenticate, web: rm.Mocker, clock: Clock) -> None:
    """After a key change, the first token with the new key fetches it, and the old key is dropped."""
    timed(token())
    web.get(JWKS, json={"keys": [jwk(OTHER, "new")]})
    clock.now += signing_keys.FETCH_INTERVAL_SECONDS
    assert timed(token(OTHER, "new")).id == "eo:jane"
    assert timed(token(OTHER, "new")).id == "eo:jane"
    assert fetched(web) == 2
    with pytest.raises(BadCredentials, match="not signed with a published key"):
        timed(token())


def test_unknown_keys_cause_one_request(timed: Authenticate, web: rm.Mocker, clock: Clock) -> None:
    """Many tokens with unknown keys cause one request in each interval."""
    timed(token())
    clock.now += signing_keys.FETCH_INTERVAL_SECONDS
    for number in range(50):
        with pytest.raises(BadCredentials):
            timed(token(OTHER, f"made-up-{number}"))
    assert fetched(web) == 2


def test_concurrent_requests_fetch_keys_once(web: rm.Mocker) -> None:
    """While one request fetches the keys, the others wait for its result."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    requested, proceed = Event(), Event()

    def slow(_: Any, __: Any) -> dict[str, Any]:
        requested.set()
        proceed.wait(1.5)
        return {"keys": KEYS}

    web.get(JWKS, json=slow)
    authenticate, text = authenticator(plugin()), token()
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(authenticate, text) for _ in range(8)]
        requested.wait(5)
        proceed.set()
        assert {future.result().id for future in waiting} == {"eo:jane"}
    assert fetched(web) == 1


def test_a_token_without_key_id_needs_a_single_key(web: rm.Mocker) -> None:
    """A token without a key id is verified with the only key of its type; with two such keys it is refused."""
    web.get(JWKS, json={"keys": [{k: v for k, v in jwk(RSA, "x").items() if k != "kid"}]})
    assert authenticator(plugin())(token(kid=None)).id == "eo:jane"
    web.get(JWKS, json={"keys": [jwk(RSA, "a"), jwk(OTHER, "b")]})
    with pytest.raises(BadCredentials, match="not signed with a published key"):
        authenticator(plugin())(token(kid=None))


# --- Outages ---------------------------------------------------------------------------------------------------------

DOWN = [
    {"exc": requests.ConnectionError("refused")},
    {"exc": requests.ReadTimeout("slow")},
    {"status_code": 500},
    {"status_code": 403, "json": {"error": "no"}},
    {"status_code": 302, "headers": {"Location": "http://169.254.169.254/latest/meta-data"}},
    {"text": "<html>"},
    {"json": []},
    {"json": {"keys": "none"}},
    {"content": b'{"keys": [' + b" " * (1 << 21) + b"]}"},
]


@pytest.mark.parametrize("down", DOWN, ids=lambda down: next(iter(down)))
def test_without_keys_tokens_return_503(web: rm.Mocker, down: Any) -> None:
    """If the keys cannot be fetched, a token is neither valid nor invalid: the response is 503."""
    web.get(JWKS, **down)
    with pytest.raises(Unavailable):
        authenticator(plugin())(token())
    assert "169.254.169.254" not in {call.hostname for call in web.request_history}


def test_cached_keys_work_during_an_outage(timed: Authenticate, web: rm.Mocker, clock: Clock) -> None:
    """During an outage cached keys verify tokens for a day, with one request in each interval."""
    timed(token())
    web.get(DISCOVERY, exc=requests.ConnectionError)
    clock.now += signing_keys.RENEW_AFTER_SECONDS + 1
    for _ in range(20):
        assert timed(token()).id == "eo:jane"
    assert sum(call.url == DISCOVERY for call in web.request_history) == 2
    with pytest.raises(Unavailable):
        timed(token(OTHER, "new"))
    clock.now += signing_keys.MAX_AGE_SECONDS
    with pytest.raises(Unavailable):
        timed(token())
    web.get(DISCOVERY, json={"issuer": ISSUER, "jwks_uri": JWKS})
    clock.now += signing_keys.FETCH_INTERVAL_SECONDS
    assert timed(token()).id == "eo:jane"


def test_keys_are_renewed_every_hour(timed: Authenticate, web: rm.Mocker, clock: Clock) -> None:
    """A key that the provider removed is dropped within an hour, also without a token with a new key."""
    timed(token())
    web.get(JWKS, json={"keys": [jwk(OTHER, "new")]})
    clock.now += signing_keys.RENEW_AFTER_SECONDS + 1
    timed(token())
    with pytest.raises(BadCredentials):
        timed(token())


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example.org", "jwks_uri": JWKS},
        {"issuer": f"{ISSUER}/", "jwks_uri": JWKS},
        {"jwks_uri": JWKS},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": "http://id.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://127.0.0.1/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": "https://user:word@id.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "https://id.example.org:x/keys"},
        {"issuer": ISSUER, "jwks_uri": 1},
    ],
)
def test_wrong_metadata_is_not_followed(web: rm.Mocker, document: Any) -> None:
    """Metadata of another issuer, or with an unsafe URL, make the provider unavailable."""
    web.get(DISCOVERY, json=document)
    with pytest.raises(Unavailable):
        authenticator(plugin())(token())
    assert web.call_count == 1


def test_netrc_is_not_used(web: rm.Mocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Credentials in the netrc file of the server's user are not sent."""
    (tmp_path / "netrc").write_text("machine id.example.org login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    authenticator(plugin())(token())
    assert all("Authorization" not in call.headers for call in web.request_history)


# --- Opaque tokens ---------------------------------------------------------------------------------------------------

OPAQUE = {"introspection": {"client_id": "us", "client_secret_env": "SECRET"}}


def active(**claims: Any) -> dict[str, Any]:
    return {"active": True, "sub": "jane", "aud": "stacflask", "groups": ["members"], **claims}


def test_opaque_tokens_are_introspected(web: rm.Mocker) -> None:
    """The provider introspects an opaque token for the configured client, once within the cache's seconds."""
    web.post(INTROSPECTION, json=active())
    authenticate = authenticator(plugin(**OPAQUE))
    for _ in range(10):
        assert (authenticate("opaque-token").id, set(authenticate("opaque-token").groups)) == ("eo:jane", {"members"})
    (request,) = [call for call in web.request_history if call.url == INTROSPECTION]
    assert request.text == "token=opaque-token&token_type_hint=access_token"
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"us:hush").decode()


def test_an_introspection_expires(web: rm.Mocker) -> None:
    """A revoked token is refused as soon as the cached response expires."""
    web.post(INTROSPECTION, [{"json": active()}, {"json": {"active": False}}])
    made, clock = plugin(**OPAQUE), Clock()
    introspector: Any = made.trusted[ISSUER].introspector
    introspector.clock = clock
    authenticate = authenticator(made)
    assert authenticate("opaque-token").id == "eo:jane"
    clock.now += introspector.settings.cache
    with pytest.raises(BadCredentials, match="not active"):
        authenticate("opaque-token")


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        ({"active": False}, "not active"),
        ({"active": "true", "sub": "jane", "aud": "stacflask"}, "not active"),
        ({}, "not active"),
        (active(aud="another"), "not for this"),
        (active(aud=["another"]), "not for this"),
        (active(aud=None), "not for this"),
        (active(aud=7), "not for this"),
        (active(iss="https://evil.example.org"), "from another issuer"),
        (active(exp=1), "expired"),
        (active(exp="x"), "not a time"),
        (active(nbf=time.time() + 3600), "not valid yet"),
        (active(sub=None), "no usable claim 'sub'"),
        (active(cnf={}), "bound to a key"),
        (active(typ="ID"), "not an access token"),
        (active(nonce="n"), "not an access token"),
        (active(token_use="id"), "not an access token"),
    ],
)
def test_introspected_claims_are_checked(web: rm.Mocker, response: Any, problem: str) -> None:
    """The claims of an opaque token are checked as those of a signed one."""
    web.post(INTROSPECTION, json=response)
    with pytest.raises(BadCredentials, match=problem):
        authenticator(plugin(**OPAQUE))("opaque-token")


def test_without_audience_the_client_must_be_configured(web: rm.Mocker) -> None:
    """Without an audience, the token must have been issued to a configured client."""
    web.post(INTROSPECTION, json={"active": True, "sub": "jane", "client_id": "portal"})
    assert authenticator(plugin(clients=["portal"], **OPAQUE))("opaque-token").id == "eo:jane"
    with pytest.raises(BadCredentials, match="not for this"):
        authenticator(plugin(**OPAQUE))("opaque-token")


@pytest.mark.parametrize("down", DOWN[:5], ids=lambda down: next(iter(down)))
def test_opaque_tokens_return_503_during_an_outage(web: rm.Mocker, down: Any) -> None:
    """During an outage opaque tokens return 503, and the provider is not called for some seconds."""
    web.post(INTROSPECTION, **down)
    authenticate = authenticator(plugin(**OPAQUE))
    for number in range(10):
        with pytest.raises(Unavailable):
            authenticate(f"opaque-token-{number}")
    assert sum(call.url == INTROSPECTION for call in web.request_history) == 1


def test_an_unsupported_token_does_not_block_others(web: rm.Mocker) -> None:
    """A token of an unsupported kind is invalid; other tokens are introspected as before."""
    strange = {"status_code": 400, "json": {"error": "unsupported_token_type"}}
    unclear = {"status_code": 400, "json": {"error": "invalid_request"}}
    web.post(INTROSPECTION, [strange, {"json": active()}, unclear, {"json": active()}])
    authenticate = authenticator(plugin(**OPAQUE))
    with pytest.raises(BadCredentials, match="not active"):
        authenticate("looks.like-a.token")
    assert authenticate("opaque-token").id == "eo:jane"
    with pytest.raises(Unavailable):
        authenticate("unclear-token")
    assert authenticate("another-token").id == "eo:jane"


@pytest.mark.parametrize("status", [413, 414, 422, 429, 431])
def test_a_declined_token_does_not_block_others(web: rm.Mocker, status: int) -> None:
    """A token that the provider declines returns 503, and is not sent again for some seconds."""
    web.post(INTROSPECTION, [{"status_code": status}, {"json": active()}])
    authenticate = authenticator(plugin(**OPAQUE))
    with pytest.raises(Unavailable):
        authenticate("strange-token")
    assert authenticate("opaque-token").id == "eo:jane"
    with pytest.raises(Unavailable):
        authenticate("strange-token")
    assert sum(call.url == INTROSPECTION for call in web.request_history) == 2


# --- Over HTTP -------------------------------------------------------------------------------------------------------


class OnlyMembers:
    """Lets members download."""

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        """Allow members."""
        return Decision.allow("member") if "members" in principal.groups else None


def test_over_http(web: rm.Mocker, plug: Plug, publish: Publish) -> None:
    """401 has the reason, 403 means a wrong group or scope, 503 has Retry-After."""
    publish(an_item())
    client = plug(plugin(scopes_claim="scope"), OnlyMembers())
    download = "/collections/collection/items/item/download/data"

    def get(text: str) -> Any:
        return client.get(download, headers={"Authorization": f"Bearer {text}"})

    anonymous = client.get(download)
    assert (anonymous.status_code, anonymous.headers["WWW-Authenticate"]) == (401, 'Bearer realm="stacflask"')
    late = get(token(exp=now() - 3600))
    assert (late.status_code, late.headers["WWW-Authenticate"]) == (
        401,
        'Bearer realm="stacflask", error="invalid_token", error_description="The token has expired."',
    )
    assert get(token(scope="read download")).status_code == 403
    assert "WWW-Authenticate" not in get(token(scope="read download")).headers
    narrow = get(token(scope="read", groups=["members"]))
    assert narrow.status_code == 403
    assert 'error="insufficient_scope", scope="download"' in narrow.headers["WWW-Authenticate"]
    assert get(token(scope="read download", groups=["members"])).status_code == 404  # allowed, but there is no store
    web.get(JWKS, exc=requests.ConnectionError)
    away = plug(plugin()).get("/collections", headers={"Authorization": f"Bearer {token()}"})
    assert (away.status_code, away.json["code"]) == (503, "IdentityProviderUnavailable")
    assert int(away.headers["Retry-After"]) > 0
    assert client.get("/api").json["components"]["securitySchemes"]["oidc-eo"]["openIdConnectUrl"] == DISCOVERY


def test_a_principal_is_refreshed_until_its_token_expires(web: rm.Mocker) -> None:
    """The creator of a link is refreshed until the token expires, plus the time in the setting."""
    made = plugin(leeway=300)
    gate = Gate(manage({"oidc": made}))
    jane = gate.authenticate(bearer(token(groups=["members"])))
    assert gate.refresh_principal(jane, datetime.now(UTC)) == jane
    gone = gate.authenticate(bearer(token(exp=now() - 100)))
    with pytest.raises(BadCredentials, match="expired"):
        gate.refresh_principal(gone, datetime.now(UTC))
    assert Gate(manage({"oidc": plugin(refresh_principal=3600)})).refresh_principal(gone, datetime.now(UTC)) == gone
    assert gate.refresh_principal(Principal("x", scheme="api_key", reference="eo 1"), datetime.now(UTC)) is None
    assert gate.refresh_principal(ANONYMOUS, datetime.now(UTC)) is None


# --- Settings --------------------------------------------------------------------------------------------------------


UNSAID = {"introspection": {"client_id": "u", "client_secret_env": "N"}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "missing"),
        ("/nosuch/file", "readable file"),
        ("{", "JSON|truncated|end"),
        ("{}", "at least one provider"),
        ({"eo": {}}, "issuer"),
        ({"eo": {"issuer": ISSUER}}, "audience"),
        ({"eo": {"issuer": "http://id.example.org", "audience": "a"}}, "/eo/issuer"),
        ({"eo": {"issuer": f"{ISSUER}?a=b", "audience": "a"}}, "/eo/issuer"),
        ({"eo": {"issuer": "https://u:p@id.example.org", "audience": "a"}}, "/eo/issuer"),
        ({"eo": {"issuer": ISSUER, "audience": []}}, "audience"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "algorithms": ["none"]}}, "/eo/algorithms"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "algorithms": ["HS256"]}}, "/eo/algorithms"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "scopes": ["admin"]}}, "/eo/scopes"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "leeway": 9999}}, "leeway"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "audiance": "b"}}, "audiance"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "ca_file": "/nosuch"}}, "/eo/ca_file"),
        ({"e o": {"issuer": ISSUER, "audience": "a"}}, "/e o/"),
        ({"a": {"issuer": ISSUER, "audience": "a"}, "b": {"issuer": ISSUER, "audience": "a"}}, "must differ"),
        (f'{{"eo": {{"issuer": "{ISSUER}", "audience": "a", "audience": "b"}}}}', "repeated: audience"),
        ({"eo": {"issuer": ISSUER, "audience": "a", **UNSAID}}, "no N"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "login": {"client_id": "u", "scope": "email"}}}, "openid"),
        (
            {name: {"issuer": f"{ISSUER}{name}", "audience": "a", **OPAQUE} for name in ("a", "b")},
            "only one provider",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(value: Any, message: str) -> None:
    """A wrong value prevents the start; the error has the place and no secret."""
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(SettingError, match=r"^STACFLASK_OIDC_ISSUERS: ") as error:
        create_plugin({"STACFLASK_OIDC_ISSUERS": text, "SECRET": "hush"})
    assert re.search(message, error.value.description)
    assert "hush" not in error.value.description


def test_the_setting_can_be_a_file(tmp_path: Any) -> None:
    """The setting can be the path of a JSON file, and a local provider can use http."""
    file = tmp_path / "issuers.json"
    file.write_text(json.dumps({"local": {"issuer": "http://127.0.0.1:9000/realm", "audience": ["a", "b"]}}))
    assert list(create_plugin({"STACFLASK_OIDC_ISSUERS": str(file)}).trusted) == ["http://127.0.0.1:9000/realm"]


def test_secrets_are_in_no_representation() -> None:
    """The representation of the plugin has no client secret."""
    made = plugin(
        introspection={"client_id": "us", "client_secret": "hush"},
        login={"client_id": "u", "client_secret_env": "SECRET"},
    )
    assert "hush" not in repr(made.trusted)
