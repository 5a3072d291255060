"""Transformed streams with a real server and a real store."""

import io
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from dev.demo import FIRST_DOWNLOAD
from dev.run import environ_for
from dev.stack import Stack
from tests.documented import GUIDES, write_files
from tests.walk.conftest import Server, serving

THUMBNAIL = FIRST_DOWNLOAD._replace(asset="thumbnail")
BREAKS = """
from stacflask import Decision, hookimpl


@hookimpl
def authorize(asset):
    return Decision.abstain("breaks", stream=True) if asset.key == "visual" else None


def breaks(chunks):
    yield next(chunks)
    raise ValueError("cannot continue")


@hookimpl
def transform(asset, stream):
    return stream.transformed(breaks, length=stream.length) if asset.key == "visual" else None
"""


@pytest.fixture(scope="module")
def transforming(demo_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the demo with the plugin of the guide, and with one that fails after the first chunk."""
    folder = tmp_path_factory.mktemp("transforming")
    write_files(GUIDES / "watermark.md", folder)
    (folder / "rules" / "breaks.py").write_text(BREAKS)
    environ = environ_for(demo_stack, 8000)
    plugins = f"rules.watermark,rules.breaks,{environ['STACFLASK_PLUGINS']}"
    environ |= {"PYTHONPATH": str(folder), "STACFLASK_PLUGINS": plugins, "STACFLASK_WATERMARK_ROLES": "thumbnail"}
    with serving(environ, folder / "log") as server:
        yield server


def test_a_watermark_is_streamed(transforming: Server) -> None:
    """GET is the marked image. HEAD has its fields without a length, and the connection can be used again."""
    with requests.Session() as session:
        head = session.head(transforming.address(THUMBNAIL), timeout=30)
        got = session.get(transforming.address(THUMBNAIL), allow_redirects=False, timeout=30)
    assert head.status_code == got.status_code == 200
    assert {"Content-Length", "Transfer-Encoding"}.isdisjoint(head.headers)
    assert head.headers["ETag"] == got.headers["ETag"]
    assert len(got.content) == int(got.headers["Content-Length"])
    assert Image.open(io.BytesIO(got.content)).format == "PNG"


def test_the_image_of_the_store_is_another(transforming: Server, server: Server) -> None:
    """Without the plugin, the same asset has other bytes."""
    stored = requests.get(server.address(THUMBNAIL), timeout=30)
    marked = requests.get(transforming.address(THUMBNAIL), timeout=30)
    assert stored.history[0].status_code == 307
    assert not marked.history
    assert stored.content != marked.content


def test_a_transformation_that_fails_breaks_the_connection(transforming: Server) -> None:
    """A client does not take a part of the result as complete."""
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="Connection broken"):
        requests.get(transforming.address(FIRST_DOWNLOAD), timeout=30)
