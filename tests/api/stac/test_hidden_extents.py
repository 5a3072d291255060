"""Extents and summaries of collections, for who may not see all of their items."""

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
    """Who says so sees all; others, items of the first days. Everybody may change everything."""

    @hookimpl
    def authenticate(self, request: Request) -> Principal:
        """Believe what is said."""
        return Principal(request.headers.get("Who", "visitor"), scheme="test")

    @hookimpl
    def restrict(self, principal: Principal, of: str) -> Any:
        """Hide what came later."""
        if of == "collections" or principal.id == "curator":
            return None
        return {"op": "<", "args": [{"property": "datetime"}, {"timestamp": "2024-01-05T00:00:00Z"}]}

    @hookimpl
    def authorize_change(self) -> Decision:
        """Consent."""
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
def test_what_is_shown(client: Any, mode: str, extent: Any, later: Any, summaries: Any) -> None:
    """Extents and summaries are as configured, alone and in every list; who sees all items sees what is kept."""
    asking = client(mode)
    for address in (HERE, "/collections", "/children", "/collections?bbox=1.5,1.5,3,3&sortby=title"):
        shown = asking.get(address).json
        listed = {one["id"]: one for one in shown.get("collections", shown.get("children", [shown]))}
        assert (listed["c"]["extent"], listed["c"].get("summaries")) == (extent, summaries), address
        assert listed.get("later", {"extent": later})["extent"] == later
    whole = asking.get(HERE, headers={"Who": "curator"}).json
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
def test_collections_are_found_by_what_is_shown(client: Any, mode: str, word: str, found: list[str]) -> None:
    """No search of collections tells what their documents do not."""
    listed = client(mode).get(f"/collections?{word}").json["collections"]
    assert [one["id"] for one in listed] == found


@pytest.mark.parametrize("mode", ["withheld", "computed"])
def test_queryables_tell_no_summaries(client: Any, mode: str) -> None:
    """What items hold is told of those that may be seen, and what summaries say of all of them is not."""
    members = client(mode).get(f"{HERE}/queryables").json["properties"]
    assert (members["place"]["minimum"], members["place"]["maximum"]) == (1, 2)
    assert "summaries" not in client(mode).get("/collections-queryables").json["properties"]


@pytest.mark.parametrize("mode", ["withheld", "computed"])
def test_states_are_those_of_what_is_shown(client: Any, publish: Publish, mode: str) -> None:
    """A hidden item that widens an extent changes nobody's ETag who may not see it, and everybody's who may."""
    asking = client(mode)

    def states() -> list[str]:
        return [asking.get(HERE, headers={"Who": who}).headers["ETag"] for who in ("visitor", "curator")]

    before = states()
    publish(an_item("further", "c", bbox=[50, 50, 50, 50], properties={"datetime": "2026-01-01T00:00:00Z"}))
    after = states()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
    kept = asking.get(HERE, headers={"If-None-Match": after[0]})
    assert (kept.status_code, "private" in kept.headers["Cache-Control"]) == (304, True)
    assert "Authorization" in kept.headers["Vary"]


@pytest.mark.parametrize("mode", ["withheld", "computed"])
def test_who_edits_what_is_shown_loses_nothing(client: Any, mode: str) -> None:
    """What was not shown stays when what was shown is sent back, and nobody learns it by a change."""
    asking = client(mode)
    shown = asking.get(HERE)
    headers = {"If-Match": shown.headers["ETag"], "Prefer": "return=representation"}
    changed = asking.put(HERE, json={**shown.json, "title": "B"}, headers=headers)
    assert (changed.status_code, changed.json["title"]) == (200, "B")
    assert (changed.json["extent"], changed.json.get("summaries")) == (shown.json["extent"], None)
    assert asking.get(HERE).headers["ETag"] == changed.headers["ETag"]
    patched = asking.patch(HERE, json={"title": "C"}, headers={**headers, "If-Match": changed.headers["ETag"]})
    assert (patched.status_code, patched.json["extent"]) == (200, shown.json["extent"])
    whole = asking.get(HERE, headers={"Who": "curator"}).json
    assert (whole["title"], whole["extent"], whole["summaries"]) == ("C", STATED, SUMMARIES)
    assert asking.patch(HERE, json={"title": "D"}, headers=headers).status_code == 412
    assert asking.patch(HERE, json={"extent": WORLD, "summaries": {"a": [1]}}).status_code == 204
    assert asking.get(HERE, headers={"Who": "curator"}).json["summaries"] == {"a": [1]}
    assert asking.delete(f"{HERE}?force=true", headers=headers).status_code == 412
    state = asking.get(HERE).headers["ETag"]
    assert asking.delete(f"{HERE}?force=true", headers={"If-Match": state}).status_code == 204
