"""The threats of docs/security.md: each lists existing tests. Those without a better place are here."""

import hmac
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from plugins.api_keys import ApiKeys
from stacflask import BadCredentials, Request, Services, Storage
from stacflask.testing import Plug, Publish, a_collection, an_item
from tests.api.test_every_route import Build, Everything

ROOT = Path(__file__).parents[2]
KEY = "sfk_00000001_TestOnlyTestOnlyTestOnlyTestOnly001"
SCRIPT = "<img src=x onerror=alert(1)>"
SPLITTING = "x\r\nX-Split: yes\r\n\r\n<html>"
QUOTES = ["'", "''; DROP TABLE items; --", '"', "\\", "%", "$$", "') OR ('1'='1", "x' OR 1=1 --"]


def test_every_threat_names_tests_that_exist() -> None:
    """Each threat in docs/security.md lists at least one test, and all listed tests exist."""
    section = (ROOT / "docs" / "security.md").read_text("utf-8").partition("## Threats")[2].partition("\n## ")[0]
    threats = section.split("\n- **")[1:]
    source = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
    assert len(threats) > 15
    for threat in threats:
        named = re.findall(r"`(test_\w+)`", threat)
        assert named, threat
        assert set(named) <= existing, threat


def test_secrets_are_compared_in_constant_time(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is found by its public part. Hashes of its secret part are compared in constant time."""
    plugin = ApiKeys(cache=0)
    plugin.startup(Services(storage))
    CliRunner().invoke(plugin.extend_cli()[0], ["create", "jane", "--key", KEY])
    compared: list[int] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for key in (KEY[:-1] + "2", KEY[:-1] + "3"):
        with pytest.raises(BadCredentials):
            plugin.authenticate(Request("GET", "/", {"Authorization": f"Bearer {key}"}, {}, ""))
    assert compared == [32, 32]


def test_names_cannot_split_header_fields(plug: Plug, publish: Publish) -> None:
    """Line breaks in ids, titles, media types and file names do not add a header field or end the header."""
    asset = {"href": "s3://bucket/x", "title": SPLITTING, "type": SPLITTING, "file:local_path": SPLITTING}
    publish(an_item("plain", assets={"data": asset}))
    client = plug(Everything())
    item = client.get("/collections/collection/items/plain").json
    address = item["assets"]["data"]["href"].removeprefix("http://localhost")
    for wish in ("", "?delivery=stream"):
        for method in ("GET", "HEAD"):
            answer = client.open(address + wish, method=method)
            assert answer.status_code in (200, 307)
            assert "X-Split" not in answer.headers
            assert not any("\n" in value or "\r" in value for value in answer.headers.values())
    for path in ("/search?token=%0d%0aX-Split:%20yes", "/collections/%0d%0aX-Split:%20yes"):
        assert "X-Split" not in client.get(path).headers


def every_page(app: Flask) -> Any:
    """Return the responses of all GET routes, with the script in the names."""
    adapter = app.url_map.bind("localhost")
    names = {"collection_id": SCRIPT, "item_id": SCRIPT, "asset_id": SCRIPT, "path": SCRIPT, "name": "swagger-ui.css"}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and set(rule.arguments) <= set(names):
            path = adapter.build(rule.endpoint, {name: names[name] for name in rule.arguments})
            yield app.test_client().get(path, headers={"Accept": "text/html"})


def test_documents_do_not_run_scripts(build: Build, publish: Publish) -> None:
    """Metadata cannot run scripts in a browser: JSON is not sniffed as HTML, and pages are escaped."""
    words = {"title": SCRIPT, "description": SCRIPT, "keywords": [SCRIPT]}
    properties = {"datetime": "2024-01-01T00:00:00Z", **words}
    publish(a_collection(SCRIPT, **words), an_item(SCRIPT, SCRIPT, properties=properties))
    for answer in every_page(build(Everything())):
        if answer.mimetype == "text/html":
            assert SCRIPT not in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff", answer.request.path


@pytest.mark.parametrize("word", QUOTES)
def test_names_are_escaped_in_sql(plug: Plug, publish: Publish, word: str) -> None:
    """Quotes and other special characters are searched literally, in every parameter and name."""
    publish(an_item("a"), an_item("b"))
    client = plug(Everything())
    for wish in (
        {"ids": [word]},
        {"collections": [word]},
        {"filter": {"op": "=", "args": [{"property": word}, word]}},
        {"filter": {"op": "like", "args": [{"property": "id"}, f"x{word}"]}},
        {"query": {word: {"eq": word}}},
        {"q": [f'"{word.replace(chr(34), "")}zzz"']},
        {"token": f"next:{word}"},
        {"sortby": [{"field": word, "direction": "asc"}], "ids": ["none"]},
    ):
        answer = client.post("/search", json=wish)
        assert answer.status_code in (200, 400), (wish, answer.text)
        assert answer.json.get("features", []) == [], wish
    assert client.get("/collections/" + "".join(f"%{byte:02x}" for byte in word.encode())).status_code == 404
    assert len(client.get("/search").json["features"]) == 2
