"""The login by browser, at a mocked provider."""

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
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class MembersWrite:
    """Allows all changes by members only."""

    @hookimpl
    def authorize_change(self, principal: Principal, change: Change) -> Decision | None:
        """Allow members."""
        return Decision.allow("member") if "members" in principal.groups else None


class MembersDownload:
    """Allows all downloads by members only."""

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        """Allow members."""
        return Decision.allow("member") if "members" in principal.groups else None


def plugin(login: Any = LOGIN, environ: Any = None, **members: Any) -> Logins:
    values = {"issuer": ISSUER, "audience": "stacflask", "login": login, "scopes": ["read", "write"], **members}
    return create_plugin(
        {"STACFLASK_OIDC_ISSUERS": json.dumps({"eo": values}), "STACFLASK_LOGIN_CACHE": "0", **(environ or {})}
    )


@pytest.fixture
def web() -> Iterator[rm.Mocker]:
    """Return a mock of the provider's HTTP responses."""
    with rm.Mocker() as mocker:
        mocker.get(f"{ISSUER}/.well-known/openid-configuration", json=DOCUMENT)
        mocker.get(f"{ISSUER}/keys", json={"keys": [JWK]})
        yield mocker


@pytest.fixture
def logins() -> Logins:
    return plugin()


@pytest.fixture
def browser(plug: Plug, logins: Logins) -> Any:
    """Return a client of a server with the plugin; it keeps cookies as a browser does."""
    return plug(logins, MembersWrite())


def start_login(browser: Any, path: str = "/login") -> dict[str, str]:
    """Start a login, and return the query that the provider gets."""
    response = browser.get(path)
    assert response.status_code == 303, response.text
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}


def id_token(nonce: str, /, **claims: Any) -> str:
    now = int(time.time())
    values = {"iss": ISSUER, "aud": "portal", "sub": "jane", "nonce": nonce, "groups": ["members"], "iat": now}
    values |= {"exp": now + 300, **claims}
    return jwt.encode({k: v for k, v in values.items() if v is not None}, KEY, "RS256", {"kid": "k"})


def log_in(browser: Any, web: rm.Mocker, path: str = "/login", **claims: Any) -> Any:
    query = start_login(browser, path)
    web.post(f"{ISSUER}/token", json={"id_token": id_token(query["nonce"], **claims), "access_token": "opaque"})
    return browser.get("/login/callback", query_string={"code": "c0de", "state": query["state"]})


def cookies(response: Any) -> dict[str, set[str]]:
    """Return the attributes of the cookies that a response sets, by name."""
    parts = [cookie.split("; ") for cookie in response.headers.getlist("Set-Cookie")]
    return {first.partition("=")[0]: set(rest) for first, *rest in parts}


# --- Login -----------------------------------------------------------------------------------------------------------


def test_the_authorization_request(browser: Any, web: rm.Mocker) -> None:
    """The request has client, redirect URI and code challenge; the browser gets a cookie that finishes the login."""
    query = start_login(browser)
    assert query.keys() == {
        *("tenant", "response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
    assert (query["response_type"], query["client_id"]) == ("code", "portal")
    assert query["redirect_uri"] == "http://localhost/login/callback"
    assert query["code_challenge_method"] == "S256"
    again = start_login(browser)
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name]) >= 43
        assert query[name] != again[name]


def test_the_callback_opens_a_session(browser: Any, web: rm.Mocker) -> None:
    """After the callback the browser has a session, and is redirected to the requested path."""
    back = log_in(browser, web, "/login?next=/api.html%23/search")
    assert (back.status_code, back.headers["Location"]) == (303, "http://localhost/api.html#/search")
    who = browser.get("/whoami").json
    assert (who["id"], who["groups"], who["scheme"]) == ("eo:jane", ["members"], "session")
    assert who["scopes"] == ["read", "write"]
    assert who["login"] == [{"title": "Example ID", "href": "http://localhost/login?provider=eo"}]
    (request,) = [call for call in web.request_history if call.path == "/token"]
    form = parse_qs(request.text)
    assert (form["grant_type"], form["code"]) == (["authorization_code"], ["c0de"])
    assert len(form["code_verifier"][0]) >= 43
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"portal:hush").decode()


def test_without_a_session_users_are_anonymous(browser: Any, web: rm.Mocker) -> None:
    """Without a session, `/whoami` returns an anonymous principal and the URLs of the logins."""
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
def test_cookies_are_limited_to_this_api(
    plug: Plug, web: rm.Mocker, public_url: str, name: str, attributes: set[str]
) -> None:
    """Cookies need https and the path of this API; scripts cannot read them, and other sites cannot set them."""
    browser: Any = plug(plugin(), environ={"STACFLASK_PUBLIC_URL": public_url})
    response = browser.get("/login", base_url=public_url)
    assert attributes < cookies(response)[f"{name}-login"]
    query = {k: v[0] for k, v in parse_qs(urlsplit(response.headers["Location"]).query).items()}
    assert query["redirect_uri"] == f"{public_url}/login/callback"
    web.post(f"{ISSUER}/token", json={"id_token": id_token(query["nonce"])})
    back = browser.get(f"/login/callback?code=c&state={query['state']}", base_url=public_url)
    assert attributes | {"Max-Age=43200"} <= cookies(back)[f"{name}-session"]
    assert "Max-Age=0" in cookies(back)[f"{name}-login"]
    assert ("Secure" in cookies(back)[f"{name}-session"]) == public_url.startswith("https")


def test_nobody_logs_in_without_https(plug: Plug, web: rm.Mocker) -> None:
    """With http over a network there is no login, and cookies are ignored."""
    client: Any = plug(plugin(), environ={"STACFLASK_PUBLIC_URL": "http://stac.example.org"})
    response = client.get("/login")
    assert (response.status_code, "needs https" in response.json["description"]) == (400, True)
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
def test_the_login_redirects_to_this_api_only(browser: Any, web: rm.Mocker, target: str) -> None:
    """After the login a browser is redirected only to a path of this API."""
    assert browser.get("/login", query_string={"next": target}).status_code == 400


def test_the_path_in_the_cookie_is_checked(browser: Any, web: rm.Mocker) -> None:
    """A forged cookie does not redirect a browser to another site."""
    from plugins.login.flow import LoginAttempt

    attempt = LoginAttempt("eo", "https://evil.example.org")
    web.post(f"{ISSUER}/token", json={"id_token": id_token(attempt.nonce)})
    browser.set_cookie("stacflask-login", attempt.to_cookie())
    back = browser.get("/login/callback", query_string={"code": "c", "state": attempt.state})
    assert (back.status_code, "Location" in back.headers) == (400, False)


def test_a_provider_is_chosen_by_name(browser: Any, web: rm.Mocker) -> None:
    """The query can name a provider; an unknown name returns 404."""
    assert start_login(browser, "/login?provider=eo")["client_id"] == "portal"
    assert browser.get("/login?provider=nosuch").status_code == 404


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_only_the_browser_that_started_a_login_finishes_it(browser: Any, web: rm.Mocker, plug: Plug) -> None:
    """Without the cookie of this login, or with another state, no token is requested and no session opened."""
    query = start_login(browser)
    web.post(f"{ISSUER}/token", json={"id_token": id_token(query["nonce"])})
    other = plug(plugin())
    for client, state in ((browser, "x"), (browser, ""), (browser, "ü"), (other, query["state"])):
        response = client.get("/login/callback", query_string={"code": "c", "state": state})
        assert (response.status_code, response.content_type) == (400, "text/html; charset=utf-8")
        assert "started in another browser" in response.text
    half = base64.b64encode(b'{"provider":"eo","next":"/","state":"\\ud800","nonce":"n","verifier":"v"}').decode()
    for malformed in ("x", "e30", "W10", base64.b64encode(b"[" * 3000).decode(), half):
        other.set_cookie("stacflask-login", malformed)
        assert other.get("/login/callback?code=c&state=x").status_code == 400
    assert not any(call.path == "/token" for call in web.request_history)


def test_a_callback_is_valid_once(browser: Any, web: rm.Mocker) -> None:
    """The cookie of a login is deleted after it, so that the same callback is refused."""
    query = start_login(browser)
    web.post(f"{ISSUER}/token", json={"id_token": id_token(query["nonce"])})
    response = {"code": "c0de", "state": query["state"]}
    assert browser.get("/login/callback", query_string=response).status_code == 303
    assert browser.get("/login/callback", query_string=response).status_code == 400


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
def test_a_wrong_id_token_opens_no_session(browser: Any, web: rm.Mocker, claims: Any) -> None:
    """An ID token for another login, client or time, or of another issuer, opens no session."""
    back = log_in(browser, web, **claims)
    assert (back.status_code, "stacflask-session" in cookies(back)) == (403, False)
    assert browser.get("/whoami").json["anonymous"]


@pytest.mark.parametrize(
    "response",
    [{"json": {"error": "invalid_grant"}, "status_code": 400}, {"json": {}}, {"json": {"id_token": "a.b.c"}}],
)
def test_a_declined_code_opens_no_session(browser: Any, web: rm.Mocker, response: Any) -> None:
    """If the provider declines the code, or returns no ID token, there is no session."""
    query = start_login(browser)
    web.post(f"{ISSUER}/token", **response)
    assert browser.get("/login/callback", query_string={"code": "c", "state": query["state"]}).status_code == 403


def test_the_login_returns_503_during_an_outage(browser: Any, web: rm.Mocker) -> None:
    """During an outage of the provider the login returns 503; existing sessions work."""
    log_in(browser, web)
    query = start_login(browser)
    web.post(f"{ISSUER}/token", exc=requests.ConnectionError)
    assert browser.get("/login/callback", query_string={"code": "c", "state": query["state"]}).status_code == 503
    assert browser.get("/whoami").json["id"] == "eo:jane"


def test_a_failed_provider_is_not_called_for_a_while(browser: Any, logins: Logins, web: rm.Mocker) -> None:
    """After a failure the provider is not called for some seconds, however many logins there are."""
    logins.providers["eo"].web.clock = lambda: 1.0
    web.get(f"{ISSUER}/.well-known/openid-configuration", exc=requests.ConnectTimeout)
    for _ in range(10):
        response = browser.get("/login")
        assert (response.status_code, response.json["code"]) == (503, "IdentityProviderUnavailable")
    assert web.call_count == 1


def test_a_slow_provider_occupies_few_threads(build: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    """While some logins wait for the provider, further ones return 503, and other requests are answered."""
    monkeypatch.setattr(http, "MAX_WAIT_SECONDS", 0.0)
    proceed, requested = threading.Event(), threading.Semaphore(0)

    def slow(environ: Any, start: Any) -> list[bytes]:
        requested.release()
        proceed.wait(30)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"issuer": issuer, "authorization_endpoint": f"{issuer}/auth"}).encode()]

    server = make_server("127.0.0.1", 0, slow, threaded=True)
    issuer = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    app = build(plugin(issuer=issuer, timeout=30))
    with ThreadPoolExecutor(http.MAX_CONCURRENT_REQUESTS) as threads:
        waiting = [threads.submit(app.test_client().get, "/login") for _ in range(http.MAX_CONCURRENT_REQUESTS)]
        for _ in waiting:
            assert requested.acquire(timeout=30)
        assert app.test_client().get("/login").status_code == 503
        assert app.test_client().get("/collections").status_code == 200
        proceed.set()
        assert {future.result().status_code for future in waiting} == {303}
    assert app.test_client().get("/login").status_code == 303
    server.shutdown()
    server.server_close()


def test_provider_errors_are_escaped(browser: Any, web: rm.Mocker) -> None:
    """An error in the URL is text on the page, not markup."""
    query = start_login(browser)
    response = browser.get(
        "/login/callback", query_string={"state": query["state"], "error": "<script>alert(1)</script>"}
    )
    assert response.status_code == 403
    assert "<script>" not in response.text
    assert "&lt;script&gt;" in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_response_of_another_provider_is_refused(plug: Plug, web: rm.Mocker) -> None:
    """A response with another issuer is refused (RFC 9207), and one without, if the provider sends it."""
    browser = plug(plugin())
    query = start_login(browser)
    values = {"code": "c", "state": query["state"], "iss": "https://evil.example.org"}
    assert "another provider" in browser.get("/login/callback", query_string=values).text
    document = {**DOCUMENT, "authorization_response_iss_parameter_supported": True}
    web.get(f"{ISSUER}/.well-known/openid-configuration", json=document)
    strict = plug(plugin())
    query = start_login(strict)
    values = {"code": "c", "state": query["state"]}
    assert "another provider" in strict.get("/login/callback", query_string=values).text


def test_claims_can_come_from_userinfo(plug: Plug, web: rm.Mocker) -> None:
    """The setting adds claims of the userinfo endpoint; claims of another subject are refused."""
    web.get(f"{ISSUER}/me", json={"sub": "jane", "groups": ["curators"]})
    browser = plug(plugin({**LOGIN, "userinfo": True}))
    log_in(browser, web, groups=None)
    assert browser.get("/whoami").json["groups"] == ["curators"]
    (request,) = [call for call in web.request_history if call.path == "/me"]
    assert request.headers["Authorization"] == "Bearer opaque"
    web.get(f"{ISSUER}/me", json={"sub": "joe", "groups": ["curators"]})
    assert log_in(plug(plugin({**LOGIN, "userinfo": True})), web).status_code == 403


def test_clients_without_basic_send_credentials_in_the_form(plug: Plug, web: rm.Mocker) -> None:
    """Without a secret, or if the provider does not support Basic, the form has the client id."""
    log_in(plug(plugin({"client_id": "portal"})), web)
    (request,) = [call for call in web.request_history if call.path == "/token"]
    assert "client_id=portal" in request.text
    assert "Authorization" not in request.headers
    document = {**DOCUMENT, "token_endpoint_auth_methods_supported": ["client_secret_post"]}
    web.get(f"{ISSUER}/.well-known/openid-configuration", json=document)
    log_in(plug(plugin()), web)
    assert "client_secret=hush" in [call for call in web.request_history if call.path == "/token"][-1].text


# --- A session -------------------------------------------------------------------------------------------------------


def test_other_sites_change_nothing_with_the_cookie(browser: Any, web: rm.Mocker, publish: Publish) -> None:
    """A change with a cookie must come from a page of this server, according to the browser's headers."""
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
        response = browser.post("/collections", json=document, headers=headers)
        assert (response.status_code, response.json["code"]) == (403, "CrossSite"), headers
        for method in ("put", "patch", "delete"):
            assert getattr(browser, method)("/collections/mine", json=document, headers=headers).status_code == 403
    assert browser.get("/collections/mine").status_code == 404
    assert browser.post("/collections", json=document, headers=SAME_ORIGIN).status_code == 201
    assert browser.delete("/collections/mine", headers={"Origin": "http://localhost"}).status_code == 204


def test_every_route_refuses_changes_of_other_sites(build: Callable[..., Flask], web: rm.Mocker) -> None:
    """Every route of the application refuses a change of another site with a cookie."""
    app = build(plugin(), MembersWrite())
    browser = app.test_client()
    log_in(browser, web)
    adapter = app.url_map.bind("localhost")
    walked = 0
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            path = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "x"), method=method)
            response = browser.open(path, method=method, json={}, headers={"Sec-Fetch-Site": "cross-site"})
            # A malformed body may be refused before the origin is checked.
            assert response.json["code"] in ("CrossSite", "InvalidDocument"), (method, path)
            assert response.status_code in (400, 403)
            walked += 1
    assert walked > 8


def test_a_key_has_priority_over_a_cookie(browser: Any, web: rm.Mocker) -> None:
    """A credential beside the cookie is used instead of it: a wrong one is refused."""
    log_in(browser, web)
    assert browser.get("/whoami", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_link_has_priority_over_a_cookie(build: Callable[..., Flask], web: rm.Mocker, publish: Publish) -> None:
    """A user with a session can open a link of another user, in any order of the plugins; a wrong link is refused."""
    publish(an_item())
    made = links.create_plugin({"STACFLASK_LINKS_KEYS": f"test:{'x' * 32}"})
    app = build(plugin(scopes=["read", "download"]), made, MembersDownload(), Shelf())
    jane, joe = app.test_client(), app.test_client()
    download = "/collections/collection/items/item/download/data"
    log_in(jane, web)
    link = jane.post("/links", json={"href": download}, headers=SAME_ORIGIN).json["href"]
    log_in(joe, web, sub="joe", groups=[])
    assert joe.get(download).status_code == 403
    assert joe.get(link).status_code == 307
    wrong = jane.get(f"{download}?link=wrong")
    assert (wrong.status_code, wrong.json["code"]) == (401, "InvalidLink")


def test_logging_out(browser: Any, web: rm.Mocker) -> None:
    """The logout ends the session here and at the provider; the old cookie is invalid; other sites cannot log out."""
    log_in(browser, web)
    secret = browser.get_cookie("stacflask-session").value
    assert browser.get("/logout", headers=SAME_ORIGIN).status_code == 405
    assert browser.post("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.get("/whoami").json["id"] == "eo:jane"
    out = browser.post("/logout", headers=SAME_ORIGIN)
    assert out.status_code == 303
    target = urlsplit(out.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == f"{ISSUER}/end"
    query = parse_qs(target.query)
    assert query["post_logout_redirect_uri"] == ["http://localhost/api.html"]
    assert jwt.decode(query["id_token_hint"][0], options={"verify_signature": False})["sub"] == "jane"
    assert browser.get("/whoami").json["anonymous"]
    browser.set_cookie("stacflask-session", secret)
    response = browser.get("/whoami")
    assert (response.status_code, "Log in again" in response.json["description"]) == (401, True)
    assert browser.get("/login").status_code == 303


def test_logging_out_without_the_provider(plug: Plug, web: rm.Mocker) -> None:
    """If the provider has no logout or is not available, users can log out here."""
    web.get(
        f"{ISSUER}/.well-known/openid-configuration",
        json={k: v for k, v in DOCUMENT.items() if k != "end_session_endpoint"},
    )
    browser = plug(plugin())
    log_in(browser, web)
    for _ in range(2):
        out = browser.post("/logout", headers=SAME_ORIGIN)
        assert (out.status_code, out.headers["Location"]) == (303, "http://localhost/api.html")


def test_a_new_login_ends_the_old_session(browser: Any, web: rm.Mocker, logins: Logins) -> None:
    """A browser has one session; each login creates a new secret."""
    log_in(browser, web)
    first = browser.get_cookie("stacflask-session").value
    log_in(browser, web)
    assert browser.get_cookie("stacflask-session").value != first
    assert len(logins.sessions.all()) == 1


def test_sessions_end(browser: Any, web: rm.Mocker, storage: Any) -> None:
    """An expired session is refused."""
    log_in(browser, web)
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_login_sessions SET expires = now() - interval '1 second'")
    assert browser.get("/collections").status_code == 401


def test_the_operator_lists_and_ends_sessions(browser: Any, web: rm.Mocker, logins: Logins) -> None:
    """The commands list open sessions and end those of a principal."""
    log_in(browser, web)
    (group,) = logins.extend_cli()
    listed = CliRunner().invoke(group, ["list"]).output
    assert "eo:jane" in listed
    assert "members" in listed
    assert CliRunner().invoke(group, ["end", "eo:jane"]).exit_code == 0
    assert CliRunner().invoke(group, ["end", "eo:jane"]).exit_code == 1
    assert browser.get("/whoami").status_code == 401


def test_the_database_has_no_cookie(browser: Any, web: rm.Mocker, storage: Any) -> None:
    """The table has hashes, with which no session can be used."""
    log_in(browser, web)
    secret = browser.get_cookie("stacflask-session").value
    assert secret not in str(storage.rows("SELECT * FROM plugin_login_sessions"))


def test_a_principal_is_refreshed_until_its_session_ends(browser: Any, web: rm.Mocker, logins: Logins) -> None:
    """The creator of a link in a session is refreshed until the session ends."""
    log_in(browser, web)
    name = Principal("x", scheme="session", reference=logins_name(browser))
    gate = Gate(manage({"login": logins}))
    then = datetime.now(UTC) - timedelta(minutes=1)
    now = gate.refresh_principal(name, then)
    assert now is not None
    assert (now.id, now.groups) == ("eo:jane", frozenset({"members"}))
    browser.post("/logout", headers=SAME_ORIGIN)
    with pytest.raises(BadCredentials):
        gate.refresh_principal(name, then)


def logins_name(browser: Any) -> str:
    import hashlib

    return hashlib.sha256(browser.get_cookie("stacflask-session").value.encode()).hexdigest()


def test_responses_vary_by_cookie(browser: Any, web: rm.Mocker) -> None:
    """Caches must not reuse responses for other users; the OpenAPI document has the cookie."""
    assert "Cookie" in browser.get("/collections").vary
    assert browser.get("/api").json["components"]["securitySchemes"]["session"]["in"] == "cookie"


def test_the_openapi_document_is_valid(browser: Any, web: rm.Mocker) -> None:
    """The endpoints of the plugin are valid OpenAPI, with redirects and pages."""
    import schemathesis

    description = browser.get("/api").json
    schemathesis.openapi.from_dict(description).validate()
    answers = description["paths"]["/login/callback"]["get"]["responses"]
    assert answers.keys() >= {"303", "400", "403"}
    assert "text/html" in answers["403"]["content"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plugin(environ={"STACFLASK_LOGIN_LIFETIME": "soon"}), "STACFLASK_LOGIN_LIFETIME"),
        (lambda: plugin(environ={"STACFLASK_LOGIN_LIFETIME": "1s"}), "STACFLASK_LOGIN_LIFETIME"),
        (lambda: plugin(environ={"STACFLASK_LOGIN_LIFETIME": "60d"}), "STACFLASK_LOGIN_LIFETIME"),
        (lambda: plugin(environ={"STACFLASK_LOGIN_CACHE": "x"}), "STACFLASK_LOGIN_CACHE"),
        (lambda: plugin(login=None), "with the member login"),
    ],
)
def test_a_wrong_setting_is_named(make: Callable[[], Logins], message: str) -> None:
    """A wrong value prevents the start, and the error names it."""
    with pytest.raises(SettingError, match=message):
        make()
