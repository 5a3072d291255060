"""Archived objects in a store with Amazon's restore requests: orders, states and notifications."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from plugins import s3
from plugins.orders import create_plugin
from stacflask import Decision, Offline, Order, Principal, SettingError, Storage, hookimpl
from stacflask.api.documents.order_status import EXTENSION
from stacflask.testing import Plug, Publish, a_collection, an_item

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "/collections/collection/items/item/download/data"
STATUS = "/collections/collection/items/item/orders/data"
DATA = b"from the tape"


class Tape(BaseHTTPRequestHandler):
    """A store with one object in Glacier: archived, being restored after POST ?restore, then online."""

    protocol_version = "HTTP/1.1"
    state: ClassVar[str] = "archived"
    storage_class: ClassVar[str] = "GLACIER"
    asked: ClassVar[list[str]] = []
    bodies: ClassVar[list[str]] = []
    refusal: ClassVar[tuple[int, str] | None] = None
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_HEAD(self) -> None:
        self._found(b"")

    def do_GET(self) -> None:
        first, last = map(int, re.findall(r"\d+", self.headers.get("Range", "0-")) or (0, 0))
        part = DATA[first : last + 1]
        self._found(part, 206, {"Content-Range": f"bytes {first}-{last}/{len(DATA)}"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Tape.lock:
            Tape.bodies.append(body.decode())
            Tape.asked.append(self.path.partition("?")[0])
            assert "restore" in parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            assert self.headers["Content-MD5"] == base64.b64encode(hashlib.md5(body).digest()).decode()
            assert "X-Amz-Signature=" in self.path
            if Tape.refusal:
                self._error(*Tape.refusal)
            elif Tape.state == "archived":
                Tape.state = "restoring"
                self._answer(202)
            else:
                self._error(409, "RestoreAlreadyInProgress")

    def _found(self, body: bytes, status: int = 200, more: dict[str, str] | None = None) -> None:
        if Tape.state == "away":
            self._answer(500)
            return
        restore = {
            "archived": {},
            "restoring": {"x-amz-restore": 'ongoing-request="true"'},
            "there": {"x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 23 Dec 2050 00:00:00 GMT"'},
        }[Tape.state]
        headers = {
            "Content-Length": str(len(body) or len(DATA)),
            "ETag": '"tape"',
            "Last-Modified": "Wed, 01 May 2024 12:00:00 GMT",
            "x-amz-storage-class": Tape.storage_class,
            **restore,
            **(more or {}),
        }
        self._answer(status, body, headers)

    def _error(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self._answer(status, body, {"Content-Type": "application/xml", "Content-Length": str(len(body))})

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def tape() -> Iterator[str]:
    """Run the store, and yield its URL."""
    Tape.state, Tape.storage_class, Tape.refusal = "archived", "GLACIER", None
    Tape.asked, Tape.bodies = [], []
    with serving() as url:
        yield url


@contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Tape) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class AllowsAll:
    """Allows every download, counts charges and keeps notifications."""

    def __init__(self) -> None:
        self.charged = 0
        self.notified: list[str] = []

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("test")

    @hookimpl
    def charge(self) -> None:
        self.charged += 1

    @hookimpl
    def order_changed(self, asset: Any, order: Order) -> None:
        self.notified.append(f"{asset.key} {order.status}")


def store(endpoint: str, **settings: Any) -> Any:
    described = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "access_key": "id",
        "secret_key": "secret",
        "buckets": ["archive"],
        "verify_ttl": 0,
        **settings,
    }
    return s3.create_plugin({"STACFLASK_S3_STORES": json.dumps({"tape": described})})


@pytest.fixture
def policy() -> AllowsAll:
    return AllowsAll()


@pytest.fixture
def client(plug: Plug, publish: Publish, tape: str, policy: AllowsAll) -> Any:
    publish(
        an_item(assets={"data": {"href": "s3://archive/a.tif", "type": "image/tiff"}}),
        an_item("zarr", assets={"z": {"href": "s3://archive/z", "type": "application/vnd+zarr"}}),
    )
    return plug(policy, store(tape, restore={"tier": "Bulk", "days": 3}))


def test_a_download_of_archived_data_orders_them(client: Any) -> None:
    """GET returns 202 with state, URL of the order and Retry-After; the store gets a restore request."""
    answer = client.get(HERE)
    assert (answer.status_code, answer.json["order:status"], answer.json["code"]) == (202, "shipping", "Offline")
    assert answer.headers["Retry-After"] == "3600"
    assert answer.headers["Location"] == f"http://localhost{STATUS}"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert {link["rel"]: link["href"] for link in answer.json["links"]} == {
        "status": f"http://localhost{STATUS}",
        "data": f"http://localhost{HERE}",
    }
    assert Tape.asked == ["/archive/a.tif"]
    assert "<Days>3</Days>" in Tape.bodies[0]
    assert "<Tier>Bulk</Tier>" in Tape.bodies[0]


def test_further_requests_order_nothing_more(client: Any) -> None:
    """While the data are restored, further requests return 202, by redirect or by stream."""
    assert [client.get(url).status_code for url in (HERE, HERE, f"{HERE}?delivery=stream")] == [202] * 3
    assert len(Tape.asked) == 1


def test_concurrent_requests_order_once(client: Any) -> None:
    """Concurrent requests return 202, and the store restores once."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.application.test_client().get(HERE), range(8)))
    assert {(answer.status_code, answer.json["order:status"]) for answer in answers} == {(202, "shipping")}
    assert Tape.state == "restoring"


def test_head_and_status_order_nothing(client: Any) -> None:
    """HEAD and the URL of the order return the state, and send no restore request."""
    head = client.head(HERE)
    assert (head.status_code, head.headers["Location"]) == (202, f"http://localhost{STATUS}")
    status = client.get(STATUS)
    assert (status.status_code, status.json["order:status"]) == (200, "orderable")
    assert Tape.asked == []


def test_restored_data_are_delivered(client: Any, policy: AllowsAll) -> None:
    """The URL of the order reports when the data are online; then a download is delivered and charged once."""
    client.get(HERE)
    assert client.get(STATUS).json["order:status"] == "shipping"
    assert policy.charged == 0
    Tape.state = "there"
    status = client.get(STATUS)
    assert (status.json["order:status"], status.json["code"], "Retry-After" in status.headers) == (
        "succeeded",
        "Online",
        False,
    )
    assert client.get(HERE).status_code == 307
    assert client.get(f"{HERE}?delivery=stream").data == DATA
    assert policy.charged == 2
    assert policy.notified == ["data shipping", "data shipping", "data succeeded"]


def test_a_file_of_a_directory_has_its_own_order(client: Any) -> None:
    """In a directory asset, only the requested file is ordered, and its order has a URL."""
    base = "/collections/collection/items/zarr"
    answer = client.get(f"{base}/download/z/.zarray")
    assert answer.headers["Location"] == f"http://localhost{base}/orders/z/.zarray"
    assert Tape.asked == ["/archive/z/.zarray"]
    assert client.get(f"{base}/orders/z/.zarray").json["order:status"] == "shipping"
    assert client.get(f"{base}/orders/z/../a.tif").status_code == 404


def test_an_archive_orders_all_that_is_offline(client: Any, publish: Publish) -> None:
    """All offline files of a ZIP are ordered at once."""
    publish(an_item("two", assets={key: {"href": f"s3://archive/{key}.tif"} for key in "ab"}))
    path = "/collections/collection/items/two/download.zip"
    assert (client.head(path).status_code, Tape.asked) == (202, [])
    answer = client.get(path)
    assert (answer.status_code, answer.json["order:status"]) == (202, "shipping")
    assert Tape.asked == ["/archive/a.tif", "/archive/b.tif"]


def test_collections_have_orders_too(client: Any, publish: Publish) -> None:
    """An asset of a collection is ordered in the same way."""
    publish(a_collection("tapes", assets={"index": {"href": "s3://archive/index"}}))
    assert (
        client.get("/collections/tapes/download/index").headers["Location"].endswith("/collections/tapes/orders/index")
    )
    assert client.get("/collections/tapes/orders/index").json["order:status"] == "shipping"


def test_instant_retrieval_is_online(client: Any) -> None:
    """A storage class with instant retrieval is not offline."""
    Tape.storage_class = "GLACIER_IR"
    assert client.get(HERE).status_code == 307


def test_a_failed_restore_request_returns_503(client: Any) -> None:
    """If the store refuses the restore, the response is 503, and the next request tries again."""
    Tape.refusal = (503, "GlacierExpeditedRetrievalNotAvailable")
    answer = client.get(HERE)
    assert (answer.status_code, answer.json["code"]) == (503, "Unavailable")
    Tape.refusal = None
    assert client.get(HERE).status_code == 202


def test_without_the_setting_nothing_is_restored(plug: Plug, publish: Publish, tape: str) -> None:
    """A restore costs money: without the setting the response is 503 with the reason."""
    publish(an_item(assets={"data": {"href": "s3://archive/a.tif"}}))
    answer = plug(AllowsAll(), store(tape)).get(HERE)
    assert (answer.status_code, answer.json["code"]) == (503, "Offline")
    assert Tape.asked == []


def test_orders_are_denied_as_their_assets(plug: Plug, publish: Publish, tape: str) -> None:
    """An order is denied and hidden as its asset is, and a denial orders nothing."""
    publish(an_item(assets={"data": {"href": "s3://archive/a.tif"}}))

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> bool | None:
            return False if of == "items" else None

    stores = store(tape, restore={})
    refusing, hiding = plug(stores), plug(AllowsAll(), Hides(), stores)
    assert [refusing.get(url).status_code for url in (HERE, STATUS)] == [401, 401]
    assert [hiding.get(url).status_code for url in (HERE, STATUS)] == [404, 404]
    assert hiding.get(STATUS).json["code"] == hiding.get(STATUS.replace("/item/", "/none/")).json["code"]
    assert Tape.asked == []


def test_an_offline_error_of_a_plugin_means_ordered(plug: Plug, publish: Publish) -> None:
    """``Offline`` without an order means that the data are ordered; no other plugin is called to order them."""
    publish(an_item())

    class Silo:
        @hookimpl
        def resolve(self) -> None:
            raise Offline

    answer = plug(AllowsAll(), Silo()).get(HERE)
    assert (answer.status_code, answer.json["order:status"]) == (202, "ordered")


# --- Those who wait --------------------------------------------------------------------------------------------------


class Authenticates:
    """Authenticates by a header with a name."""

    @hookimpl
    def authenticate(self, request: Any) -> Principal | None:
        name = request.credentials("Bearer")
        return Principal(name, scheme="test") if name else None


@pytest.fixture
def waiting(plug: Plug, publish: Publish, tape: str, policy: AllowsAll) -> Any:
    """Return a client after two principals have ordered one asset."""
    publish(an_item(assets={"data": {"href": "s3://archive/a.tif"}, "other": {"href": "s3://archive/b.tif"}}))
    client = plug(Authenticates(), policy, store(tape, restore={}), orders := create_plugin({}))
    client.orders = orders  # type: ignore[attr-defined]
    for name in ("ann", "bob", "ann"):
        client.get(HERE, headers={"Authorization": f"Bearer {name}"})
    return client


def run(client: Any, *arguments: str) -> Result:
    return CliRunner().invoke(client.orders.extend_cli()[0], arguments)


def item(client: Any) -> Any:
    answer = client.get("/collections/collection/items/item")
    assert answer.status_code == 200
    return answer


def test_an_item_shows_the_state_of_orders(waiting: Any, policy: AllowsAll) -> None:
    """The ordered asset has ``order:status``, which changes with the order, as does the ETag of the item."""
    coming = item(waiting)
    assert coming.json["assets"]["data"]["order:status"] == coming.json["properties"]["order:status"] == "shipping"
    assert "order:status" not in coming.json["assets"]["other"]
    assert EXTENSION in coming.json["stac_extensions"]
    Tape.state = "there"
    waiting.get(STATUS)
    there = item(waiting)
    assert there.json["assets"]["data"]["order:status"] == there.json["properties"]["order:status"] == "succeeded"
    assert there.headers["ETag"] != coming.headers["ETag"]


def test_anonymous_orders_are_checked(waiting: Any, policy: AllowsAll) -> None:
    """Orders without credentials are shown in their item, and plugins are notified of them."""
    waiting.get(HERE.replace("/data", "/other"))
    assert item(waiting).json["assets"]["other"]["order:status"] == "shipping"
    waiting.get(HERE)  # for which others wait already
    assert [line.rpartition("  ")[2] for line in run(waiting, "list").output.splitlines()] == ["ann, bob", "anonymous"]
    assert run(waiting, "check").output == ""
    assert len(run(waiting, "list").output.splitlines()) == 2
    Tape.state = "there"
    assert "ready: collection/item/other  anonymous\n" in run(waiting, "check").output
    assert "other succeeded" in policy.notified


def test_a_check_continues_after_an_unresolved_asset(waiting: Any, publish: Publish, storage: Storage) -> None:
    """An asset that no plugin resolves does not stop the check of the others."""
    waiting.get(HERE.replace("/data", "/other"))
    with storage.transaction() as statements:
        statements.rows("DELETE FROM items")
    publish(an_item(assets={"data": {"href": "s3://closed/a.tif"}, "other": {"href": "s3://archive/b.tif"}}))
    Tape.state = "there"
    checked = run(waiting, "check")
    assert checked.stderr.startswith("unknown: collection/item/data: ")
    assert checked.stdout == "ready: collection/item/other  anonymous\n"


def test_a_check_reports_online_data_and_notifies_plugins(waiting: Any, policy: AllowsAll) -> None:
    """The command checks all orders, prints the data that are online, and plugins are notified."""
    listed = run(waiting, "list").output
    assert listed.rstrip().endswith("collection/item/data  ann, bob")
    assert run(waiting, "check").output == ""
    Tape.state = "there"
    assert run(waiting, "check").output == "ready: collection/item/data  ann, bob\n"
    assert policy.notified[-1] == "data succeeded"
    assert run(waiting, "list").output == run(waiting, "check").output == ""


def test_orders_of_deleted_items_are_deleted(waiting: Any, storage: Storage) -> None:
    """An order of an asset that is no longer in the catalogue is deleted."""
    with storage.transaction() as statements:
        statements.rows("DELETE FROM items")
    assert run(waiting, "check").stderr == "gone: collection/item/data\n"
    assert run(waiting, "list").output == ""


def test_orders_stay_while_the_store_is_unavailable(waiting: Any) -> None:
    """An order that cannot be checked now is checked the next time."""
    Tape.state = "away"
    assert run(waiting, "check").stderr.startswith("unknown: collection/item/data: ")
    assert "data" in run(waiting, "list").output


@pytest.mark.parametrize(
    "restore", ["Bulk", {"tier": "Fast"}, {"days": 0}, {"days": 1.5}, {"days": True}, {"tier": "Bulk", "speed": 1}]
)
def test_a_wrong_setting_is_named(restore: Any) -> None:
    """A wrong restore setting prevents the start."""
    with pytest.raises(SettingError, match="/tape/restore"):
        store("http://127.0.0.1:9", restore=restore)
