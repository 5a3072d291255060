"""The login at a real provider, by HTTP client and by browser."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from click.testing import CliRunner
from flask import Flask
from werkzeug.serving import make_server

from dev import openid
from dev.ports import free_port
from plugins import links, login, oidc
from plugins.api_keys import ApiKeys
from plugins.collection_groups import CollectionGroups
from plugins.licence import Licences
from stacflask import Location, Stream, hookimpl
from stacflask.testing import Publish, an_item
from tests.browser import CHROMIUM, browsing, fill_in
from tests.conftest import ROOT

KEY = "sfk_00000001_member-of-the-test"
DOWNLOAD = "/collections/radar/items/scene/download/data"


class FakeStore:
    """Delivers three bytes for every asset."""

    @hookimpl
    def resolve(self) -> Location:
        """Return a location."""
        return Location("test", "data")

    @hookimpl
    def deliver(self) -> Stream:
        """Return a stream."""
        return Stream(lambda first, length: iter([b"abc"[first : first + length]]), 3)


@dataclass
class Site:
    """A running server and its provider."""

    url: str
    issuer: str


@pytest.fixture
def site(build: Callable[..., Flask], publish: Publish) -> Iterator[Site]:
    """Serve a catalogue to members at the provider, and to principals with keys."""
    publish(an_item("scene", "radar"), an_item("scene", "optical"))
    port, own = free_port(), free_port()
    issuer, url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own}"
    client = {"client_id": "portal", "client_secret": "portal-secret", "title": "Tests' ID"}
    settings = {"eo": {"issuer": issuer, "audience": "stacflask", "login": client}}
    environ = {"STACFLASK_OIDC_ISSUERS": json.dumps(settings)}
    keys, groups = ApiKeys(0), CollectionGroups(cache=0)
    environ |= {"STACFLASK_LINKS_KEYS": f"test:{'x' * 32}", "STACFLASK_LOGIN_CACHE": "0"}
    plugins = [module.create_plugin(environ) for module in (links, oidc, login)]
    licences = Licences(cache=0, login="/login")
    app = build(keys, *plugins, groups, licences, FakeStore())
    made = CliRunner().invoke(keys.extend_cli()[0], ["create", "kim", "--group", "members", "--key", KEY])
    assert made.exit_code == 0
    for collection, action in (("radar", "see"), ("radar", "download"), ("optical", "see"), ("optical", "download")):
        groups.table.grant(collection, action, ["members"])
    licences.table.add(id="research", version="1.0", title="Research", text="Not for <b>sale</b>.", url=None)
    licences.table.require("optical", "research")
    server = make_server("127.0.0.1", own, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        with openid.running(
            ROOT / ".run", port, openid.made_keys("k"), redirect=f"{url}/login/callback", home=f"{url}/api.html"
        ):
            yield Site(url, issuer)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def submit(session: requests.Session, page: requests.Response, **fields: str) -> requests.Response:
    """Send the form of a page with these values, as a browser does."""
    action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
    assert action, page.text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    form = {**{name: unescape(value) for name, value in hidden}, **fields}
    return session.post(urljoin(page.url, unescape(action[1])), data=form, timeout=60)


def test_a_user_logs_in_downloads_and_logs_out(site: Site) -> None:
    """At a certified provider: log in, download as a member, and log out here and at the provider."""
    session = requests.Session()
    assert session.get(site.url + DOWNLOAD, timeout=60).status_code == 404
    page = session.get(f"{site.url}/login?next=/whoami", timeout=60)
    assert page.url.startswith(site.issuer)
    page = submit(session, page, login="jane", password="x")
    who = submit(session, page)
    assert who.url == f"{site.url}/whoami"
    assert (who.json()["id"], who.json()["groups"]) == ("eo:jane", ["members"])
    assert session.get(site.url + DOWNLOAD, timeout=60).content == b"abc"
    out = session.post(f"{site.url}/logout", headers={"Origin": site.url}, timeout=60)
    assert out.url.startswith(site.issuer)
    back = submit(session, out, logout="yes")
    assert back.url == f"{site.url}/api.html"
    assert session.get(f"{site.url}/whoami", timeout=60).json()["anonymous"]
    assert session.get(site.url + DOWNLOAD, timeout=60).status_code == 404


def test_keys_tokens_links_and_sessions_side_by_side(site: Site) -> None:
    """Each credential is authenticated by its own plugin; a wrong one is refused without trying the next."""

    def get(path: str = DOWNLOAD, **more: Any) -> requests.Response:
        return requests.get(urljoin(site.url, path), timeout=60, **more)

    def bearer(token: str) -> dict[str, Any]:
        return {"headers": {"Authorization": f"Bearer {token}"}}

    session = requests.Session()
    page = submit(session, session.get(f"{site.url}/login?next=/whoami", timeout=60), login="jane", password="x")
    assert submit(session, page).json()["scheme"] == "session"
    link_request: Any = {"json": {"href": site.url + DOWNLOAD}, "headers": {"Origin": site.url}}
    link = session.post(f"{site.url}/links", timeout=60, **link_request).json()["href"]
    form = {"grant_type": "client_credentials", "resource": "urn:eo:RS256", "scope": "read download"}
    token = requests.post(f"{site.issuer}/token", data=form, auth=("robot", "robot-secret"), timeout=60).json()
    assert get("/whoami", **bearer(KEY)).json()["scheme"] == "api_key"
    assert get("/whoami", **bearer(token["access_token"])).json()["id"] == "eo:robot"
    assert get(**bearer(KEY)).content == b"abc"
    assert get(**bearer(token["access_token"])).status_code == 404  # not a member
    assert get(link).content == b"abc"
    cookies: Any = {"cookies": session.cookies.get_dict()}
    assert get(**cookies).content == b"abc"
    for wrong in (f"{KEY}x", f"{token['access_token']}x", "opaque-and-unknown"):
        refused = get(**bearer(wrong), **cookies)
        assert (refused.status_code, refused.json()["code"]) == (401, "InvalidCredentials")
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    session.post(f"{site.url}/logout", headers={"Origin": site.url}, timeout=60)
    assert get(link).status_code in (401, 403)


def test_a_user_without_groups_gets_nothing(site: Site) -> None:
    """Authentication alone grants nothing."""
    session = requests.Session()
    page = submit(session, session.get(f"{site.url}/login?next=/whoami", timeout=60), login="joe", password="x")
    assert submit(session, page).json()["id"] == "eo:joe"
    assert session.get(site.url + DOWNLOAD, timeout=60).status_code == 404


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_real_browser_logs_in(site: Site, tmp_path: Path) -> None:
    """On the page of the API: log in, try an operation, download, and log out."""
    with browsing(tmp_path) as browser:
        browser.go(f"{site.url}/api.html")
        browser.until("document.querySelector('#who a')")
        assert "Tests' ID" in browser.run("document.querySelector('#who a').textContent")
        browser.run("document.querySelector('#who a').click()")
        fill_in(browser, "jane")
        assert browser.run("location.href") == f"{site.url}/api.html"
        assert browser.run("document.querySelector('#who-name').textContent").strip() == "You are eo:jane (members)"
        assert not browser.run("document.cookie.includes('session')")
        assert _whoami_id(browser) == "eo:jane"
        assert browser.run(f"fetch('{DOWNLOAD}').then(answer => answer.text())") == "abc"
        browser.run("document.querySelector('#log-out').click()")
        browser.until("document.querySelector('button[name=logout]')")
        browser.run("document.querySelector('button[name=logout]').click()")
        browser.until("document.querySelector('#who a')")
        assert browser.run(f"fetch('{DOWNLOAD}').then(answer => answer.status)") == 404


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_real_browser_accepts_a_licence(site: Site, tmp_path: Path) -> None:
    """On the page of a licence: log in, read, accept, and download."""
    download = DOWNLOAD.replace("radar", "optical")
    with browsing(tmp_path) as browser:
        browser.go(f"{site.url}/licences/research")
        browser.until("document.querySelector('#login')")
        assert browser.run("getComputedStyle(document.querySelector('pre')).whiteSpace") == "pre-wrap"
        assert browser.complaints == []  # such as violations of the page's policy
        browser.run("document.querySelector('#login').click()")
        fill_in(browser, "jane", "form[action$=acceptance]")
        browser.go(f"{site.url}{download}")
        browser.until("document.body.innerText.includes('LicenceNotAccepted')")
        browser.go(f"{site.url}/licences/research")
        browser.until("document.querySelector('form[action$=acceptance]')")
        assert browser.run("location.href") == f"{site.url}/licences/research"
        assert "You are logged in as eo:jane." in browser.run("document.body.innerText")
        assert browser.run("document.querySelector('pre').textContent") == "Not for <b>sale</b>."
        browser.run("document.querySelector('button').click()")
        browser.until("document.querySelector('#accepted')")
        assert browser.run("location.href") == f"{site.url}/licences/research"
        browser.go(f"{site.url}/api.html")  # the policy of the licence page allows no fetch
        browser.until("document.querySelector('#who-name')")
        assert browser.run(f"fetch('{download}').then(answer => answer.text())") == "abc"


def _whoami_id(browser: Any) -> str:
    """Press "Try it out" and "Execute" of /whoami, and return the id in the response."""
    place = "document.querySelector('#operations-plugins-get_whoami')"
    browser.until(place)
    browser.run(f"{place}.querySelector('.opblock-summary-control').click()")
    browser.until(f"{place}.querySelector('.try-out__btn')")
    browser.run(f"{place}.querySelector('.try-out__btn').click()")
    browser.until(f"{place}.querySelector('.execute')")
    browser.run(f"{place}.querySelector('.execute').click()")
    shown = browser.until(
        f"({place}.querySelector('.live-responses-table .response-col_description code') || {{}}).textContent"
    )
    return str(json.loads(shown)["id"])
