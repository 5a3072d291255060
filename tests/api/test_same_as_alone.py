"""A user who sees a part of the catalog gets the responses of a catalog with only that part."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stacflask import Principal, Request, hookimpl
from stacflask.model.json_types import Document
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Plug = Callable[..., Any]
Call = tuple[str, str, Any]

COLLECTIONS = [
    a_collection("red", summaries={"platform": ["r1"]}, keywords=["warm"]),
    a_collection("blue", summaries={"depth": {"minimum": 0, "maximum": 9}}, keywords=["cold"]),
]


def some_items() -> Iterator[Document]:
    """Return items of two collections and of three owners, with properties that only some of them have."""
    for number in range(12):
        collection, owner = ("red", "blue")[number % 2], "abc"[number % 3]
        longitude = -170.0 + 25 * number
        own = {f"of_{owner}": number, f"in_{collection}": f"word {number}"}
        yield an_item(
            f"i{number}",
            collection,
            geometry={"type": "Point", "coordinates": [longitude, 10]},
            bbox=[longitude, 10, longitude, 10],
            properties={"datetime": f"2024-01-{number + 1:02}T00:00:00Z", "owner": owner, "n": number * 1.5, **own},
        )


ITEMS = list(some_items())
EVERYBODY = "everybody"
"""The principal that sees all records."""


class Rights:
    """Shows what the principal's name states: all, one collection, the items of one owner, or of one owner in one."""

    @hookimpl
    def authenticate(self, request: Request) -> Principal:
        """Return a principal with the name of a header field."""
        return Principal(request.headers.get("X-Name", "") or EVERYBODY, scheme="test")

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> Any:
        """Hide the other records."""
        collection, _, owner = principal.id.removeprefix(EVERYBODY).partition("/")
        if of == "collections":
            return {"op": "=", "args": [{"property": "id"}, collection]} if collection else None
        return {"op": "=", "args": [{"property": "owner"}, owner]} if owner else None


def part_of(name: str) -> list[Document]:
    """Return the documents that a principal of this name sees, without summaries if items are hidden."""
    collection, _, owner = name.partition("/")
    hidden = {"summaries"} if owner else set()
    return [
        *({k: v for k, v in one.items() if k not in hidden} for one in COLLECTIONS if collection in ("", one["id"])),
        *(one for one in ITEMS if collection in ("", one["collection"]) and owner in ("", one["properties"]["owner"])),
    ]


def below(path: str) -> list[str]:
    return [f"{start}{path}" for start in ("", "/collections/red", "/collections/blue")]


NAMES = [
    *("total_count", "datetime_min", "datetime_max", "datetime_frequency", "collection_frequency", "n_frequency"),
    *("owner_frequency", "grid_geohash_frequency", "centroid_geotile_grid_frequency"),
]
REQUESTS: list[Call] = [
    *(("GET", path, None) for path in [*below("/queryables"), *below("/sortables"), *below("/aggregations")]),
    *(("GET", path, None) for path in ("/collections-queryables", "/collections-sortables", "/children", "/")),
    *(("GET", f"{path}?aggregations={','.join(NAMES)}", None) for path in below("/aggregate")),
    *(
        ("POST", path, {"aggregations": NAMES, "filter": {"op": ">", "args": [{"property": "n"}, 3]}})
        for path in below("/aggregate")
    ),
    *(("GET", f"/aggregate?aggregations={name}_frequency", None) for name in ("of_a", "of_b", "in_red", "in_blue")),
    *(("GET", f"{path}?limit=1&count=true", None) for path in ("/search", "/collections/red/items")),
    ("POST", "/search", {"limit": 2, "count": True, "sortby": [{"field": "n", "direction": "desc"}]}),
    *(
        ("GET", f"/collections/red/by-time{part}", None)
        for part in ("", "/2024", "/2024-01", "/2024-01-01", "/2024-01-07")
    ),
    *(("GET", f"/search?filter={name}=1", None) for name in ("of_a", "of_b", "in_red", "nosuch")),
]


def answers(client: Any, name: str) -> list[tuple[Call, int, Any]]:
    """Return the responses to all requests of a principal."""
    responses = []
    for method, path, body in REQUESTS:
        given = {"json": body} if body else {}
        answer = client.open(path, method=method, headers={"X-Name": name}, **given)
        responses.append(((method, path, body), answer.status_code, answer.json))
    return responses


@pytest.mark.parametrize("strict", ["false", "true"])
@pytest.mark.parametrize("name", ["", "red", "blue", "/a", "red/b", "blue/c"])
def test_a_part_has_the_responses_of_a_whole(
    plug: Plug, publish: Publish, database: Any, name: str, strict: str
) -> None:
    """Names, ranges, aggregations, counts, children and errors are those of a catalog with only that part."""
    import sqlalchemy as sa

    environ = {"STACFLASK_STRICT_NAMES": strict}
    client = plug(Rights(), environ=environ)
    publish(*COLLECTIONS, *ITEMS)
    of_a_part = answers(client, name)
    with database.write() as connection:
        connection.execute(sa.text("TRUNCATE items, collections, statistics"))
    publish(*part_of(name))
    for part, whole in zip(of_a_part, answers(plug(environ=environ), name), strict=True):
        assert _plain(part) == _plain(whole)


def _plain(answer: tuple[Call, int, Any]) -> Any:
    """Remove the extents of collections, which the catalog extends by all its items."""
    request, status, body = answer
    for child in body.get("children", ()):
        del child["extent"]
    return request, status, body
