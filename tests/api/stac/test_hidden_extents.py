"""Extents and summaries of collections for users who cannot see all items."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask import Decision, Principal, Request, hookimpl
from stacflask.testing import Plug, Publish, a_collection, an_item

WORLD = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
STATED = {
    "spatial": {"bbox": [[0, 0, 9, 9], [8, 8, 9, 9]]},
    "temporal": {"interval": [["2024-01-01T00:00:00Z", "2024-12-31T00:00:00Z"]]},
}
SEEN = {
    "spatial": {"bbox": [[1.0, 1.0, 2.0, 2.0]]},
    "temporal": {"interval": [["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]]},
}
SUMMARIES = {"place": [1, 2, 9]}
HERE = "/collections/c"


class Embargo:
    """Shows all items to one user, and items of the first days to others. All users may change everything."""

    @hookimpl
    def authenticate(self, request: Request) -> Principal:
        """Return a principal whose id is the header Who."""
        return Principal(request.headers.get("Who", "visitor"), scheme="test")

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> Any:
        """Hide later items."""
        if of == "collections" or principal.id == "curator":
            return None
        return {"op": "<", "args": [{"property": "datetime"}, {"timestamp": "2024-01-05T00:00:00Z"}]}

    @hookimpl
    def authorize_change(self) -> Decision:
        """Allow every change."""
        return Decision.allow("test")


@pytest.fixture(autouse=True)
def _data(publish: Publish) -> None:
    publish(a_collection("c", extent=STATED, summaries=SUMMARIES, title="A", assets={"a": {"href": "s3://b/k"}}))
    publish(a_collection("later", extent=STATED))
    for place, day, collection in ((1, 1, "c"), (2, 2, "c"), (9, 9, "c"), (9, 9, "later")):
        publish(
            an_item(
                f"item-{place}",
                collection,
                geometry={"type": "Point", "coordinates": [place, place]},
                bbox=[place] * 4,
                properties={"datetime": f"2024-01-0{day}T00:00:00Z", "place": place},
            )
        )


@pytest.fixture
def client(plug: Plug) -> Callable[[str], Any]:
    return lambda mode: plug(Embargo(), environ={"STACFLASK_HIDDEN_EXTENTS": mode} if mode else {})


@pytest.mark.parametrize(
    ("mode", "extent", "later", "summaries"),
    [
        ("", WORLD, WORLD, None),
        ("withheld", WORLD, WORLD, None),
        ("computed", SEEN, WORLD, None),
        ("stored", STATED, STATED, SUMMARIES),
    ],
)
def test_extents_and_summaries_by_mode(client: Any, mode: str, extent: Any, later: Any, summaries: Any) -> None:
    """Extents and summaries follow the setting, alone and in lists; a user who sees all items gets the stored ones."""
    user = client(mode)
    for address in (HERE, "/collections", "/children", "/collections?bbox=1.5,1.5,3,3&sortby=title"):
        rendered = user.get(address).json
        listed = {one["id"]: one for one in rendered.get("collections", rendered.get("children", [rendered]))}
        assert (listed["c"]["extent"], listed["c"].get("summaries")) == (extent, summaries), address
        assert listed.get("later", {"extent": later})["extent"] == later
    whole = user.get(HERE, headers={"Who": "curator"}).json
    assert (whole["extent"], whole["summaries"]) == (STATED, SUMMARIES)


@pytest.mark.parametrize(
    ("mode", "word", "found"),
    [
        ("withheld", "bbox=8.5,8.5,10,10", ["c", "later"]),
        ("computed", "bbox=8.5,8.5,10,10", ["later"]),
        ("stored", "bbox=50,50,60,60", []),
        ("computed", "bbox=1,1,1,1", ["c", "later"]),
        ("computed", "datetime=2024-01-03T00:00:00Z/..", ["later"]),
        ("withheld", "datetime=2030-01-03T00:00:00Z/..", ["c", "later"]),
        ("computed", "filter=S_INTERSECTS(geometry,POINT(9 9))", ["later"]),
        ("withheld", "filter=summaries IS NOT NULL", []),
        ("stored", "filter=summaries IS NOT NULL", ["c"]),
    ],
)
def test_collections_are_found_by_their_visible_extents(client: Any, mode: str, word: str, found: list[str]) -> None:
    """A collection search uses only the extents and summaries that the user sees."""
    listed = client(mode).get(f"/collections?{word}").json["collections"]
    assert [one["id"] for one in listed] == found


@pytest.mark.parametrize("mode", ["withheld", "computed"])
def test_queryables_do_not_reveal_summaries(client: Any, mode: str) -> None:
    """Queryables describe visible items, and do not use summaries, which cover all items."""
    members = client(mode).get(f"{HERE}/queryables").json["properties"]
    assert (members["place"]["minimum"], members["place"]["maximum"]) == (1, 2)
    assert "summaries" not in client(mode).get("/collections-queryables").json["properties"]


@pytest.mark.parametrize("mode", ["withheld", "computed"])
def test_the_etag_depends_on_the_visible_extent(client: Any, publish: Publish, mode: str) -> None:
    """A hidden item that widens an extent changes the ETag only for users who see the item."""
    user = client(mode)

    def states() -> list[str]:
        return [user.get(HERE, headers={"Who": who}).headers["ETag"] for who in ("visitor", "curator")]

    before = states()
    publish(an_item("further", "c", bbox=[50, 50, 50, 50], properties={"datetime": "2026-01-01T00:00:00Z"}))
    after = states()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
    cached = user.get(HERE, headers={"If-None-Match": after[0]})
    assert (cached.status_code, "private" in cached.headers["Cache-Control"]) == (304, True)
    assert "Authorization" in cached.headers["Vary"]


@pytest.mark.parametrize("mode", ["withheld", "computed"])
def test_editing_a_visible_extent_loses_nothing(client: Any, mode: str) -> None:
    """Hidden parts of extents and summaries stay stored when a client sends the document back, and are not revealed."""
    user = client(mode)
    returned = user.get(HERE)
    headers = {"If-Match": returned.headers["ETag"], "Prefer": "return=representation"}
    changed = user.put(HERE, json={**returned.json, "title": "B"}, headers=headers)
    assert (changed.status_code, changed.json["title"]) == (200, "B")
    assert (changed.json["extent"], changed.json.get("summaries")) == (returned.json["extent"], None)
    assert user.get(HERE).headers["ETag"] == changed.headers["ETag"]
    patched = user.patch(HERE, json={"title": "C"}, headers={**headers, "If-Match": changed.headers["ETag"]})
    assert (patched.status_code, patched.json["extent"]) == (200, returned.json["extent"])
    whole = user.get(HERE, headers={"Who": "curator"}).json
    assert (whole["title"], whole["extent"], whole["summaries"]) == ("C", STATED, SUMMARIES)
    assert user.patch(HERE, json={"title": "D"}, headers=headers).status_code == 412
    assert user.patch(HERE, json={"extent": WORLD, "summaries": {"a": [1]}}).status_code == 204
    assert user.get(HERE, headers={"Who": "curator"}).json["summaries"] == {"a": [1]}
    assert user.delete(f"{HERE}?force=true", headers=headers).status_code == 412
    state = user.get(HERE).headers["ETag"]
    assert user.delete(f"{HERE}?force=true", headers={"If-Match": state}).status_code == 204
