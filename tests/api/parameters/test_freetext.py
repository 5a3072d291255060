"""Free text: ``q`` on lists of items, by GET and by POST."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import an_item

Publish = Callable[..., None]
Client = Any
TEXTS: dict[str, dict[str, Any]] = {
    "ice-1": {"title": "Sea ice of the Arctic", "keywords": ["climate", "Model"]},
    "snow_2": {"description": "The quick brown fox in the snow", "platform": "Sentinel-2A"},
    "reef": {"title": "Der große Ärmelkanal", "instruments": ["msi"], "constellation": "sentinel-2"},
    "plain": {"comment": "ice", "mission": "100% of a\\b (brown)"},
}


@pytest.fixture(autouse=True)
def _texts(publish: Publish) -> None:
    publish(*[an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", **more}) for name, more in TEXTS.items()])


def found(response: Any) -> set[str]:
    assert response.status_code == 200, response.text
    return {feature["id"] for feature in response.json["features"]}


FINDS = [
    ("sentinel", {"snow_2", "reef"}),
    ("ICE", {"ice-1"}),
    ("ice-1", {"ice-1"}),
    ("ärmelKANAL", {"reef"}),
    ("GROSSE", {"reef"}),
    ("sea ice", {"ice-1"}),
    ("sea fox", {"ice-1", "snow_2"}),
    ('"sea fox"', set()),
    ('"climate"', {"ice-1"}),
    ("fox OR reef", {"snow_2", "reef"}),
    ("sea AND climate", {"ice-1"}),
    ("sea AND fox", set()),
    ("(quick OR sea) AND snow", {"snow_2"}),
    ("(quick,sea) AND snow", {"snow_2"}),
    ("sentinel +brown -reef", {"snow_2", "plain"}),
    ("brown -fox", {"plain"}),
    ("-brown", {"ice-1", "reef"}),
    ("sea AND -fox", {"ice-1"}),
    ("sentinel-2a", {"snow_2"}),
    ("EO,Sea Ice", {"ice-1"}),
    ("brown fox,nosuch", {"snow_2"}),
    ("fox brown,nosuch", set()),
    ("(sea AND ice),msi", {"ice-1", "reef"}),
    ('"100%"', {"plain"}),
    ("1__%", set()),
    ("snow_2", {"snow_2"}),
    ("snow?2", set()),
    ("a\\b", {"plain"}),
    ("' OR 1=1 --", set()),
    (" , ,", {"ice-1", "snow_2", "reef", "plain"}),
    ("", {"ice-1", "snow_2", "reef", "plain"}),
]


def test_words_and_operators(client: Client) -> None:
    """Commas, AND, OR, parentheses, quotes, + and - have the same meaning by GET and by POST."""
    for q, expected in FINDS:
        for path in ("/search", "/collections/collection/items"):
            assert found(client.get(path, query_string={"q": q})) == expected, q
        assert found(client.post("/search", json={"q": q})) == expected, q


def test_array_of_phrases(client: Client) -> None:
    """By POST, an array has phrases, any of which must match; operators in them have no effect."""
    assert found(client.post("/search", json={"q": ["sea ice", "AND", "msi"]})) == {"ice-1", "reef"}
    assert found(client.post("/search", json={"q": ["a\\b (brown)", "-fox"]})) == {"plain"}
    assert len(found(client.post("/search", json={"q": []}))) == len(TEXTS)


WRONG: list[Any] = [
    ("(sea", "at character 1: expected a closing parenthesis"),
    ("sea)", "at character 4: expected an opening parenthesis"),
    ('sea "ice', "at character 5: expected a closing quote"),
    ("sea AND", "at character 8: expected a word"),
    ("OR sea", "at character 1: expected a word"),
    ("()", "at character 2: expected a word"),
    ("+a AND b", "at character 9: expected no + or -"),
    ("(" * 50 + "a", "at character 21: expected at most 20 nested"),
    ("a " * 101, "expected at most 100 words"),
    ("a" * 2001, "expected at most 2000 characters"),
]

INVALID_VALUES: list[Any] = [1, {}, [1], ["a\0"], ["a"] * 101, ["a" * 2001]]


def test_an_invalid_text_is_400_with_the_place(client: Client) -> None:
    """An invalid or too long text is 400 with the position of the character."""
    for q, expected in WRONG:
        for response in (client.get("/search", query_string={"q": q}), client.post("/search", json={"q": q})):
            assert response.status_code == 400, q
            assert response.json["description"].startswith(f"q: {expected}"), response.json
    for value in INVALID_VALUES:
        assert client.post("/search", json={"q": value}).json["description"].startswith("q: "), value


def test_patterns_in_texts_are_not_slow(client: Client, publish: Publish) -> None:
    """Texts that are slow as regular expressions are searched like all others."""
    publish(an_item("long", "other", properties={"datetime": "2024-06-01T12:00:00Z", "title": "a" * 50_000}))
    for q in ("(a+)+$", "%a" * 800, "_" * 1900, "a%" * 900 + "b"):
        client.post("/search", json={"q": [q], "collections": ["other"]})
        assert found(client.post("/search", json={"q": [q], "collections": ["other"]})) == set(), q


def test_free_text_is_combined_with_other_parameters(client: Client) -> None:
    """Free text is combined with other parameters by AND, and next links keep it."""
    parameters = {"q": "sentinel", "filter": "platform = 'Sentinel-2A'", "sortby": "id"}
    assert found(client.get("/search", query_string=parameters)) == {"snow_2"}
    first = client.get("/search?q=sentinel&limit=1&sortby=id").json
    (link,) = [link["href"] for link in first["links"] if link["rel"] == "next"]
    assert found(client.get(link)) == {"snow_2"}
