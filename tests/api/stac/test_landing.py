"""The landing page and what stands beside it."""

from stacflask.testing import Plug, Publish, a_collection


def test_landing_page_lists_what_there_is(plug: Plug, publish: Publish) -> None:
    """The root is a STAC catalogue that links to every address a client needs, and to the collections."""
    publish(a_collection("one", title="One"))
    page = plug().get("/").json
    rels = {link["rel"] for link in page["links"]}
    assert {"root", "self", "conformance", "data", "search", "service-desc", "service-doc"} <= rels
    assert [link["title"] for link in page["links"] if link["rel"] == "child"] == ["One"]
