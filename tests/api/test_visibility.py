"""Every user sees a catalog of their own: responses are those of a catalog with only the visible records."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from stacflask import Principal, Request, hookimpl
from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.extents import all_collections, recompute
from stacflask.current import EXTENSION, Components
from stacflask.model.json_types import Document
from stacflask.testing import Publish, a_collection, an_item
from tests.api.test_every_route import Build, Everything

LEVELS = {"anonymous": 0, "member": 1, "officer": 2}
COLLECTIONS = {"open": 0, "mixed": 0, "closed": 1, "empty": 1, "secret": 2}
WORDS = [
    "",
    "limit=1",
    "limit=2&token={next}",
    "ids=item-1,item-2",
    "collections=mixed,secret",
    "bbox=0,0,5,90",
    "datetime=2024-01-02T00:00:00Z/..",
    "filter=level>=1",
    "filter=a_secret_name IS NOT NULL",
    "filter=nobody_knows IS NOT NULL",
    "sortby=-level,+id",
    "q=scene",
    "fields=id",
    "type=Collection",
    "aggregations=total_count,collection_frequency,datetime_max,datetime_min",
    "limit=0",
    "bbox=4.5,4.5,60,60",
    "datetime=2024-01-06T00:00:00Z/2024-12-01T00:00:00Z",
    "filter=extent.spatial.bbox IS NOT NULL AND summaries IS NULL",
]


class Levels(Everything):
    """Each principal has a level, and sees collections and items up to this level."""

    @hookimpl
    def authenticate(self, request: Request) -> Principal:  # type: ignore[override]
        """Return a principal from a header field."""
        return Principal(request.headers["Who"], scheme="test")

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> Any:
        """Hide the records of higher levels."""
        if of == "collections":
            seen = [name for name, level in COLLECTIONS.items() if level <= LEVELS[principal.id]]
            return {"op": "in", "args": [{"property": "id"}, seen]}
        return {"op": "<=", "args": [{"property": "level"}, LEVELS[principal.id]]}


class Plain(Levels):
    """The same without restrictions."""

    @hookimpl
    def restrict(self) -> None:  # type: ignore[override]
        """Hide nothing."""


WORLD: Document = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
STATED: Document = {
    "spatial": {"bbox": [[0, 0, 50, 50], [49, 49, 50, 50]]},
    "temporal": {"interval": [["2024-01-01T00:00:00Z", "2024-11-11T00:00:00Z"]]},
    "note": "by the author",
}
SUMMED_UP = {"level": {"minimum": 0, "maximum": 2}, "a_secret_name": [2, 5], "nobody_knows": ["but her"]}


def documents(most: int, extent: Document, **stated: Document) -> Iterator[Document]:
    """Return the documents that a principal of this level sees, for collections with these members."""
    for name, level in COLLECTIONS.items():
        if level > most:
            continue
        yield a_collection(name, extent=extent, **stated, title=f"The {name} one")
        for number in range(6 if name != "empty" else 0):
            when = f"2024-01-0{number + 1}T00:00:00Z"
            properties = {"datetime": when, "level": number % 3, "title": f"Scene {number}"}
            if number % 3 == 2:
                properties["a_secret_name"] = number
            if number % 3 <= most:
                place = {"type": "Point", "coordinates": [number, number]}
                box = [number, number, number, number]
                yield an_item(f"item-{number}", name, geometry=place, bbox=box, properties=properties)


def addresses(app: Flask) -> Iterator[str]:
    """Return every path with GET, with the names of visible, hidden and missing records."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or "static" in rule.rule or rule.rule.startswith("/health"):
            continue
        for collection in (*COLLECTIONS, "absent"):
            for item in ("item-0", "item-1", "item-2", "absent"):
                names = {"collection_id": collection, "item_id": item, "asset_id": "data", "path": "x", "name": "x"}
                if set(rule.arguments) <= set(names):
                    yield adapter.build(rule.endpoint, {name: names[name] for name in rule.arguments})


def answers(app: Flask, who: str) -> dict[str, Any]:
    """Return the responses to all requests and one next page each, without values that differ between requests."""
    client, found = app.test_client(), {}
    for path in dict.fromkeys(addresses(app)):
        following = ""
        for word in WORDS if "{" not in path and path.count("/") < 4 else WORDS[:1]:
            address = f"{path}?{word.format(next=following)}"
            answer = client.get(address, headers={"Who": who, "Accept-Encoding": "identity"})
            fields = {name: value for name, value in answer.headers.items() if name not in ("X-Request-ID", "Date")}
            found[address] = (answer.status_code, answer.data, fields)
            token = re.search(rb"token=([^\"&]*)", answer.data)
            following = token[1].decode() if token else following
    return found


@pytest.mark.parametrize("who", LEVELS)
@pytest.mark.parametrize("extents", ["withheld", "computed"])
def test_every_user_sees_a_catalog_of_their_own(
    build: Build, publish: Publish, database: Database, who: str, extents: str
) -> None:
    """The responses for every path and parameter are byte for byte those of a catalog with only the visible records."""
    publish(*documents(most=2, extent=STATED, summaries=SUMMED_UP))
    limited = answers(build(Levels(), environ={"STACFLASK_HIDDEN_EXTENTS": extents}), who)
    app = build(Plain())
    with database.write() as connection:
        for table in ("items", "collections", "statistics"):
            connection.execute(sa.text(f"TRUNCATE {table}"))
    publish(*documents(most=LEVELS[who], extent=WORLD))
    if extents == "computed":
        components: Components = app.extensions[EXTENSION]
        with database.write() as connection:
            for name in all_collections(connection):
                recompute(connection, components.catalog.codec, name)
    whole = answers(app, who)
    assert limited.keys() == whole.keys()
    assert sum(status == 200 and b'"item-0"' in body for status, body, _ in limited.values()) > 30
    for address, answer in limited.items():
        assert answer == whole[address], address
