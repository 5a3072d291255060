"""File names of downloads, and the Content-Disposition header."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacflask import Asset, content_disposition, filename_of
from stacflask.disposition import download_name, local_path

FORM = re.compile(r"attachment; filename=\"([ -~]*)\"; filename\*=UTF-8''([A-Za-z0-9_.~%-]+)")


def asset(href: str, key: str = "data", **properties: object) -> Asset:
    return Asset("c", "i", key, href, properties=properties)


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("s3://bucket/a/B04.tif", "B04.tif"),
        ("s3://bucket/a/100%25 wet.tif", "100%25 wet.tif"),
        ("s3://bucket/a/what?.tif", "what?.tif"),
        ("https://host/a/100%25%20wet.tif?token=1#part", "100% wet.tif"),
        ("https://host/a/b%2Fc.tif", "c.tif"),
        ("file:///data/m%C3%BCll.tif", "müll.tif"),
        ("tape:/vault/7/scene.zip", "scene.zip"),
        ("s3://bucket/scene.zarr/", "data"),
        ("s3://bucket", "data"),
        ("https://host", "data"),
        ("disk:a.tif", "a.tif"),
        ("disk:2024/a.tif", "a.tif"),
        ("/vsis3/bucket/a:b.tif", "a:b.tif"),
        ("https://[broken/a.tif", "data"),
        ("s3://bucket/..", "data"),
        ("s3://bucket/a\r\nSet-Cookie: b.tif", "aSet-Cookie: b.tif"),
        ("s3://bucket/photo\u202efit.exe", "photofit.exe"),
        ('s3://bucket/a"b\\c.tif', "a_b_c.tif"),
    ],
)
def test_name_of_an_asset(href: str, name: str) -> None:
    """The name is the last part of the href, percent-decoded for web URLs, without unsafe characters."""
    assert filename_of(asset(href)) == name


def test_local_path_takes_precedence() -> None:
    """The name in ``file:local_path`` takes precedence over the name in the store."""
    assert filename_of(asset("s3://bucket/0a1b2c", **{"file:local_path": "S2/GRANULE/B04.jp2"})) == "B04.jp2"


@pytest.mark.parametrize(
    ("local", "path"),
    [
        ("B04.jp2", "c/i/B04.jp2"),
        ("i/B04.jp2", "c/i/B04.jp2"),
        ("c/i/a/B04.jp2", "c/i/a/B04.jp2"),
        ("i", "c/i/i"),
        ("other/i/B04.jp2", "c/i/other/i/B04.jp2"),
    ],
)
def test_a_local_path_has_no_repetition(local: str, path: str) -> None:
    """The collection and the item occur once in the path of a file, even if the local path has them."""
    assert local_path(asset("s3://bucket/x", **{"file:local_path": local})) == path


def test_an_asset_without_any_name() -> None:
    """If neither href nor key has printable characters, there is a default name."""
    assert filename_of(asset("s3://bucket/", key="\n")) == "download"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("B04.tif", "attachment; filename=\"B04.tif\"; filename*=UTF-8''B04.tif"),
        ("müll 1.tif", "attachment; filename=\"mull 1.tif\"; filename*=UTF-8''m%C3%BCll%201.tif"),
        ("数据.tif", "attachment; filename=\"__.tif\"; filename*=UTF-8''%E6%95%B0%E6%8D%AE.tif"),
        ('a"; x="b', "attachment; filename=\"a_; x=_b\"; filename*=UTF-8''a_%3B%20x%3D_b"),
        ("＂℀.tif", "attachment; filename=\"_a_c.tif\"; filename*=UTF-8''%EF%BC%82%E2%84%80.tif"),  # noqa: RUF001
        ("50%.tif", "attachment; filename=\"50_.tif\"; filename*=UTF-8''50%25.tif"),
        ("../../etc/passwd", "attachment; filename=\".._.._etc_passwd\"; filename*=UTF-8''.._.._etc_passwd"),
        ("\r\n", "attachment; filename=\"download\"; filename*=UTF-8''download"),
    ],
)
def test_header(name: str, value: str) -> None:
    """The header has both forms of the name, each in its own character set."""
    assert content_disposition(name) == value


@given(st.text())
def test_header_keeps_its_form(name: str) -> None:
    """No file name breaks the quotes, has a path, or exceeds the limit of file systems."""
    found = FORM.fullmatch(content_disposition(name))
    assert found
    for form in (found[1], unquote(found[2], errors="strict")):
        assert not set(form) & set('"\\/\r\n\0')
        assert form.strip(".")
        assert len(form.encode()) <= 255


@given(st.text(), st.text(min_size=1))
def test_name_of_any_href(href: str, key: str) -> None:
    """Every href and key has a name, and the full form in the header is this name."""
    name = filename_of(asset(href, key))
    assert name
    assert unquote(content_disposition(name).rpartition("''")[2]) == name


def test_long_names_keep_their_end() -> None:
    """A name that is too long for file systems loses its beginning, because the end has the type."""
    assert filename_of(asset("s3://bucket/" + "ü" * 300 + ".tif")).endswith("ü.tif")


@pytest.mark.parametrize(
    ("item", "key", "href", "name"),
    [
        ("scene", "visual", "s3://b/x/visual.tif", "scene_visual.tif"),
        ("scene", "visual", "s3://b/TCI.TIF", "scene_visual.TIF"),
        ("scene", "visual.tif", "s3://b/visual.tif", "scene_visual.tif"),
        ("scene", "scene_B04", "s3://b/scene_B04.tif", "scene_B04.tif"),
        ("scene", "SCENE-B04", "s3://b/x.tif", "SCENE-B04.tif"),
        ("scene", "scene", "s3://b/x.tif", "scene.tif"),
        ("scene1", "scene10", "s3://b/x.tif", "scene1_scene10.tif"),
        ("20240611_visual", "visual", "s3://b/x.tif", "20240611_visual.tif"),
        ("supervisual", "visual", "s3://b/x.tif", "supervisual_visual.tif"),
        ("scene", "data", "s3://b/x.tar.gz", "scene_data.tar.gz"),
        ("scene", "meta", "s3://b/x.geojson.gz", "scene_meta.geojson.gz"),
        ("scene", "data", "s3://b/v1.2/0a1b2c", "scene_data"),
        ("scene", "data", "s3://b/v1.2", "scene_data"),
        ("a b:c", "d/e", "s3://b/x.tif", "a_b_c_d_e.tif"),
        ("..", "...", "s3://b/x.tif", "download.tif"),
        ("München", "Straße", "s3://b/x.tif", "München_Straße.tif"),
        ("a\u202eb", 'c"d', "s3://b/x.tif", "a_b_c_d.tif"),
        (None, "data", "s3://b/x.tif", "c_data.tif"),
    ],
)
def test_names_of_single_downloads(item: str | None, key: str, href: str, name: str) -> None:
    """Names have item, asset and extension, without repetition, in characters that every file system accepts."""
    assert download_name(Asset("c", item, key, href)) == name


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        ("image/tiff; application=geotiff", "i_data.tif"),
        ("application/json", "i_data.json"),
        ("no/such", "i_data"),
        (None, "i_data"),
    ],
)
def test_extensions_of_media_types(media_type: str | None, name: str) -> None:
    """If the stored file has no extension, the name has that of the media type."""
    assert download_name(Asset("c", "i", "data", "s3://b/0a1b2c", media_type)) == name


def test_files_of_directories_keep_their_names() -> None:
    """Files in a directory keep their names, by which readers find them."""
    assert download_name(Asset("c", "i", "cube", "s3://b/cube/", path="band/0.0")) == "0.0"


@given(st.text(), st.text(), st.text())
def test_every_name_of_a_single_download_is_safe(item: str, key: str, href: str) -> None:
    """For any ids, keys and hrefs, the name is a single path segment, is short enough, and is not a hidden file."""
    name = download_name(Asset("c", item, key, f"s3://b/{href}"))
    assert name
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert len(name.encode()) <= 255
    assert name not in (".", "..")
