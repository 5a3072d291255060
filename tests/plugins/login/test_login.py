"""Logging in by browser: at a provider that can be made to lie, and at a real one."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
import requests_mock as rm
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from werkzeug.serving import make_server

from plugins import links
from plugins.login import Logins, create_plugin
from plugins.oidc import http
from stacflask import BadCredentials, Change, Decision, Principal, SettingError, hookimpl
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug, Publish, a_collection, an_item
from tests.shelf import Shelf

ISSUER = "https://id.example.org"
KEY = rsa.generate_private_key(65537, 2048)
JWK = {**jwt.get_algorithm_by_name("RS256").to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}
DOCUMENT = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/keys",
    "authorization_endpoint": f"{ISSUER}/auth?tenant=1",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/me",
    "end_session_endpoint": f"{ISSUER}/end",
}
LOGIN = {"client_id": "portal", "client_secret": "hush", "title": "Example ID"}
HTTPS = {"STACFLASK_PUBLIC_URL": "https://stac.example.org/api"}
OURS = {"Sec-Fetch-Site": "same-origin"}


class MembersWrite:
    """Lets members change everything, and nobody else."""

    @hookimpl
    def authorize_change(self, principal: Principal, change: Change) -> Decision | None:
        """Consent."""
        return Decision.allow("member") if "members" in principal.groups else None


class MembersDownload:
    """Lets members download everything, and nobody else."""

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        """Consent."""
        return Decision.allow("member") if "members" in principal.groups else None


def plugin(login: Any = LOGIN, environ: Any = None, **members: Any) -> Logins:
    said = {"issuer": ISSUER, "audience": "stacflask", "login": login, "scopes": ["read", "write"], **members}
    return create_plugin(
        {"STACFLASK_OIDC_ISSUERS": json.dumps({"eo": said}), "STACFLASK_LOGIN_CACHE": "0", **(environ or {})}
    )


@pytest.fixture
def web() -> Iterator[rm.Mocker]:
    """Give the provider's side of the wire."""
    with rm.Mocker() as mocker:
        mocker.get(f"{ISSUER}/.well-known/openid-configuration", json=DOCUMENT)
        mocker.get(f"{ISSUER}/keys", json={"keys": [JWK]})
        yield mocker


@pytest.fixture
def logins() -> Logins:
    return plugin()


@pytest.fixture
def browser(plug: Plug, logins: Logins) -> Any:
    """Give a browser of a server with the plugin; it keeps cookies, as browsers do."""
    return plug(logins, MembersWrite())


def leave(browser: Any, address: str = "/login") -> dict[str, str]:
    """Begin a login; give what the provider is told."""
    gone = browser.get(address)
    assert gone.status_code == 303, gone.text
    return {name: values[0] for name, values in parse_qs(urlsplit(gone.headers["Location"]).query).items()}


def id_token(given: str, /, **claims: Any) -> str:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": "portal", "sub": "jane", "nonce": given, "groups": ["members"], "iat": now}
    said |= {"exp": now + 300, **claims}
    return jwt.encode({k: v for k, v in said.items() if v is not None}, KEY, "RS256", {"kid": "k"})


def log_in(browser: Any, web: rm.Mocker, address: str = "/login", **claims: Any) -> Any:
    told = leave(browser, address)
    web.post(f"{ISSUER}/token", json={"id_token": id_token(told["nonce"], **claims), "access_token": "opaque"})
    return browser.get("/login/callback", query_string={"code": "c0de", "state": told["state"]})


def cookies(answer: Any) -> dict[str, set[str]]:
    """Give the attributes of the cookies that an answer sets, by name."""
    parts = [cookie.split("; ") for cookie in answer.headers.getlist("Set-Cookie")]
    return {first.partition("=")[0]: set(rest) for first, *rest in parts}


# --- There and back --------------------------------------------------------------------------------------------------


def test_the_way_there(browser: Any, web: rm.Mocker) -> None:
    """The provider is told who we are, where to come back, and a challenge; the browser keeps what proves it left."""
    told = leave(browser)
    assert told.keys() == {
        *("tenant", "response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
    assert (told["response_type"], told["client_id"]) == ("code", "portal")
    assert told["redirect_uri"] == "http://localhost/login/callback"
    assert told["code_challenge_method"] == "S256"
    again = leave(browser)
    for name in ("state", "nonce", "code_challenge"):
        assert len(told[name]) >= 43
        assert told[name] != again[name]


def test_the_way_back(browser: Any, web: rm.Mocker) -> None:
    """Who comes back is known from then on, and goes on to where she wanted to go."""
    back = log_in(browser, web, "/login?next=/api.html%23/search")
    assert (back.status_code, back.headers["Location"]) == (303, "http://localhost/api.html#/search")
    who = browser.get("/whoami").json
    assert (who["id"], who["groups"], who["scheme"]) == ("eo:jane", ["members"], "session")
    assert who["scopes"] == ["read", "write"]
    assert who["login"] == [{"title": "Example ID", "href": "http://localhost/login?provider=eo"}]
    (asked,) = [call for call in web.request_history if call.path == "/token"]
    form = parse_qs(asked.text)
    assert (form["grant_type"], form["code"]) == (["authorization_code"], ["c0de"])
    assert len(form["code_verifier"][0]) >= 43
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"portal:hush").decode()


def test_without_a_session_one_is_nobody(browser: Any, web: rm.Mocker) -> None:
    """Who has not logged in is told so, and where she can."""
    who = browser.get("/whoami").json
    assert (who["id"], who["anonymous"], who["groups"]) == ("anonymous", True, [])


@pytest.mark.parametrize(
    ("public_url", "name", "attributes"),
    [
        ("https://stac.example.org", "__Host-stacflask", {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}),
        ("https://stac.example.org/api", "__Secure-stacflask", {"Secure", "HttpOnly", "SameSite=Lax", "Path=/api"}),
        ("http://127.0.0.1:8000", "stacflask", {"HttpOnly", "SameSite=Lax", "Path=/"}),
    ],
)
def test_cookies_are_for_us_alone(plug: Plug, web: rm.Mocker, public_url: str, name: str, attributes: set[str]) -> None:
    """Cookies go by https only, to this API only, no script sees them, and no neighbour can plant them."""
    browser: Any = plug(plugin(), environ={"STACFLASK_PUBLIC_URL": public_url})
    gone = browser.get("/login", base_url=public_url)
    assert attributes < cookies(gone)[f"{name}-journey"]
    told = {k: v[0] for k, v in parse_qs(urlsplit(gone.headers["Location"]).query).items()}
    assert told["redirect_uri"] == f"{public_url}/login/callback"
    web.post(f"{ISSUER}/token", json={"id_token": id_token(told["nonce"])})
    back = browser.get(f"/login/callback?code=c&state={told['state']}", base_url=public_url)
    assert attributes | {"Max-Age=43200"} <= cookies(back)[f"{name}-session"]
    assert "Max-Age=0" in cookies(back)[f"{name}-journey"]
    assert ("Secure" in cookies(back)[f"{name}-session"]) == public_url.startswith("https")


def test_nobody_logs_in_without_https(plug: Plug, web: rm.Mocker) -> None:
    """By plain http over a network there is no login, and no cookie is believed."""
    client: Any = plug(plugin(), environ={"STACFLASK_PUBLIC_URL": "http://stac.example.org"})
    answer = client.get("/login")
    assert (answer.status_code, "https only" in answer.json["description"]) == (400, True)
    client.set_cookie("stacflask-session", "x")
    assert client.get("/whoami").json["anonymous"]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example.org",
        "//evil.example.org",
        "/\\evil.example.org",
        "\\\\evil",
        "evil",
        "",
        "/a\r\nb",
        "javascript:1",
        "/../neighbour",
        "/a/%2E%2e/../neighbour",
        "/.//evil.example.org",
    ],
)
def test_nobody_is_sent_elsewhere(browser: Any, web: rm.Mocker, target: str) -> None:
    """After the login a browser is sent to a path of this API, whoever made the link."""
    assert browser.get("/login", query_string={"next": target}).status_code == 400


def test_what_the_cookie_says_is_not_believed(browser: Any, web: rm.Mocker) -> None:
    """Nor does a cookie that somebody planted send a browser elsewhere."""
    from plugins.login.flow import Journey

    journey = Journey("eo", "https://evil.example.org")
    web.post(f"{ISSUER}/token", json={"id_token": id_token(journey.nonce)})
    browser.set_cookie("stacflask-journey", journey.packed())
    back = browser.get("/login/callback", query_string={"code": "c", "state": journey.state})
    assert (back.status_code, "Location" in back.headers) == (400, False)


def test_providers_are_known_by_name(browser: Any, web: rm.Mocker) -> None:
    """One may ask for a provider by name, if there is one."""
    assert leave(browser, "/login?provider=eo")["client_id"] == "portal"
    assert browser.get("/login?provider=nosuch").status_code == 404


# --- What is refused -------------------------------------------------------------------------------------------------


def test_only_who_left_comes_back(browser: Any, web: rm.Mocker, plug: Plug) -> None:
    """Without the cookie of this login, or with another state, nothing is asked and nobody is let in."""
    told = leave(browser)
    web.post(f"{ISSUER}/token", json={"id_token": id_token(told["nonce"])})
    stranger = plug(plugin())
    for client, state in ((browser, "x"), (browser, ""), (browser, "ü"), (stranger, told["state"])):
        answer = client.get("/login/callback", query_string={"code": "c", "state": state})
        assert (answer.status_code, answer.content_type) == (400, "text/html; charset=utf-8")
        assert "begun elsewhere" in answer.text
    half = base64.b64encode(b'{"provider":"eo","next":"/","state":"\\ud800","nonce":"n","verifier":"v"}').decode()
    for garbage in ("x", "e30", "W10", base64.b64encode(b"[" * 3000).decode(), half):
        stranger.set_cookie("stacflask-journey", garbage)
        assert stranger.get("/login/callback?code=c&state=x").status_code == 400
    assert not any(call.path == "/token" for call in web.request_history)


def test_an_answer_is_good_once(browser: Any, web: rm.Mocker) -> None:
    """The cookie of a login ends with it: the same answer again is refused."""
    told = leave(browser)
    web.post(f"{ISSUER}/token", json={"id_token": id_token(told["nonce"])})
    answer = {"code": "c0de", "state": told["state"]}
    assert browser.get("/login/callback", query_string=answer).status_code == 303
    assert browser.get("/login/callback", query_string=answer).status_code == 400


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "stacflask"},
        {"aud": ["portal", "other"]},
        {"aud": ["portal", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": int(time.time()) - 3600},
        {"iss": "https://evil.example.org"},
        {"sub": None},
    ],
)
def test_a_wrong_id_token_lets_nobody_in(browser: Any, web: rm.Mocker, claims: Any) -> None:
    """An ID token for another login, client or time, or of another issuer, opens no session."""
    back = log_in(browser, web, **claims)
    assert (back.status_code, "stacflask-session" in cookies(back)) == (403, False)
    assert browser.get("/whoami").json["anonymous"]


@pytest.mark.parametrize(
    "answer", [{"json": {"error": "invalid_grant"}, "status_code": 400}, {"json": {}}, {"json": {"id_token": "a.b.c"}}]
)
def test_a_provider_that_declines_lets_nobody_in(browser: Any, web: rm.Mocker, answer: Any) -> None:
    """If the code is not good, or no ID token comes for it, there is no session."""
    told = leave(browser)
    web.post(f"{ISSUER}/token", **answer)
    assert browser.get("/login/callback", query_string={"code": "c", "state": told["state"]}).status_code == 403


def test_a_provider_that_is_away_is_told(browser: Any, web: rm.Mocker) -> None:
    """While the provider is away, logging in is 503, and who is logged in goes on."""
    log_in(browser, web)
    told = leave(browser)
    web.post(f"{ISSUER}/token", exc=requests.ConnectionError)
    assert browser.get("/login/callback", query_string={"code": "c", "state": told["state"]}).status_code == 503
    assert browser.get("/whoami").json["id"] == "eo:jane"


def test_a_provider_that_is_away_is_left_alone(browser: Any, logins: Logins, web: rm.Mocker) -> None:
    """However many want to log in, a provider that failed is not asked again for some seconds."""
    logins.ways["eo"].web.clock = lambda: 1.0
    web.get(f"{ISSUER}/.well-known/openid-configuration", exc=requests.ConnectTimeout)
    for _ in range(10):
        answer = browser.get("/login")
        assert (answer.status_code, answer.json["code"]) == (503, "IdentityProviderUnavailable")
    assert web.call_count == 1


def test_a_slow_provider_holds_few_threads(build: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    """While few logins wait for the provider, further ones are told to come again, so that all else is answered."""
    monkeypatch.setattr(http, "WAIT", 0.0)
    go_on, asked = threading.Event(), threading.Semaphore(0)

    def slow(environ: Any, start: Any) -> list[bytes]:
        asked.release()
        go_on.wait(30)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"issuer": issuer, "authorization_endpoint": f"{issuer}/auth"}).encode()]

    server = make_server("127.0.0.1", 0, slow, threaded=True)
    issuer = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    app = build(plugin(issuer=issuer, timeout=30))
    with ThreadPoolExecutor(http.AT_ONCE) as threads:
        waiting = [threads.submit(app.test_client().get, "/login") for _ in range(http.AT_ONCE)]
        for _ in waiting:
            assert asked.acquire(timeout=30)
        assert app.test_client().get("/login").status_code == 503
        assert app.test_client().get("/collections").status_code == 200
        go_on.set()
        assert {future.result().status_code for future in waiting} == {303}
    assert app.test_client().get("/login").status_code == 303
    server.shutdown()
    server.server_close()


def test_what_the_provider_says_is_shown_as_text(browser: Any, web: rm.Mocker) -> None:
    """An error that came in the address is no part of the page's markup."""
    told = leave(browser)
    answer = browser.get("/login/callback", query_string={"state": told["state"], "error": "<script>alert(1)</script>"})
    assert answer.status_code == 403
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_an_answer_of_another_provider_is_refused(plug: Plug, web: rm.Mocker) -> None:
    """An answer that names another issuer is refused (RFC 9207), and one that names none where it should."""
    browser = plug(plugin())
    told = leave(browser)
    said = {"code": "c", "state": told["state"], "iss": "https://evil.example.org"}
    assert "another provider" in browser.get("/login/callback", query_string=said).text
    document = {**DOCUMENT, "authorization_response_iss_parameter_supported": True}
    web.get(f"{ISSUER}/.well-known/openid-configuration", json=document)
    strict = plug(plugin())
    told = leave(strict)
    said = {"code": "c", "state": told["state"]}
    assert "another provider" in strict.get("/login/callback", query_string=said).text


def test_claims_may_come_from_userinfo(plug: Plug, web: rm.Mocker) -> None:
    """Where the ID token is short the provider is asked for more; what it says of somebody else is refused."""
    web.get(f"{ISSUER}/me", json={"sub": "jane", "groups": ["curators"]})
    browser = plug(plugin({**LOGIN, "userinfo": True}))
    log_in(browser, web, groups=None)
    assert browser.get("/whoami").json["groups"] == ["curators"]
    (asked,) = [call for call in web.request_history if call.path == "/me"]
    assert asked.headers["Authorization"] == "Bearer opaque"
    web.get(f"{ISSUER}/me", json={"sub": "joe", "groups": ["curators"]})
    assert log_in(plug(plugin({**LOGIN, "userinfo": True})), web).status_code == 403


def test_clients_without_basic_send_a_form(plug: Plug, web: rm.Mocker) -> None:
    """A client without a secret, or at a provider that does not know Basic, says who it is in the form."""
    log_in(plug(plugin({"client_id": "portal"})), web)
    (asked,) = [call for call in web.request_history if call.path == "/token"]
    assert "client_id=portal" in asked.text
    assert "Authorization" not in asked.headers
    document = {**DOCUMENT, "token_endpoint_auth_methods_supported": ["client_secret_post"]}
    web.get(f"{ISSUER}/.well-known/openid-configuration", json=document)
    log_in(plug(plugin()), web)
    assert "client_secret=hush" in [call for call in web.request_history if call.path == "/token"][-1].text


# --- A session -------------------------------------------------------------------------------------------------------


def test_a_cookie_changes_nothing_for_other_sites(browser: Any, web: rm.Mocker, publish: Publish) -> None:
    """A change by cookie must come from a page of ours, as the browser tells; a program with a cookie is none."""
    log_in(browser, web)
    refused: list[dict[str, str]] = [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "https://evil.example.org"},
        {"Origin": "http://localhost.evil.example.org"},
        {"Origin": "null"},
    ]
    document = a_collection("mine")
    for headers in refused:
        answer = browser.post("/collections", json=document, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (403, "CrossSite"), headers
        for method in ("put", "patch", "delete"):
            assert getattr(browser, method)("/collections/mine", json=document, headers=headers).status_code == 403
    assert browser.get("/collections/mine").status_code == 404
    assert browser.post("/collections", json=document, headers=OURS).status_code == 201
    assert browser.delete("/collections/mine", headers={"Origin": "http://localhost"}).status_code == 204


def test_no_route_takes_what_another_site_sends(build: Callable[..., Flask], web: rm.Mocker) -> None:
    """Every route there is, walked and not listed: with a cookie, what another site sends is refused."""
    app = build(plugin(), MembersWrite())
    browser = app.test_client()
    log_in(browser, web)
    adapter = app.url_map.bind("localhost")
    walked = 0
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            path = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "x"), method=method)
            answer = browser.open(path, method=method, json={}, headers={"Sec-Fetch-Site": "cross-site"})
            # A body that is none at all may be refused before anybody asks whose it is.
            assert answer.json["code"] in ("CrossSite", "InvalidDocument"), (method, path)
            assert answer.status_code in (400, 403)
            walked += 1
    assert walked > 8


def test_a_key_comes_before_a_cookie(browser: Any, web: rm.Mocker) -> None:
    """Whoever sends a credential beside the cookie is judged by it: a wrong one is refused."""
    log_in(browser, web)
    assert browser.get("/whoami", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_link_comes_before_a_cookie(build: Callable[..., Flask], web: rm.Mocker, publish: Publish) -> None:
    """Who is logged in may open what another gave her, whichever plugin is named first; a wrong link stays wrong."""
    publish(an_item())
    made = links.create_plugin({"STACFLASK_LINKS_KEYS": f"test:{'x' * 32}"})
    app = build(plugin(scopes=["read", "download"]), made, MembersDownload(), Shelf())
    jane, joe = app.test_client(), app.test_client()
    download = "/collections/collection/items/item/download/data"
    log_in(jane, web)
    link = jane.post("/links", json={"href": download}, headers=OURS).json["href"]
    log_in(joe, web, sub="joe", groups=[])
    assert joe.get(download).status_code == 403
    assert joe.get(link).status_code == 307
    wrong = jane.get(f"{download}?link=wrong")
    assert (wrong.status_code, wrong.json["code"]) == (401, "InvalidLink")


def test_logging_out(browser: Any, web: rm.Mocker) -> None:
    """Who logs out is nobody again, here and there; the old cookie opens nothing; no other site can do it for her."""
    log_in(browser, web)
    secret = browser.get_cookie("stacflask-session").value
    assert browser.get("/logout", headers=OURS).status_code == 405
    assert browser.post("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.get("/whoami").json["id"] == "eo:jane"
    out = browser.post("/logout", headers=OURS)
    assert out.status_code == 303
    there = urlsplit(out.headers["Location"])
    assert f"{there.scheme}://{there.netloc}{there.path}" == f"{ISSUER}/end"
    told = parse_qs(there.query)
    assert told["post_logout_redirect_uri"] == ["http://localhost/api.html"]
    assert jwt.decode(told["id_token_hint"][0], options={"verify_signature": False})["sub"] == "jane"
    assert browser.get("/whoami").json["anonymous"]
    browser.set_cookie("stacflask-session", secret)
    answer = browser.get("/whoami")
    assert (answer.status_code, "log in again" in answer.json["description"]) == (401, True)
    assert browser.get("/login").status_code == 303


def test_logging_out_where_the_provider_has_no_say(plug: Plug, web: rm.Mocker) -> None:
    """A provider without an end of sessions, or one that is away, keeps nobody from logging out here."""
    web.get(
        f"{ISSUER}/.well-known/openid-configuration",
        json={k: v for k, v in DOCUMENT.items() if k != "end_session_endpoint"},
    )
    browser = plug(plugin())
    log_in(browser, web)
    for _ in range(2):
        out = browser.post("/logout", headers=OURS)
        assert (out.status_code, out.headers["Location"]) == (303, "http://localhost/api.html")


def test_a_new_login_ends_the_old_session(browser: Any, web: rm.Mocker, logins: Logins) -> None:
    """One browser has one session, with a name that nobody could know before."""
    log_in(browser, web)
    first = browser.get_cookie("stacflask-session").value
    log_in(browser, web)
    assert browser.get_cookie("stacflask-session").value != first
    assert len(logins.sessions.all()) == 1


def test_sessions_end(browser: Any, web: rm.Mocker, storage: Any) -> None:
    """When its time is over, a session opens nothing."""
    log_in(browser, web)
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_login_sessions SET expires = now() - interval '1 second'")
    assert browser.get("/collections").status_code == 401


def test_the_operator_sees_and_ends_sessions(browser: Any, web: rm.Mocker, logins: Logins) -> None:
    """The commands list who is logged in, and end it."""
    log_in(browser, web)
    (group,) = logins.extend_cli()
    listed = CliRunner().invoke(group, ["list"]).output
    assert "eo:jane" in listed
    assert "members" in listed
    assert CliRunner().invoke(group, ["end", "eo:jane"]).exit_code == 0
    assert CliRunner().invoke(group, ["end", "eo:jane"]).exit_code == 1
    assert browser.get("/whoami").status_code == 401


def test_the_database_holds_no_cookie(browser: Any, web: rm.Mocker, storage: Any) -> None:
    """Whoever reads the table can open no session with what is there."""
    log_in(browser, web)
    secret = browser.get_cookie("stacflask-session").value
    assert secret not in str(storage.rows("SELECT * FROM plugin_login_sessions"))


def test_links_last_as_long_as_the_session(browser: Any, web: rm.Mocker, logins: Logins) -> None:
    """Who made a link in a session is known until it ends."""
    log_in(browser, web)
    name = Principal("x", scheme="session", reference=logins_name(browser))
    gate = Gate(manage({"login": logins}))
    then = datetime.now(UTC) - timedelta(minutes=1)
    now = gate.refresh_principal(name, then)
    assert now is not None
    assert (now.id, now.groups) == ("eo:jane", frozenset({"members"}))
    browser.post("/logout", headers=OURS)
    with pytest.raises(BadCredentials):
        gate.refresh_principal(name, then)


def logins_name(browser: Any) -> str:
    import hashlib

    return hashlib.sha256(browser.get_cookie("stacflask-session").value.encode()).hexdigest()


def test_answers_depend_on_the_cookie(browser: Any, web: rm.Mocker) -> None:
    """No cache may hand one's answer to another, and the description tells of the cookie."""
    assert "Cookie" in browser.get("/collections").vary
    assert browser.get("/api").json["components"]["securitySchemes"]["session"]["in"] == "cookie"


def test_the_description_is_valid(browser: Any, web: rm.Mocker) -> None:
    """What the plugin adds is described as OpenAPI asks, redirects and pages too."""
    import schemathesis

    description = browser.get("/api").json
    schemathesis.openapi.from_dict(description).validate()
    answers = description["paths"]["/login/callback"]["get"]["responses"]
    assert answers.keys() >= {"303", "400", "403"}
    assert "text/html" in answers["403"]["content"]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: plugin(environ={"STACFLASK_LOGIN_LIFETIME": "soon"}), "STACFLASK_LOGIN_LIFETIME"),
        (lambda: plugin(environ={"STACFLASK_LOGIN_LIFETIME": "1s"}), "STACFLASK_LOGIN_LIFETIME"),
        (lambda: plugin(environ={"STACFLASK_LOGIN_LIFETIME": "60d"}), "STACFLASK_LOGIN_LIFETIME"),
        (lambda: plugin(environ={"STACFLASK_LOGIN_CACHE": "x"}), "STACFLASK_LOGIN_CACHE"),
        (lambda: plugin(login=None), "nobody could log in"),
    ],
)
def test_a_wrong_setting_is_named(make: Callable[[], Logins], complaint: str) -> None:
    """What is wrong stops the start."""
    with pytest.raises(SettingError, match=complaint):
        make()
