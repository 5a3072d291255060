"""Archived objects in a store that speaks Amazon's calls for them: brought back once, for whoever asks."""

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
    """One object in Glacier: archived, being restored after POST ?restore, there once the tape has been wound."""

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
        """Say nothing."""


@pytest.fixture
def tape() -> Iterator[str]:
    """Run the store; give its address."""
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


class Consents:
    """Lets everybody download, counts what is charged and keeps what is told."""

    def __init__(self) -> None:
        self.charged = 0
        self.told: list[str] = []

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("test")

    @hookimpl
    def charge(self) -> None:
        self.charged += 1

    @hookimpl
    def order_changed(self, asset: Any, order: Order) -> None:
        self.told.append(f"{asset.key} {order.status}")


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
def policy() -> Consents:
    return Consents()


@pytest.fixture
def client(plug: Plug, publish: Publish, tape: str, policy: Consents) -> Any:
    publish(
        an_item(assets={"data": {"href": "s3://archive/a.tif", "type": "image/tiff"}}),
        an_item("zarr", assets={"z": {"href": "s3://archive/z", "type": "application/vnd+zarr"}}),
    )
    return plug(policy, store(tape, restore={"tier": "Bulk", "days": 3}))


def test_who_asks_for_archived_data_orders_them(client: Any) -> None:
    """GET is 202 with how it stands, where to look, and when to come again; the store is asked to bring the data."""
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


def test_asking_again_orders_nothing_more(client: Any) -> None:
    """While the data are on their way, whoever asks is told so, by redirect or by stream."""
    assert [client.get(url).status_code for url in (HERE, HERE, f"{HERE}?delivery=stream")] == [202] * 3
    assert len(Tape.asked) == 1


def test_many_at_once_order_once(client: Any) -> None:
    """Who asks at the same moment as others is told the same, and the store restores once."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.application.test_client().get(HERE), range(8)))
    assert {(answer.status_code, answer.json["order:status"]) for answer in answers} == {(202, "shipping")}
    assert Tape.state == "restoring"


def test_head_and_status_order_nothing(client: Any) -> None:
    """Looking costs nothing: HEAD and the order's address say how it stands, and leave the tape where it is."""
    head = client.head(HERE)
    assert (head.status_code, head.headers["Location"]) == (202, f"http://localhost{STATUS}")
    status = client.get(STATUS)
    assert (status.status_code, status.json["order:status"]) == (200, "orderable")
    assert Tape.asked == []


def test_once_there_they_are_delivered(client: Any, policy: Consents) -> None:
    """The order's address tells when; from then on it is a download like any other, and charged as one, once."""
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
    assert policy.told == ["data shipping", "data shipping", "data succeeded"]


def test_a_file_of_a_directory_has_an_order_of_its_own(client: Any) -> None:
    """Below a directory asset, the file that was asked for is ordered, and its order has an address."""
    base = "/collections/collection/items/zarr"
    answer = client.get(f"{base}/download/z/.zarray")
    assert answer.headers["Location"] == f"http://localhost{base}/orders/z/.zarray"
    assert Tape.asked == ["/archive/z/.zarray"]
    assert client.get(f"{base}/orders/z/.zarray").json["order:status"] == "shipping"
    assert client.get(f"{base}/orders/z/../a.tif").status_code == 404


def test_an_archive_orders_all_that_is_offline(client: Any, publish: Publish) -> None:
    """Nobody waits for one file after the other: all that a ZIP needs is ordered at once."""
    publish(an_item("two", assets={key: {"href": f"s3://archive/{key}.tif"} for key in "ab"}))
    path = "/collections/collection/items/two/download.zip"
    assert (client.head(path).status_code, Tape.asked) == (202, [])
    answer = client.get(path)
    assert (answer.status_code, answer.json["order:status"]) == (202, "shipping")
    assert Tape.asked == ["/archive/a.tif", "/archive/b.tif"]


def test_collections_have_orders_too(client: Any, publish: Publish) -> None:
    """An asset of a collection itself goes the same way."""
    publish(a_collection("tapes", assets={"index": {"href": "s3://archive/index"}}))
    assert (
        client.get("/collections/tapes/download/index").headers["Location"].endswith("/collections/tapes/orders/index")
    )
    assert client.get("/collections/tapes/orders/index").json["order:status"] == "shipping"


def test_instant_retrieval_is_online(client: Any) -> None:
    """A storage class that answers at once is not offline, whatever its name."""
    Tape.storage_class = "GLACIER_IR"
    assert client.get(HERE).status_code == 307


def test_a_store_that_cannot_restore_just_now_is_503(client: Any) -> None:
    """What the store refuses is told as such, and the next who asks tries anew."""
    Tape.refusal = (503, "GlacierExpeditedRetrievalNotAvailable")
    answer = client.get(HERE)
    assert (answer.status_code, answer.json["code"]) == (503, "Unavailable")
    Tape.refusal = None
    assert client.get(HERE).status_code == 202


def test_without_the_setting_nothing_is_restored(plug: Plug, publish: Publish, tape: str) -> None:
    """Bringing data back costs money: where the operator has not said how, the answer is 503 and says why."""
    publish(an_item(assets={"data": {"href": "s3://archive/a.tif"}}))
    answer = plug(Consents(), store(tape)).get(HERE)
    assert (answer.status_code, answer.json["code"]) == (503, "Offline")
    assert Tape.asked == []


def test_who_may_not_download_may_not_look(plug: Plug, publish: Publish, tape: str) -> None:
    """An order is refused and hidden as its asset is, and a refusal orders nothing."""
    publish(an_item(assets={"data": {"href": "s3://archive/a.tif"}}))

    class Hides:
        @hookimpl
        def restrict(self, of: str) -> bool | None:
            return False if of == "items" else None

    stores = store(tape, restore={})
    refusing, hiding = plug(stores), plug(Consents(), Hides(), stores)
    assert [refusing.get(url).status_code for url in (HERE, STATUS)] == [401, 401]
    assert [hiding.get(url).status_code for url in (HERE, STATUS)] == [404, 404]
    assert hiding.get(STATUS).json["code"] == hiding.get(STATUS.replace("/item/", "/none/")).json["code"]
    assert Tape.asked == []


def test_a_plugin_that_has_ordered_already_is_believed(plug: Plug, publish: Publish) -> None:
    """Offline without more means that the data are ordered: nobody else is asked to do it."""
    publish(an_item())

    class Silo:
        @hookimpl
        def resolve(self) -> None:
            raise Offline

    answer = plug(Consents(), Silo()).get(HERE)
    assert (answer.status_code, answer.json["order:status"]) == (202, "ordered")


# --- Those who wait --------------------------------------------------------------------------------------------------


class Somebody:
    """Knows who asks by a header."""

    @hookimpl
    def authenticate(self, request: Any) -> Principal | None:
        name = request.credentials("Bearer")
        return Principal(name, scheme="test") if name else None


@pytest.fixture
def waiting(plug: Plug, publish: Publish, tape: str, policy: Consents) -> Any:
    """Have two people ask for one asset."""
    publish(an_item(assets={"data": {"href": "s3://archive/a.tif"}, "other": {"href": "s3://archive/b.tif"}}))
    client = plug(Somebody(), policy, store(tape, restore={}), orders := create_plugin({}))
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


def test_an_item_tells_how_it_stands(waiting: Any, policy: Consents) -> None:
    """``order:status`` stands at the asset that is waited for and changes with it, and so does the item's ETag."""
    coming = item(waiting)
    assert coming.json["assets"]["data"]["order:status"] == coming.json["properties"]["order:status"] == "shipping"
    assert "order:status" not in coming.json["assets"]["other"]
    assert EXTENSION in coming.json["stac_extensions"]
    Tape.state = "there"
    waiting.get(STATUS)
    there = item(waiting)
    assert there.json["assets"]["data"]["order:status"] == there.json["properties"]["order:status"] == "succeeded"
    assert there.headers["ETag"] != coming.headers["ETag"]


def test_what_nobody_in_particular_waits_for_is_looked_after_too(waiting: Any, policy: Consents) -> None:
    """Open data that were ordered without credentials show in their item, and whoever wants to be notified is."""
    waiting.get(HERE.replace("/data", "/other"))
    assert item(waiting).json["assets"]["other"]["order:status"] == "shipping"
    waiting.get(HERE)  # for which others wait already
    assert [line.rpartition("  ")[2] for line in run(waiting, "list").output.splitlines()] == ["ann, bob", "anonymous"]
    assert run(waiting, "check").output == ""
    assert len(run(waiting, "list").output.splitlines()) == 2
    Tape.state = "there"
    assert "ready: collection/item/other  anonymous\n" in run(waiting, "check").output
    assert "other succeeded" in policy.told


def test_a_check_goes_on_behind_what_has_no_store(waiting: Any, publish: Publish, storage: Storage) -> None:
    """What nobody can find any more does not keep the others from being looked at."""
    waiting.get(HERE.replace("/data", "/other"))
    with storage.transaction() as statements:
        statements.rows("DELETE FROM items")
    publish(an_item(assets={"data": {"href": "s3://closed/a.tif"}, "other": {"href": "s3://archive/b.tif"}}))
    Tape.state = "there"
    checked = run(waiting, "check")
    assert checked.stderr.startswith("not known: collection/item/data: ")
    assert checked.stdout == "ready: collection/item/other  anonymous\n"


def test_a_check_names_what_is_there_and_tells_all_plugins(waiting: Any, policy: Consents) -> None:
    """Nobody need ask again and again: a command looks, and whoever wants to be notified is."""
    listed = run(waiting, "list").output
    assert listed.rstrip().endswith("collection/item/data  ann, bob")
    assert run(waiting, "check").output == ""
    Tape.state = "there"
    assert run(waiting, "check").output == "ready: collection/item/data  ann, bob\n"
    assert policy.told[-1] == "data succeeded"
    assert run(waiting, "list").output == run(waiting, "check").output == ""


def test_an_order_of_what_has_gone_is_forgotten(waiting: Any, storage: Storage) -> None:
    """What is not in the catalogue any more is waited for no more."""
    with storage.transaction() as statements:
        statements.rows("DELETE FROM items")
    assert run(waiting, "check").stderr == "gone: collection/item/data\n"
    assert run(waiting, "list").output == ""


def test_a_store_that_is_away_is_asked_again(waiting: Any) -> None:
    """What cannot be seen now is looked at by the next check."""
    Tape.state = "away"
    assert run(waiting, "check").stderr.startswith("not known: collection/item/data: ")
    assert "data" in run(waiting, "list").output


@pytest.mark.parametrize(
    "restore", ["Bulk", {"tier": "Fast"}, {"days": 0}, {"days": 1.5}, {"days": True}, {"tier": "Bulk", "speed": 1}]
)
def test_wrong_settings_stop_the_start(restore: Any) -> None:
    """How to restore is said right, or not at all."""
    with pytest.raises(SettingError, match="/tape/restore"):
        store("http://127.0.0.1:9", restore=restore)
