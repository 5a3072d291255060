"""Download URLs in submitted documents become the stored hrefs again, in any spelling."""

import re
from collections.abc import Iterator
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacflask.catalog.documents.stored_hrefs import Addresses, StoredHrefs
from stacflask.errors import BadDocument

BASES = ["http://localhost:8000", "https://stac.example.org", "https://stac.example.org/a/prefix", "http://[::1]:81"]
HOSTS: dict[str, list[str]] = {
    "http://localhost:8000": ["http://127.0.0.1:8000", "https://LOCALHOST.:8000", "http://[::ffff:127.0.0.1]:8000"],
    "https://stac.example.org": [
        "http://stac.example.org:80",
        "//STAC.Example.Org.",
        "https://a:b@stac.example.org:443",
    ],
    "https://stac.example.org/a/prefix": [
        "https://stac.example.org/./a/prefix",
        "https://stac.example.org/%61/b/../prefix",
    ],
    "http://[::1]:81": ["http://localhost:81", "http://[0:0::1]:81"],
}
TAILS = ["", "?delivery=stream", "?link=sfl.k.secret", "#part", "?a=/collections/x/download/y#b?c", "?", "#"]
STEPS = ["", "/.", "/x/..", "/./y/%2e%2e", "/signed/sfl.k.secret"]
PARTS = st.text("aÄ %.:~+?#&;@\\\u200b日", min_size=1, max_size=6).filter(lambda text: text not in (".", ".."))
KEYS = st.one_of(
    st.sampled_from(["data", "da/ta", "a/../b", "../c", "./d", "download/x", "%41", "/", "e/", "?f#g", "h\\i"]),
    st.text("aÄ %.:~+?#&;@\\\u200b日/", min_size=1, max_size=8),
).filter(lambda text: text not in (".", ".."))


@st.composite
def segments(draw: st.DrawFn, text: str) -> str:
    """Return a text percent-encoded as one path segment, with more characters encoded than required."""
    mask = draw(st.sampled_from([0, 0, 1, 0b10101, -1]))
    pieces = re.findall("%..|.", quote(text, safe=""))
    return "".join(
        f"%{ord(one):02x}" if mask >> place & 1 and len(one) == 1 else one for place, one in enumerate(pieces)
    )


def spellings(base: str, written: str) -> Iterator[str]:
    """Yield a download URL with every spelling of its host, with dot segments, and with queries and fragments."""
    for host, step, tail in product([base, *HOSTS[base]], STEPS, TAILS):
        yield f"{host}{step}{written}{tail}"


@settings(max_examples=150)
@given(data=st.data(), base=st.sampled_from(BASES), collection=PARTS, item=st.none() | PARTS, key=KEYS)
def test_every_spelling_of_a_download_address_is_the_stored_href(
    data: st.DataObject, base: str, collection: str, item: str | None, key: str
) -> None:
    """Spelling of the host, dot segments, escapes, query, fragment and tokens do not matter."""
    above = ["collections", collection, *(() if item is None else ("items", item))]
    restoring = StoredHrefs(Addresses((base,)), "/" + "/".join(above), {"assets": {key: {"href": "s3://b/k"}}})
    written = "".join(f"/{data.draw(segments(name))}" for name in [*above, "download", key])
    for href in spellings(base, written):
        assert restoring.href("other", href) == ("s3://b/k", key), href


@settings(max_examples=100)
@given(data=st.data(), base=st.sampled_from(BASES), collection=PARTS, item=st.none() | PARTS, key=KEYS)
def test_every_spelling_of_an_address_of_no_asset_is_refused(
    data: st.DataObject, base: str, collection: str, item: str | None, key: str
) -> None:
    """Every spelling of a download URL of an asset that the document does not have is refused."""
    restoring = StoredHrefs(Addresses((base,)), "/collections/c/items/i", {"assets": {"known": {"href": "s3://b/k"}}})
    names = ["collections", collection, *(() if item is None else ("items", item)), "download", key]
    written = "".join(f"/{data.draw(segments(name))}" for name in names)
    for href in spellings(base, written):
        with pytest.raises(BadDocument, match="URL of this server"):
            restoring.href("other", href)
