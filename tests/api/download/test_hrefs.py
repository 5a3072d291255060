"""Hrefs that are shown unchanged, and hrefs that are downloaded through the server."""

from collections.abc import Callable
from typing import Any

import pytest

from stacflask.testing import a_collection, an_item

Client = Any
Plug = Callable[..., Client]
PATH = "/collections/collection/items/item"

PUBLIC = [
    "https://example.org/a.tif",
    "HTTPS://EXAMPLE.ORG/a.tif",
    "http://example.org/a.tif",
    "ftp://ftp.example.org/pub/a.tif",
    "FTP://ftp.example.org/a@b.tif",
    "ftps://ftp.example.org/a.tif",
    "data:text/plain;base64,YQ==",
    "doi:10.5281/zenodo.1",
    "urn:isbn:0451450523",
    "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
    "./a.tif",
    "a.tif",
    "../a.tif",
    "/a.tif",
    "//example.org/a.tif",
]
STORAGE = [
    "s3://bucket/a.tif",
    "S3://bucket/a.tif",
    "gs://bucket/a.tif",
    "az://container/a.tif",
    "abfs://container/a.tif",
    "file:///data/a.tif",
    "sftp://host/a.tif",
    "disk:2024/a.tif",
    "/vsis3/bucket/a.tif",
    "/vsigs/bucket/a.tif",
    "ftp://user:secret@ftp.example.org/a.tif",
    "ftp://user@ftp.example.org/a.tif",
]


@pytest.fixture
def shown(edit: Plug) -> Callable[..., dict[str, str]]:
    """Return a function that creates a document with these hrefs, and returns the shown hrefs by stored href."""

    def show(hrefs: list[str], *, in_collection: bool = False, **environ: str) -> dict[str, str]:
        client = edit(**environ)
        assets = {str(number): {"href": href} for number, href in enumerate(hrefs)}
        document = a_collection(assets=assets) if in_collection else a_collection()
        assert client.post("/collections", json=document).status_code == 201
        if not in_collection:
            assert client.post("/collections/collection/items", json=an_item(assets=assets)).status_code == 201
        found = client.get("/collections/collection" if in_collection else PATH).json["assets"]
        return {href: found[str(number)]["href"] for number, href in enumerate(hrefs)}

    return show


@pytest.mark.parametrize("in_collection", [False, True])
def test_public_hrefs_are_unchanged(shown: Callable[..., dict[str, str]], in_collection: bool) -> None:
    """A public URL and a relative one are shown unchanged."""
    assert shown(PUBLIC, in_collection=in_collection) == {href: href for href in PUBLIC}


@pytest.mark.parametrize("in_collection", [False, True])
def test_storage_hrefs_are_replaced(shown: Callable[..., dict[str, str]], in_collection: bool) -> None:
    """The URL of a store, or one with a user name, is replaced by a download URL."""
    for given, href in shown(STORAGE, in_collection=in_collection).items():
        assert "/download/" in href, given
        assert given not in href


def test_public_and_managed_hrefs_can_be_set(shown: Callable[..., dict[str, str]]) -> None:
    """One setting lists public hrefs of stores, another one managed public hrefs, which takes precedence."""
    as_given = ["gs://open/a", "s3://open/a", "https://example.org/x"]
    here = ["gs://open/secret/a", "gs://other/a", "s3://other/a", "s3://open-not/a", "ftp://ftp.example.org/a"]
    found = shown(
        as_given + here,
        STACFLASK_PUBLIC_HREFS="gs://open/,s3://open/",
        STACFLASK_MANAGED_HREFS="ftp://ftp.example.org/,gs://open/secret/",
    )
    assert [href for href in found if found[href] == href] == as_given
    assert all("/download/" in found[href] for href in here)


def test_an_href_without_a_store_is_404(plug: Plug, publish: Callable[..., None], consent: Any) -> None:
    """An href that no plugin resolves is a 404. The response does not have the href."""
    publish(an_item(assets={"data": {"href": "gs://bucket/a.tif"}}))
    client = plug(consent)
    for answer in (client.get(f"{PATH}/download/data"), client.head(f"{PATH}/download/data")):
        assert answer.status_code == 404
    answer = client.get(f"{PATH}/download/data?delivery=stream")
    assert (answer.status_code, answer.json["code"], "gs://" in answer.text) == (404, "NoStore", False)
    assert client.get(f"{PATH}/download.zip").json["code"] == "NoStore"
