"""Streams with a wrong length: the client receives fewer bytes than announced, for an asset and for an archive."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import pytest
from werkzeug.serving import make_server

from stacflask.testing import an_item

Client = Any
ITEM = "/collections/collection/items/item"
PATHS = {
    "single": f"{ITEM}/download/a?delivery=stream",
    "archive": f"{ITEM}/download.zip",
    "last in archive": f"{ITEM}/download.zip?assets=b",
}
LONGER: dict[str, Callable[[], Iterator[Any]]] = {
    "by a byte": lambda: iter([b"x"]),
    "by a piece": lambda: iter([b"x" * 100]),
    "after an empty piece": lambda: iter([b"", b"x"]),
    "endless": lambda: repeat(b"x" * 100),
    "endless and empty": lambda: repeat(b""),
    "not bytes": lambda: iter(["x"]),
}


@pytest.fixture
def client(plug: Callable[..., Client], publish: Callable[..., None], store: Any, consent: Any) -> Client:
    """Return a client of an application that allows one stream at a time."""
    publish(an_item(assets={"a": {"href": "s3://b/a"}, "b": {"href": "s3://b/b"}}))
    return plug(store, consent, environ={"STACFLASK_MAX_STREAMS": "1"})


@contextmanager
def served(client: Client) -> Iterator[http.client.HTTPConnection]:
    """Serve an application to a real client."""
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()
        server.shutdown()
        serving.join()
        server.server_close()  # waits for all requests


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("surplus", LONGER.values(), ids=LONGER)
def test_a_longer_stream_is_aborted(
    client: Client, store: Any, path: str, surplus: Callable[[], Iterator[Any]]
) -> None:
    """The client receives fewer bytes than announced. The store is closed, and the stream is freed."""
    store.surplus = surplus()
    with served(client) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    assert store.closed == len(store.opened) == 1
    store.surplus = iter(())
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_shorter_stream_is_aborted(client: Client, store: Any, path: str) -> None:
    """The client receives fewer bytes than announced, and the stream is freed."""
    open_whole = store.open
    store.open = lambda first, length: open_whole(first, length - 1)
    with served(client) as connection:
        connection.request("GET", path)
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()
    store.open = open_whole
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_empty_chunks_are_skipped(client: Client, store: Any, path: str) -> None:
    """A few empty chunks at the end are no error."""
    whole = client.get(path).data
    store.surplus = iter([b"", b"", b""])
    assert client.get(path).data == whole


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_disconnected_client_ends_an_endless_stream(client: Client, store: Any, path: str) -> None:
    """If the client disconnects, the store is closed, and the stream is freed."""
    store.surplus = repeat(b"x" * 100)
    answer = client.get(path, buffered=False)
    next(iter(answer.response))
    answer.close()
    store.surplus = iter(())
    assert client.get(path).status_code == 200
