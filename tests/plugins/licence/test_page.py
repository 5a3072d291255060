"""A licence as a page: read and accepted in a browser, and on no other site's behest."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from plugins.api_keys import ApiKeys
from plugins.licence import Licences, create_plugin
from plugins.licence.pages import prefers_page
from stacflask import Request, SettingError

KEY = "sfk_00000001_member-of-the-test"
HERE = "/licences/research"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"kim:{KEY}".encode()).decode()}
OWN, FOREIGN = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}
TEXT = 'For <script>alert("you")</script> & research.\n\nNot for sale.'

Client = Any


@pytest.fixture
def client(build: Callable[..., Flask], tmp_path: Any) -> Client:
    """Serve one licence to people with keys."""
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
    return client.post(f"{HERE}/acceptance", data={"version": version}, headers=headers)


def test_browsers_get_a_page_and_programs_json(client: Client) -> None:
    """At one address, by what is asked for; caches are told, and keep no page."""
    page = client.get(HERE, headers=BROWSER)
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    assert page.headers["Cache-Control"] == "no-store"
    program = client.get(HERE)
    assert (program.content_type, program.json["text"]) == ("application/json", TEXT)
    assert "Accept" in page.headers["Vary"]
    assert "Accept" in program.headers["Vary"]


def test_what_others_wrote_is_text(client: Client) -> None:
    """Title, text and address are shown as they are; none becomes a part of the page, and no script would run."""
    page = client.get(HERE, headers=BROWSER)
    assert "<h1>Research &lt;only&gt;</h1>" in page.text
    assert "For &lt;script&gt;alert(&quot;you&quot;)&lt;/script&gt; &amp; research." in page.text
    assert 'href="https://example.org/?a=1&amp;b=&#x27;2&#x27;"' in page.text
    assert "<script" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))


def test_who_is_not_known_is_led_to_the_login_or_asked_for_a_key(client: Client) -> None:
    """The page says how; the form sent all the same makes the browser ask for a key."""
    assert 'href="http://localhost/login?next=/licences/research"' in client.get(HERE, headers=BROWSER).text
    asked = accept(client, OWN)
    assert asked.status_code == 401
    assert any(way.startswith("Basic ") for way in asked.headers.getlist("WWW-Authenticate"))


def test_without_a_login_the_page_speaks_of_keys_alone(build: Callable[..., Flask], tmp_path: Any) -> None:
    """Where nobody can log in, nobody is told to."""
    licences = Licences(cache=0)
    client = build(licences).test_client()
    add = ["add", "research", "1.0", "--title", "Research", "--url", "https://example.org/"]
    assert CliRunner().invoke(licences.extend_cli()[0], add).exit_code == 0
    assert "<p>To accept it, have your API key ready" in client.get(HERE, headers=BROWSER).text


def test_the_form_accepts(client: Client) -> None:
    """Sent with a key as the password, it leads back to the page, which tells since when it is accepted."""
    page = client.get(HERE, headers={**BROWSER, **BASIC})
    assert "You are kim." in page.text
    assert f'action="http://localhost{HERE}/acceptance"' in page.text
    assert 'name="version" value="1.0"' in page.text
    sent = accept(client, {**OWN, **BASIC})
    assert (sent.status_code, sent.headers["Location"]) == (303, f"http://localhost{HERE}")
    page = client.get(HERE, headers={**BROWSER, **BASIC})
    assert "You accepted it at 20" in page.text
    assert "<form" not in page.text


def test_a_version_that_was_not_read_is_shown_first(client: Client) -> None:
    """If a newer one came in between, nothing is accepted, and it is there to be read."""
    answer = accept(client, {**OWN, **BASIC}, "0.9")
    assert (answer.status_code, answer.content_type) == (409, "text/html; charset=utf-8")
    assert "There is a newer version" in answer.text
    assert 'name="version" value="1.0"' in answer.text
    assert client.get(HERE, headers=BASIC).json["accepted"] is None


@pytest.mark.parametrize("where", [FOREIGN, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {}])
def test_another_sites_form_accepts_nothing(client: Client, where: dict[str, str]) -> None:
    """A browser that knows a key sends it with any site's form: the form must come from a page of ours."""
    refused = accept(client, {**where, **BASIC})
    assert (refused.status_code, refused.json["code"]) == (403, "CrossSite")
    assert client.get(HERE, headers=BASIC).json["accepted"] is None


def test_another_sites_script_accepts_nothing_with_a_key_that_the_browser_adds(client: Client) -> None:
    """Nor may a script that sends JSON; a program with the same key may, and a script that has a key itself."""
    send = {"json": {"version": "1.0"}}
    assert client.post(f"{HERE}/acceptance", headers={**FOREIGN, **BASIC}, **send).status_code == 403
    assert client.post(f"{HERE}/acceptance", headers=BASIC, **send).status_code == 200
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert client.post(f"{HERE}/acceptance", headers={**FOREIGN, **bearer}, **send).status_code == 200


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
def test_who_would_rather_have_a_page(accept: str, page: bool) -> None:
    """Only who names HTML, and JSON less or not at all."""
    assert prefers_page(Request("GET", HERE, {"Accept": accept}, {}, "")) is page


@pytest.mark.parametrize("path", ["login", "//evil.example", "/login?x=1", "https://evil.example"])
def test_a_login_is_a_path_of_this_api(path: str) -> None:
    """A setting that would lead people elsewhere stops the start."""
    with pytest.raises(SettingError, match="STACFLASK_LICENCE_LOGIN"):
        create_plugin({"STACFLASK_LICENCE_LOGIN": path})
