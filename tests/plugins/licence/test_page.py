"""The page of a licence: read and accepted in a browser, but not by a form of another site."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from plugins._common.pages import prefers_page
from plugins.api_keys import ApiKeys
from plugins.licence import Licences, create_plugin
from stacflask import Request, SettingError

KEY = "sfk_00000001_member-of-the-test"
LICENCE = "/licences/research"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"kim:{KEY}".encode()).decode()}
OWN, FOREIGN = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}
TEXT = 'For <script>alert("you")</script> & research.\n\nNot for sale.'

Client = Any


@pytest.fixture
def client(build: Callable[..., Flask], tmp_path: Any) -> Client:
    """Return a client of an API with one licence and a key for kim."""
    keys, licences = ApiKeys(0), Licences(cache=0, login="/login")
    client = build(keys, licences).test_client()
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    add = ["add", "research", "1.0", "--title", "Research <only>", "--text-file", str(tmp_path / "text")]
    add += ["--url", "https://example.org/?a=1&b='2'"]
    for plugin, arguments in ((keys, ["create", "kim", "--key", KEY]), (licences, add)):
        assert CliRunner().invoke(plugin.extend_cli()[0], arguments).exit_code == 0
    return client


def accept(client: Client, headers: dict[str, str], version: str = "1.0") -> Any:
    """Send the form of the page."""
    return client.post(f"{LICENCE}/acceptance", data={"version": version}, headers=headers)


def test_browsers_get_a_page_and_programs_json(client: Client) -> None:
    """One URL returns HTML or JSON by the Accept header, with Vary; the page must not be cached."""
    page = client.get(LICENCE, headers=BROWSER)
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    assert page.headers["Cache-Control"] == "no-store"
    program = client.get(LICENCE)
    assert (program.content_type, program.json["text"]) == ("application/json", TEXT)
    assert "Accept" in page.headers["Vary"]
    assert "Accept" in program.headers["Vary"]


def test_values_on_the_page_are_escaped(client: Client) -> None:
    """Title, text and URL are escaped, and the policy allows no script."""
    page = client.get(LICENCE, headers=BROWSER)
    assert "<h1>Research &lt;only&gt;</h1>" in page.text
    assert "For &lt;script&gt;alert(&quot;you&quot;)&lt;/script&gt; &amp; research." in page.text
    assert 'href="https://example.org/?a=1&amp;b=&#x27;2&#x27;"' in page.text
    assert "<script" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))


def test_anonymous_users_get_a_login_link_and_a_basic_challenge(client: Client) -> None:
    """The page has a link to the login; the form without credentials returns a Basic challenge."""
    assert 'href="http://localhost/login?next=/licences/research"' in client.get(LICENCE, headers=BROWSER).text
    response = accept(client, OWN)
    assert response.status_code == 401
    assert any(challenge.startswith("Basic ") for challenge in response.headers.getlist("WWW-Authenticate"))


def test_without_a_login_the_page_names_keys_only(build: Callable[..., Flask], tmp_path: Any) -> None:
    """If there is no login, the page has no link to it."""
    licences = Licences(cache=0)
    client = build(licences).test_client()
    add = ["add", "research", "1.0", "--title", "Research", "--url", "https://example.org/"]
    assert CliRunner().invoke(licences.extend_cli()[0], add).exit_code == 0
    assert "<p>To accept it, have your API key ready" in client.get(LICENCE, headers=BROWSER).text


def test_the_form_accepts(client: Client) -> None:
    """The form with a key as the password redirects to the page, which shows the time of the acceptance."""
    page = client.get(LICENCE, headers={**BROWSER, **BASIC})
    assert "You are logged in as kim." in page.text
    assert f'action="http://localhost{LICENCE}/acceptance"' in page.text
    assert 'name="version" value="1.0"' in page.text
    sent = accept(client, {**OWN, **BASIC})
    assert (sent.status_code, sent.headers["Location"]) == (303, f"http://localhost{LICENCE}")
    page = client.get(LICENCE, headers={**BROWSER, **BASIC})
    assert "You accepted it at 20" in page.text
    assert "<form" not in page.text


def test_an_older_version_is_not_accepted(client: Client) -> None:
    """If a newer version was added after the page was read, nothing is accepted and the newer one is shown."""
    response = accept(client, {**OWN, **BASIC}, "0.9")
    assert (response.status_code, response.content_type) == (409, "text/html; charset=utf-8")
    assert "There is a newer version" in response.text
    assert 'name="version" value="1.0"' in response.text
    assert client.get(LICENCE, headers=BASIC).json["accepted"] is None


@pytest.mark.parametrize("origin", [FOREIGN, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {}])
def test_another_sites_form_accepts_nothing(client: Client, origin: dict[str, str]) -> None:
    """A browser sends a stored key with any site's form, so the form must come from a page of this server."""
    refused = accept(client, {**origin, **BASIC})
    assert (refused.status_code, refused.json["code"]) == (403, "CrossSite")
    assert client.get(LICENCE, headers=BASIC).json["accepted"] is None


def test_another_sites_script_accepts_nothing_with_a_stored_key(client: Client) -> None:
    """A script of another site cannot use a key that the browser stored; programs and scripts with a key can."""
    send = {"json": {"version": "1.0"}}
    assert client.post(f"{LICENCE}/acceptance", headers={**FOREIGN, **BASIC}, **send).status_code == 403
    assert client.post(f"{LICENCE}/acceptance", headers=BASIC, **send).status_code == 200
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert client.post(f"{LICENCE}/acceptance", headers={**FOREIGN, **bearer}, **send).status_code == 200


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER["Accept"], True),
        ("text/html", True),
        ("TEXT/HTML; q=0.5", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json;q=0.9", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
    ],
)
def test_a_page_needs_html_in_accept(accept: str, page: bool) -> None:
    """A client gets a page only if it names HTML, and JSON with a smaller weight or not at all."""
    assert prefers_page(Request("GET", LICENCE, {"Accept": accept}, {}, "")) is page


@pytest.mark.parametrize("path", ["login", "//evil.example", "/login?x=1", "https://evil.example"])
def test_a_login_is_a_path_of_this_api(path: str) -> None:
    """A URL of another site prevents the start."""
    with pytest.raises(SettingError, match="STACFLASK_LICENCE_LOGIN"):
        create_plugin({"STACFLASK_LICENCE_LOGIN": path})
