"""Caches keep their bounds for any requests from any number of threads."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import zstandard

from stacflask.catalog.cql2.values.sql import constant
from stacflask.catalog.documents import codec
from stacflask.catalog.documents.codec import Codec
from stacflask.catalog.search import statement_cache
from stacflask.catalog.search.statement_cache import MAX_STATEMENTS, StatementCache
from stacflask.errors import StacflaskError

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "decisions" / "0008-caches.md").read_text()
CACHE = re.compile(
    r"\blru_cache\(|@cache\b|\bcached\(|OrderedDict\(|\b(?:LRU|TTL|FIFO|TLRU)Cache\(|threading\.local|\bdeque\("
    r"|_known: dict"
)
NO_CACHES = {
    *("stacflask/bulkhead.py", "stacflask/tracing.py", "stacflask/api/parameters/fields.py"),
    "plugins/audit/writer.py",
}
"""Modules that use such a structure for work in progress or for one request, and not as a cache."""
CACHING = sorted(
    path
    for folder in ("stacflask", "plugins")
    for file in (ROOT / folder).rglob("*.py")
    if CACHE.search(file.read_text()) and (path := file.relative_to(ROOT).as_posix()) not in NO_CACHES
)


@pytest.mark.parametrize("path", CACHING)
def test_each_module_with_a_cache_is_in_the_table(path: str) -> None:
    """The table of decision 8 has the bound of each cache."""
    assert f"`{path.removeprefix('stacflask/')}`" in TABLE or f"`{path}`" in TABLE or "/server/" in path


@pytest.mark.parametrize("path", CACHING)
def test_every_cache_has_a_bound(path: str) -> None:
    """No function caches results for an unlimited number of arguments."""
    assert not re.search(r"maxsize=None|@cache\n(?:@.*\n)*def \w+\([^)]", (ROOT / path).read_text())


def body_of(place: int) -> bytes:
    return f"body {place}".encode() * 9


def frames(number: int) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Return dictionaries by id, and a frame compressed with each."""
    samples: list[bytes | bytearray | memoryview[int]] = [
        f'{{"id":"item-{place}","title":"sample {place % 7}"}}'.encode() * 4 for place in range(300)
    ]
    trained = zstandard.train_dictionary(4096, samples).as_bytes()
    ids = [1000 + place for place in range(number)]
    dictionaries = {place: trained[:4] + place.to_bytes(4, "little") + trained[8:] for place in ids}
    made = {
        place: zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(data)).compress(body_of(place))
        for place, data in dictionaries.items()
    }
    return dictionaries, made


def in_threads(work: Callable[[], None], number: int = 8) -> None:
    """Run ``work`` in several threads, and raise the first exception."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_bodies_are_correct_while_decompressors_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more dictionaries than the cache keeps, and many threads, each body is decompressed correctly."""
    monkeypatch.setattr(codec, "DECOMPRESSOR_POOLS", 3)
    monkeypatch.setattr(codec, "COMPRESSOR_POOLS", 2)
    monkeypatch.setattr(codec, "CACHED_DICTIONARIES", 5)
    dictionaries, made = frames(12)
    shared = Codec(dictionaries.__getitem__)

    def work() -> None:
        for _ in range(20):
            for place, frame in made.items():
                body = body_of(place)
                assert shared.decompress(frame) == body
                assert shared.decompress(shared.compress(body, place)) == body

    in_threads(work)


def test_a_damaged_body_does_not_affect_later_ones() -> None:
    """After a frame that cannot be read, other frames can."""
    dictionaries, made = frames(1)
    shared = Codec(dictionaries.__getitem__)
    (body,) = made.values()
    with pytest.raises(StacflaskError, match="damaged"):
        shared.decompress(body[:-3])
    assert shared.decompress(body) == body_of(1000)


def test_unusual_shapes_evict_no_common_ones() -> None:
    """Hundreds of shapes that are used once, by many threads, evict no shape that is used repeatedly."""
    cache = StatementCache()
    built: list[str] = []

    def use(shape: str) -> None:
        def build() -> list[sa.Select[tuple[int]]]:
            built.append(shape)
            return [sa.select(sa.literal(1))]

        cache.get_or_build((shape,), build, prepared=False)

    common = [f"usual {number}" for number in range(100)]
    for _ in range(2):
        for shape in common:
            use(shape)

    def work() -> None:
        for number in range(3 * MAX_STATEMENTS):
            use(f"odd {threading.get_ident()} {number}")

    in_threads(work, 4)
    built.clear()
    for shape in common:
        use(shape)
    assert built == []
    assert len(cache) <= 2 * MAX_STATEMENTS
    assert statement_cache.MAX_STATEMENTS == MAX_STATEMENTS


def test_long_names_are_not_cached() -> None:
    """Names of any length are valid, and only short ones are cached."""
    assert constant("a" * 100) is constant("a" * 100)
    assert constant("a" * 100_000) is not constant("a" * 100_000)
