"""Child and item links lead to every visible item, and to no hidden one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask import hookimpl
from stacflask.catalog.aggregation import by_time
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Plug = Callable[..., Any]
BASE = "http://localhost"


def at(name: str, when: str, **times: str) -> dict[str, Any]:
    """Return an item with a time."""
    return an_item(name, properties={"datetime": when, **times})


@pytest.fixture(autouse=True)
def _items(publish: Publish) -> None:
    publish(
        at("a", "0001-01-01T00:00:00Z"),
        at("b", "2023-12-31T23:59:59.999999Z"),
        at("c", "2024-02-29T00:00:00Z"),
        at("d", "2024-02-29T23:59:59Z"),
        at("e", "2024-03-01T00:00:00+14:00"),
        at("f", "9999-12-31T23:59:59Z"),
        an_item(
            "g",
            properties={
                "datetime": None,
                "start_datetime": "2024-03-05T00:00:00Z",
                "end_datetime": "2025-01-01T00:00:00Z",
            },
        ),
        a_collection("empty"),
    )


def linked(document: dict[str, Any], rel: str) -> list[str]:
    return [link["href"].removeprefix(BASE) for link in document["links"] if link["rel"] == rel]


def reached(client: Any, path: str) -> Iterator[str]:
    """Follow all child links, check that each has a parent link back, and return the linked items."""
    document = client.get(path).json
    assert linked(document, "self") == [path]
    for child in linked(document, "child"):
        assert linked(client.get(child).json, "parent")[0] in path
        yield from reached(client, child)
    for item in linked(document, "item"):
        assert client.get(item).status_code == 200
        yield item.rpartition("/")[2]


def test_every_item_is_reached_once(plug: Plug) -> None:
    """From a collection, links lead to each of its items once, in order of time."""
    assert list(reached(plug(), "/collections/collection")) == ["a", "b", "c", "e", "d", "g", "f"]


def test_full_days_are_divided(plug: Plug, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day with too many items is divided into hours, minutes and seconds; seconds list their items in parts."""
    publish(*(at(f"x{number}", f"2024-05-05T05:05:05.{number}Z") for number in range(3)))
    monkeypatch.setattr(by_time, "MAX_LISTED_ITEMS", 1)
    client = plug()
    assert sorted(reached(client, "/collections/collection")) == [*"abcdefg", "x0", "x1", "x2"]
    second = client.get("/collections/collection/by-time/2024-05-05T05%3A05%3A05").json
    assert [one.rpartition("/")[2] for one in linked(second, "item")] == ["x0"]
    assert [child.partition("?")[2] for child in linked(second, "child")] == ["after=x0"]


def test_many_years_are_paged(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years are listed in parts, and links lead to all of them."""
    monkeypatch.setattr(by_time, "MAX_LISTED_YEARS", 2)
    client = plug()
    page = client.get("/collections/collection/by-time").json
    assert linked(page, "child")[:2] == [f"/collections/collection/by-time/{year}" for year in ("0001", "2023")]
    assert linked(page, "child")[2:] == ["/collections/collection/by-time?after=2023"]
    assert list(reached(client, "/collections/collection")) == ["a", "b", "c", "e", "d", "g", "f"]
    assert linked(client.get("/collections/collection/by-time?after=9999").json, "child") == []


@pytest.mark.parametrize("after", ["x", "2024-05", "0000"])
def test_after_must_be_a_year(plug: Plug, after: str) -> None:
    """Parts of the list of years begin after a year."""
    response = plug().get(f"/collections/collection/by-time?after={after}")
    assert (response.status_code, response.json["description"].partition(":")[0]) == (400, "after")


def test_years_are_one_statement(plug: Plug, publish: Publish) -> None:
    """One statement finds all years, so that one timeout applies to all."""
    publish(*(at(f"y{year}", f"{year}-05-05T00:00:00Z") for year in range(1500, 1700)))
    client = plug()
    engine = client.application.extensions["stacflask"].catalog.database.engine
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert len(linked(client.get("/collections/collection/by-time").json, "child")) == 101
    assert sum("items" in statement for statement in statements) == 1


def test_after_a_hidden_item_there_is_nothing(plug: Plug, publish: Publish) -> None:
    """The id of a hidden item as ``after`` gives the same result as an id that does not exist."""

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "<>", "args": [{"property": "id"}, "c"]} if of == "items" else None

    client = plug(Hides())
    day = "/collections/collection/by-time/2024-02-29"
    assert linked(client.get(day).json, "item") == [f"/collections/collection/items/{name}" for name in ("e", "d")]
    assert client.get(f"{day}?after=c").status_code == client.get(f"{day}?after=nosuch").status_code == 404


def test_catalogs_are_valid(plug: Plug) -> None:
    """Each catalog is valid STAC, is named like its period, and has absolute links with types."""
    import pystac

    document = plug().get("/collections/collection/by-time/2024").json
    assert (document["type"], document["id"], document["title"]) == ("Catalog", "collection-2024", "collection, 2024")
    assert linked(document, "child") == [f"/collections/collection/by-time/2024-0{month}" for month in (2, 3)]
    assert all(link["href"].startswith(BASE) and link["type"] for link in document["links"])
    assert pystac.Catalog.from_dict(document).id == "collection-2024"


@pytest.mark.parametrize(
    "name", ["2022", "2024-13", "2024-02-30", "24", "2024-2", "0000", "x", "2024-02-29T25", "2024-02-29T00Z", "٢٠٢٤"]
)
def test_an_invalid_or_empty_period_is_404(plug: Plug, name: str) -> None:
    """A period that is invalid or has no items is 404."""
    assert plug().get(f"/collections/collection/by-time/{name}").status_code == 404


def test_collections_without_items(plug: Plug) -> None:
    """A collection without items has no years; a collection that does not exist is 404."""
    client = plug()
    assert linked(client.get("/collections/empty/by-time").json, "child") == []
    assert client.get("/collections/nosuch/by-time").status_code == 404
    assert client.get("/collections/nosuch/by-time/2024").status_code == 404


def test_hidden_items_have_no_periods(plug: Plug) -> None:
    """A period with only hidden items is 404 and not linked."""

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> Any:
            return {"op": "=", "args": [{"property": "id"}, "b"]} if of == "items" else None

    client = plug(Hides())
    assert list(reached(client, "/collections/collection")) == ["b"]
    assert client.get("/collections/collection/by-time/2024").status_code == 404
