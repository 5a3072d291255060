"""The landing page."""

from stacflask.testing import Plug, Publish, a_collection


def test_the_landing_page_links_to_all_resources(plug: Plug, publish: Publish) -> None:
    """The landing page is a STAC catalog with links to all resources and to the collections."""
    publish(a_collection("one", title="One"))
    page = plug().get("/").json
    rels = {link["rel"] for link in page["links"]}
    assert {"root", "self", "conformance", "data", "search", "service-desc", "service-doc"} <= rels
    assert [link["title"] for link in page["links"] if link["rel"] == "child"] == ["One"]
