"""OpenID Connect: whose tokens are taken, what they say, and what happens while the provider is away."""

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
ASKED = f"{ISSUER}/introspect"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
WRONG_CURVE = ec.generate_private_key(ec.SECP384R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
Ask = Callable[[str], Principal]


def jwk(key: Any, kid: str, **members: Any) -> dict[str, Any]:
    """Give a public key as a provider publishes it."""
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
    """Give a public key as text, as those who confuse it with a secret would use it."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def token(key: Any = RSA, kid: Any = "rsa", alg: Any = "RS256", typ: Any = "JWT", **claims: Any) -> str:
    """Make a token that is good but for what is said; a claim that is None is left out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": "stacflask", "sub": "jane", "iat": now, "exp": now + 300, **claims}
    headers = {"typ": typ, **({} if kid is None else {"kid": kid})}
    return jwt.encode({k: v for k, v in good.items() if v is not None}, key, alg, headers)


def bearer(text: str) -> Request:
    return Request("GET", "/search", {"Authorization": f"Bearer {text}"}, {}, "192.0.2.1")


@pytest.fixture
def web() -> Iterator[rm.Mocker]:
    """Give the provider's side of the wire."""
    with rm.Mocker() as mocker:
        mocker.get(DISCOVERY, json={"issuer": ISSUER, "jwks_uri": JWKS, "introspection_endpoint": ASKED})
        mocker.get(JWKS, json={"keys": KEYS})
        yield mocker


def plugin(environ: Any = None, **members: Any) -> OpenId:
    said = {"issuer": ISSUER, "audience": "stacflask", **members}
    environ = {"STACFLASK_OIDC_CACHE": "0", "SECRET": "hush", **(environ or {})}
    return create_plugin({"STACFLASK_OIDC_ISSUERS": json.dumps({"eo": said}), **environ})


def asking(made: OpenId) -> Ask:
    gate = Gate(manage({"oidc": made}))
    return lambda text: gate.authenticate(bearer(text))


@pytest.fixture
def ask(web: rm.Mocker) -> Ask:
    """Give who a token's holder is, for a plugin with all signatures allowed that there are."""
    return asking(plugin(algorithms=["RS256", "PS256", "ES256", "EdDSA"]))


# --- Who it is -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "kid", "alg"),
    [(RSA, "rsa", "RS256"), (RSA, "rsa", "PS256"), (CURVE, "ec", "ES256"), (EDWARDS, "ed", "EdDSA")],
)
def test_a_good_token_says_who_asks(ask: Ask, key: Any, kid: str, alg: str) -> None:
    """A token with any of the allowed signatures is its subject's, under the provider's name, for reading only."""
    principal = ask(token(key, kid, alg, groups=["members", "curators"]))
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
    """Groups are found by their path, in one claim or several, with a prefix; what is no name of a group is not one."""
    assert asking(plugin(**members))(token(**claims)).groups == groups


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
    """What tokens are limited to is the same for all, or said by each; one that says nothing is good for nothing."""
    assert asking(plugin(**members))(token(**claims)).scopes == frozenset(scopes)


def test_ids_may_be_another_claim(web: rm.Mocker) -> None:
    """An operator may call people by another claim, and without the provider's name before it."""
    ask = asking(plugin(id_claim="preferred_username", id_prefix=""))
    assert ask(token(preferred_username="Jane Doe")).id == "Jane Doe"
    for wrong in (None, "", 7, "anonymous", "a\nb"):
        with pytest.raises(BadCredentials, match="preferred_username"):
            ask(token(preferred_username=wrong))


# --- What is refused -------------------------------------------------------------------------------------------------


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def unsigned(alg: str) -> str:
    return f"{encoded(json.dumps({'alg': alg, 'kid': 'rsa'}).encode())}.{encoded(claims_of(token()).encode())}."


def claims_of(text: str) -> str:
    return json.dumps(jwt.decode(text, options={"verify_signature": False}))


def shared(secret: bytes, kid: str) -> str:
    """Sign with a shared secret what is to be signed with a private key, past the library's own guard."""
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    signed = f"{head}.{encoded(claims_of(token()).encode())}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def now() -> int:
    """Give the time when a test runs: the whole suite takes longer than some tokens last."""
    return int(time.time())


WRONG = [
    (lambda: unsigned("none"), "signed with 'none'"),
    (lambda: unsigned("None"), "signed with 'None'"),
    (lambda: unsigned("RS256"), "signature is wrong"),
    (lambda: shared(pem(RSA), "rsa"), "signed with 'HS256'"),
    (lambda: shared(b"s" * 32, "shared"), "signed with 'HS256'"),
    (lambda: token(OTHER), "signature is wrong"),
    (lambda: token(OTHER, "unknown"), "not signed with a key"),
    (lambda: token(OTHER, "for-encryption"), "not signed with a key"),
    (lambda: token(OTHER, "for-ps"), "not signed with a key"),
    (lambda: token(OTHER, "weak"), "not signed with a key"),
    (lambda: token(WRONG_CURVE, "p384", "ES384"), "signed with 'ES384'"),
    (lambda: token(RSA, "ec"), "not signed with a key"),
    (lambda: token(RSA, None, "PS256"), "not signed with a key"),
    (lambda: token(exp=now() - 3600), "has expired"),
    (lambda: token(exp=None), "does not say 'exp'"),
    (lambda: token(nbf=now() + 3600), "not valid yet"),
    (lambda: token(iat=now() + 3600), "not valid yet"),
    (lambda: token(aud="another"), "not meant for this service"),
    (lambda: token(aud=["another", 1]), "not meant for this service"),
    (lambda: token(aud=None), "does not say 'aud'"),
    (lambda: token(sub=None), "does not say 'sub'"),
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
def test_a_wrong_token_is_refused(ask: Ask, make: Callable[[], str], problem: str) -> None:
    """Each way in which a token of the issuer can be wrong is a refusal that tells it, and never nobody."""
    with pytest.raises(BadCredentials, match=problem):
        ask(make())


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
    """Make a token that says among its claims what it is."""
    return jwt.encode({**json.loads(claims_of(token(**claims))), "typ": kind}, RSA, "RS256", {"kid": "rsa"})


@pytest.mark.parametrize("made", ACCESS)
def test_access_tokens_of_common_providers_are_taken(web: rm.Mocker, made: str) -> None:
    """What tells ID tokens apart refuses no access token as providers make them."""
    assert asking(plugin())(ACCESS[made]()).id == "eo:jane"


def test_the_login_gets_no_access_by_its_id_token(web: rm.Mocker) -> None:
    """A token for the client of the login, which says nothing else, is that client's ID token."""
    login = {"client_id": "stacflask"}
    with pytest.raises(BadCredentials, match="not an access token"):
        asking(plugin(login=login))(token())
    assert asking(plugin(login=login))(token(scope="openid")).id == "eo:jane"


def test_what_says_it_is_no_access_token_is_none(web: rm.Mocker) -> None:
    """Keycloak says among the claims what a token is for; and an operator may insist on RFC 9068."""
    ask = asking(plugin())
    for kind in ("ID", "Refresh", "Logout"):
        made = jwt.encode({**json.loads(claims_of(token())), "typ": kind}, RSA, "RS256", {"kid": "rsa"})
        with pytest.raises(BadCredentials, match="not an access token"):
            ask(made)
    strict = asking(plugin(token_type="at+jwt"))
    assert strict(token(typ="at+jwt")).id == "eo:jane"
    with pytest.raises(BadCredentials, match="not an access token"):
        strict(token())


def test_clients_may_be_named(web: rm.Mocker) -> None:
    """Where the operator names clients, a token that was given to another one is refused."""
    ask = asking(plugin(clients=["portal"]))
    assert ask(token(azp="portal")).id == "eo:jane"
    assert ask(token(client_id="portal")).id == "eo:jane"
    for claims in ({"azp": "other"}, {"client_id": "other"}, {}, {"azp": "other", "client_id": "portal"}):
        with pytest.raises(BadCredentials, match="client"):
            ask(token(**claims))


def test_leeway_is_as_set(web: rm.Mocker) -> None:
    """Clocks may differ by as much as the operator says, and no more."""
    late = {"exp": int(time.time()) - 60}
    assert asking(plugin(leeway=120))(token(**late)).id == "eo:jane"
    with pytest.raises(BadCredentials, match="expired"):
        asking(plugin(leeway=10))(token(**late))


def test_tokens_of_others_are_left_to_others(web: rm.Mocker) -> None:
    """A token of an issuer that nobody named, and an API key, are not ours to judge: another plugin is asked."""

    class Other:
        @hookimpl
        def authenticate(self, request: Request) -> Principal | None:
            return Principal("other", scheme="other") if request.credentials("Bearer") else None

    # It goes to the network, so it is asked last, wherever it stands.
    gate = Gate(manage({"oidc": plugin(introspection={"client_id": "us"}), "other": Other()}))
    assert gate.authenticate(bearer(token())).id == "other"
    alone = plugin(introspection={"client_id": "us"})
    for text in (token(iss="https://evil.example.org"), token(iss=None), "sfk_00000001_a-key-of-ours", "a b", "ü" * 9):
        assert alone.authenticate(bearer(text)) is None
    assert alone.authenticate(Request("GET", "/", {"Authorization": "Basic eDp5"}, {}, "")) is None
    assert alone.authenticate(Request("GET", "/", {}, {}, "")) is None
    assert web.call_count == 0


def test_several_issuers_keep_to_themselves(web: rm.Mocker) -> None:
    """Each issuer's tokens are proven with its own keys; another's key, under whatever name, proves nothing."""
    second = "https://second.example.org"
    web.get(f"{second}/.well-known/openid-configuration", json={"issuer": second, "jwks_uri": f"{second}/keys"})
    web.get(f"{second}/keys", json={"keys": [jwk(OTHER, "rsa")]})
    said = {"one": {"issuer": ISSUER, "audience": "stacflask"}, "two": {"issuer": second, "audience": "stacflask"}}
    ask = asking(create_plugin({"STACFLASK_OIDC_ISSUERS": json.dumps(said)}))
    assert ask(token()).id == "one:jane"
    assert ask(token(OTHER, iss=second)).id == "two:jane"
    for text in (token(iss=second), token(OTHER)):
        with pytest.raises(BadCredentials, match="signature is wrong"):
            ask(text)


@pytest.mark.parametrize(
    "text",
    [
        "..", "a.b.c", "e30.e30.e30", "W10.W10.", "eyJhbGciOjF9.e30.x", ".".join(["A" * 4000] * 3), "é.é.é",
        base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.x",
    ],
)  # fmt: skip
def test_nonsense_is_nobody(web: rm.Mocker, text: str) -> None:
    """What only looks like a token is no token of ours, and breaks nothing."""
    assert plugin().authenticate(bearer(text)) is None


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1e400}, {"exp": "soon"}, {"exp": "9999999999"}, {"exp": [1]}, {"nbf": {}}, {"sub": ["x"]}, {"aud": {}}],
)
def test_claims_of_a_wrong_form_are_refused(ask: Ask, claims: Any) -> None:
    """Even a signed token may hold nonsense: it is refused, and breaks nothing."""
    with pytest.raises(BadCredentials):
        ask(token(**claims))


def test_a_token_may_last_for_ever(ask: Ask, web: rm.Mocker) -> None:
    """An end that is further away than can be reckoned with is no end, and breaks nothing."""
    principal = ask(token(exp=10**4000))
    assert principal.id == "eo:jane"
    assert (
        Gate(manage({"oidc": plugin(refresh_principal=1)})).refresh_principal(principal, datetime.now(UTC)) == principal
    )


def test_what_was_proven_is_not_proven_again(web: rm.Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """For some seconds a token is known by its whole text; its end holds at once, and no refusal is remembered."""
    ask, good = asking(plugin({"STACFLASK_OIDC_CACHE": "3600"}, leeway=0)), token()
    decoded: list[str] = []
    decode = jwt.decode

    def counted(text: str, *rest: Any, **more: Any) -> Any:
        decoded.append(text)
        return decode(text, *rest, **more)

    monkeypatch.setattr(jwt, "decode", counted)
    for _ in range(10):
        assert ask(good).id == "eo:jane"
    assert len(decoded) <= 2  # twice if the clock just ticked
    for wrong in (good[:-4] + "AAAA", token(aud="another")):
        for _ in range(2):
            with pytest.raises(BadCredentials):
                ask(wrong)
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(BadCredentials, match="expired"):
        ask(good)


# --- Keys ------------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that goes when it is told to."""

    now = 100000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(web: rm.Mocker, clock: Clock) -> Ask:
    """Give a plugin that lives by that clock and does at once what it would do in the background."""
    made = plugin()
    keys = made.trusted[ISSUER].keys
    keys.web.clock = clock
    keys.clock, keys.aside = clock, lambda work: work()
    return asking(made)


def fetched(web: rm.Mocker) -> int:
    return sum(call.url == JWKS for call in web.request_history)


def test_keys_are_fetched_once(timed: Ask, web: rm.Mocker) -> None:
    """A hundred requests, one question."""
    for _ in range(100):
        timed(token())
    assert fetched(web) == 1


def test_a_new_key_is_fetched_once(timed: Ask, web: rm.Mocker, clock: Clock) -> None:
    """When the provider changes its key, the first token with it brings it in, and the old key is gone."""
    timed(token())
    web.get(JWKS, json={"keys": [jwk(OTHER, "new")]})
    clock.now += signing_keys.INTERVAL
    assert timed(token(OTHER, "new")).id == "eo:jane"
    assert timed(token(OTHER, "new")).id == "eo:jane"
    assert fetched(web) == 2
    with pytest.raises(BadCredentials, match="not signed with a key"):
        timed(token())


def test_unknown_keys_make_no_storm(timed: Ask, web: rm.Mocker, clock: Clock) -> None:
    """A thousand tokens with keys that nobody has make one question in each interval."""
    timed(token())
    clock.now += signing_keys.INTERVAL
    for number in range(50):
        with pytest.raises(BadCredentials):
            timed(token(OTHER, f"made-up-{number}"))
    assert fetched(web) == 2


def test_one_asks_at_a_time(web: rm.Mocker) -> None:
    """While one request fetches, the others wait for what it finds, and do not ask themselves."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    asked, go_on = Event(), Event()

    def slow(_: Any, __: Any) -> dict[str, Any]:
        asked.set()
        go_on.wait(1.5)
        return {"keys": KEYS}

    web.get(JWKS, json=slow)
    ask, text = asking(plugin()), token()
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(ask, text) for _ in range(8)]
        asked.wait(5)
        go_on.set()
        assert {future.result().id for future in waiting} == {"eo:jane"}
    assert fetched(web) == 1


def test_a_key_without_a_name_is_found_if_it_is_the_only_one(web: rm.Mocker) -> None:
    """A token that names no key is proven with the only one of its kind; where there are two, it is refused."""
    web.get(JWKS, json={"keys": [{k: v for k, v in jwk(RSA, "x").items() if k != "kid"}]})
    assert asking(plugin())(token(kid=None)).id == "eo:jane"
    web.get(JWKS, json={"keys": [jwk(RSA, "a"), jwk(OTHER, "b")]})
    with pytest.raises(BadCredentials, match="not signed with a key"):
        asking(plugin())(token(kid=None))


# --- The provider is away --------------------------------------------------------------------------------------------

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
def test_without_its_keys_nobody_enters(web: rm.Mocker, down: Any) -> None:
    """While keys cannot be had, a token that only they could prove is 503: neither entry nor a wrong credential."""
    web.get(JWKS, **down)
    with pytest.raises(Unavailable):
        asking(plugin())(token())
    assert "169.254.169.254" not in {call.hostname for call in web.request_history}


def test_known_keys_go_on(timed: Ask, web: rm.Mocker, clock: Clock) -> None:
    """While the provider is away its known keys prove tokens for a day, and it is asked once in an interval."""
    timed(token())
    web.get(DISCOVERY, exc=requests.ConnectionError)
    clock.now += signing_keys.FRESH + 1
    for _ in range(20):
        assert timed(token()).id == "eo:jane"
    assert sum(call.url == DISCOVERY for call in web.request_history) == 2
    with pytest.raises(Unavailable):
        timed(token(OTHER, "new"))
    clock.now += signing_keys.KEPT
    with pytest.raises(Unavailable):
        timed(token())
    web.get(DISCOVERY, json={"issuer": ISSUER, "jwks_uri": JWKS})
    clock.now += signing_keys.INTERVAL
    assert timed(token()).id == "eo:jane"


def test_keys_are_renewed_before_they_are_old(timed: Ask, web: rm.Mocker, clock: Clock) -> None:
    """A key that the provider took back is gone within the hour, though nobody came with another."""
    timed(token())
    web.get(JWKS, json={"keys": [jwk(OTHER, "new")]})
    clock.now += signing_keys.FRESH + 1
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
def test_a_strange_discovery_is_not_followed(web: rm.Mocker, document: Any) -> None:
    """A document that is another issuer's, or leads to where no provider is, is as if there were none."""
    web.get(DISCOVERY, json=document)
    with pytest.raises(Unavailable):
        asking(plugin())(token())
    assert web.call_count == 1


def test_netrc_is_not_looked_into(web: rm.Mocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """What the server's own user keeps for other programs is not sent to anybody."""
    (tmp_path / "netrc").write_text("machine id.example.org login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    asking(plugin())(token())
    assert all("Authorization" not in call.headers for call in web.request_history)


# --- Opaque tokens ---------------------------------------------------------------------------------------------------

OPAQUE = {"introspection": {"client_id": "us", "client_secret_env": "SECRET"}}


def active(**claims: Any) -> dict[str, Any]:
    return {"active": True, "sub": "jane", "aud": "stacflask", "groups": ["members"], **claims}


def test_opaque_tokens_are_asked_about(web: rm.Mocker) -> None:
    """The provider says whose an opaque token is, asked as the client that the operator named; for seconds, once."""
    web.post(ASKED, json=active())
    ask = asking(plugin(**OPAQUE))
    for _ in range(10):
        assert (ask("opaque-token").id, set(ask("opaque-token").groups)) == ("eo:jane", {"members"})
    (asked,) = [call for call in web.request_history if call.url == ASKED]
    assert asked.text == "token=opaque-token&token_type_hint=access_token"
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"us:hush").decode()


def test_an_answer_is_forgotten(web: rm.Mocker) -> None:
    """A token that was ended is refused as soon as the answer is no more trusted."""
    web.post(ASKED, [{"json": active()}, {"json": {"active": False}}])
    made, clock = plugin(**OPAQUE), Clock()
    introspector: Any = made.trusted[ISSUER].introspector
    introspector.clock = clock
    ask = asking(made)
    assert ask("opaque-token").id == "eo:jane"
    clock.now += introspector.settings.cache
    with pytest.raises(BadCredentials, match="not active"):
        ask("opaque-token")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"active": False}, "not active"),
        ({"active": "true", "sub": "jane", "aud": "stacflask"}, "not active"),
        ({}, "not active"),
        (active(aud="another"), "not meant"),
        (active(aud=["another"]), "not meant"),
        (active(aud=None), "not meant"),
        (active(aud=7), "not meant"),
        (active(iss="https://evil.example.org"), "another issuer"),
        (active(exp=1), "expired"),
        (active(exp="x"), "no time"),
        (active(nbf=time.time() + 3600), "not valid yet"),
        (active(sub=None), "does not say 'sub'"),
        (active(cnf={}), "bound to a key"),
        (active(typ="ID"), "not an access token"),
        (active(nonce="n"), "not an access token"),
        (active(token_use="id"), "not an access token"),
    ],
)
def test_answers_are_held_to_the_same(web: rm.Mocker, answer: Any, problem: str) -> None:
    """What the provider says of an opaque token is checked as what stands in a signed one."""
    web.post(ASKED, json=answer)
    with pytest.raises(BadCredentials, match=problem):
        asking(plugin(**OPAQUE))("opaque-token")


def test_without_audience_the_client_must_be_known(web: rm.Mocker) -> None:
    """Many providers name no audience: then the token must have been given to a client that the operator named."""
    web.post(ASKED, json={"active": True, "sub": "jane", "client_id": "portal"})
    assert asking(plugin(clients=["portal"], **OPAQUE))("opaque-token").id == "eo:jane"
    with pytest.raises(BadCredentials, match="not meant"):
        asking(plugin(**OPAQUE))("opaque-token")


@pytest.mark.parametrize("down", DOWN[:5], ids=lambda down: next(iter(down)))
def test_unknown_tokens_wait_for_the_provider(web: rm.Mocker, down: Any) -> None:
    """While the provider does not answer, an opaque token is 503, and it is left alone for some seconds."""
    web.post(ASKED, **down)
    ask = asking(plugin(**OPAQUE))
    for number in range(10):
        with pytest.raises(Unavailable):
            ask(f"opaque-token-{number}")
    assert sum(call.url == ASKED for call in web.request_history) == 1


def test_a_strange_token_keeps_nobody_out(web: rm.Mocker) -> None:
    """A token of a kind that the provider does not judge is wrong; others are asked about at once, as before."""
    strange = {"status_code": 400, "json": {"error": "unsupported_token_type"}}
    unclear = {"status_code": 400, "json": {"error": "invalid_request"}}
    web.post(ASKED, [strange, {"json": active()}, unclear, {"json": active()}])
    ask = asking(plugin(**OPAQUE))
    with pytest.raises(BadCredentials, match="not active"):
        ask("looks.like-a.token")
    assert ask("opaque-token").id == "eo:jane"
    with pytest.raises(Unavailable):
        ask("unclear-token")
    assert ask("another-token").id == "eo:jane"


@pytest.mark.parametrize("status", [413, 414, 422, 429, 431])
def test_a_token_that_the_provider_declines_stops_no_other(web: rm.Mocker, status: int) -> None:
    """A stranger's token by which the provider has enough is 503, and is not asked about again at once."""
    web.post(ASKED, [{"status_code": status}, {"json": active()}])
    ask = asking(plugin(**OPAQUE))
    with pytest.raises(Unavailable):
        ask("strange-token")
    assert ask("opaque-token").id == "eo:jane"
    with pytest.raises(Unavailable):
        ask("strange-token")
    assert sum(call.url == ASKED for call in web.request_history) == 2


# --- Over HTTP -------------------------------------------------------------------------------------------------------


class OnlyMembers:
    """Lets members download."""

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        """Consent."""
        return Decision.allow("member") if "members" in principal.groups else None


def test_over_http(web: rm.Mocker, plug: Plug, publish: Publish) -> None:
    """Who is refused learns how to ask: 401 with the reason, 403 for the wrong group or scope, 503 with a wait."""
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
    assert get(token(scope="read download", groups=["members"])).status_code == 404  # granted, and no store is there
    web.get(JWKS, exc=requests.ConnectionError)
    away = plug(plugin()).get("/collections", headers={"Authorization": f"Bearer {token()}"})
    assert (away.status_code, away.json["code"]) == (503, "IdentityProviderUnavailable")
    assert int(away.headers["Retry-After"]) > 0
    assert client.get("/api").json["components"]["securitySchemes"]["oidc-eo"]["openIdConnectUrl"] == DISCOVERY


def test_a_link_lasts_as_long_as_its_makers_token(web: rm.Mocker) -> None:
    """Who made a link is still known until the token ends, or as long after as the operator says; and no longer."""
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
    ("said", "complaint"),
    [
        ("", "missing"),
        ("/nosuch/file", "neither"),
        ("{", "JSON|truncated|end"),
        ("{}", "names no provider"),
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
        ({"a": {"issuer": ISSUER, "audience": "a"}, "b": {"issuer": ISSUER, "audience": "a"}}, "twice"),
        (f'{{"eo": {{"issuer": "{ISSUER}", "audience": "a", "audience": "b"}}}}', "given twice: audience"),
        ({"eo": {"issuer": ISSUER, "audience": "a", **UNSAID}}, "no N"),
        ({"eo": {"issuer": ISSUER, "audience": "a", "login": {"client_id": "u", "scope": "email"}}}, "openid"),
        (
            {name: {"issuer": f"{ISSUER}{name}", "audience": "a", **OPAQUE} for name in ("a", "b")},
            "only one provider",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(said: Any, complaint: str) -> None:
    """What is wrong stops the start, and is told with its place; no secret is repeated."""
    text = said if isinstance(said, str) else json.dumps(said)
    with pytest.raises(SettingError, match=r"^STACFLASK_OIDC_ISSUERS: ") as error:
        create_plugin({"STACFLASK_OIDC_ISSUERS": text, "SECRET": "hush"})
    assert re.search(complaint, error.value.description)
    assert "hush" not in error.value.description


def test_settings_may_stand_in_a_file(tmp_path: Any) -> None:
    """The JSON may be a file, and a provider on this machine may be asked by http."""
    file = tmp_path / "issuers.json"
    file.write_text(json.dumps({"local": {"issuer": "http://127.0.0.1:9000/realm", "audience": ["a", "b"]}}))
    assert list(create_plugin({"STACFLASK_OIDC_ISSUERS": str(file)}).trusted) == ["http://127.0.0.1:9000/realm"]


def test_secrets_are_in_no_representation() -> None:
    """Neither a log nor an error shows a client's secret."""
    made = plugin(
        introspection={"client_id": "us", "client_secret": "hush"},
        login={"client_id": "u", "client_secret_env": "SECRET"},
    )
    assert "hush" not in repr(made.trusted)
