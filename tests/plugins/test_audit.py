"""The audit: what is recorded, what is not stored, and what happens if nothing can be recorded."""

import gzip
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from plugins.audit import Audit, create_plugin, recorder, settings
from plugins.audit.addresses import network
from plugins.audit.table import COLUMNS, AuditTables
from plugins.audit.writer import Segment
from stacflask import Decision, Principal, SettingError, Storage, Unavailable, hookimpl
from stacflask.testing import Plug, Publish, an_item
from tests.shelf import Shelf
from tests.waiting import waiting_for

ASSET = "/collections/collection/items/item/download/data"
STREAM = f"{ASSET}?delivery=stream"
ROW = dict[str, Any]


class Policy(Shelf):
    """Authenticates by a bearer token that is a name, denies eve, and delivers every asset."""

    @hookimpl
    def authenticate(self, request: Any) -> Principal | None:
        name = request.credentials("Bearer")
        return Principal(name, frozenset({"members", "alps"}), "test", reference=f"key of {name}") if name else None

    @hookimpl
    def authorize(self, principal: Principal) -> Decision:
        return Decision.deny("not eve", code="NotEve") if principal.id == "eve" else Decision.allow("anybody")


class DeniesEve:
    """Denies the same principal as Policy."""

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        return Decision.deny("too strict") if principal.id == "eve" else None


class Metrics:
    """Keeps the metric of lost records."""

    def __init__(self) -> None:
        self.lost = 0.0

    @hookimpl
    def metric_recorded(self, name: str, value: float) -> None:
        self.lost += value if name == "audit_lost" else 0


MakeClient = Callable[..., Any]


@pytest.fixture
def make_client(plug: Plug, publish: Publish) -> Iterator[MakeClient]:
    """Return a function that returns a client with an audit of these settings, and ``plugin`` and ``audit`` on it."""
    publish(an_item(assets={"data": {"href": "s3://bucket/data.tif", "file:size": 1000}}))
    plugins: list[Audit] = []

    def build(*others: object, **environ: str) -> Any:
        plugin = create_plugin({f"STACFLASK_AUDIT_{name.upper()}": value for name, value in environ.items()})
        client = plug(Policy(), *others, plugin)
        client.plugin, client.audit = plugin, plugin.recorder  # type: ignore[attr-defined]
        plugins.append(plugin)
        return client

    yield build
    for plugin in plugins:
        plugin.recorder.writer.close()


def get(client: Any, path: str = ASSET, name: str = "jane", **headers: str) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {name}", **headers}, buffered=True)


@pytest.fixture
def rows(storage: Storage) -> Callable[[], list[ROW]]:
    """Return a function that returns the records by time."""
    return lambda: [dict(row) for row in storage.rows("SELECT * FROM plugin_audit_events ORDER BY at")]


Rows = Callable[[], list[ROW]]

NOW = datetime.now(UTC)
NOON = datetime.combine(NOW - timedelta(days=1), time(12), UTC)


class SinceNoon(datetime):
    """A clock that started at noon yesterday, so that the date does not change during a test."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return the time."""
        return datetime.now(tz) - NOW + NOON


@pytest.fixture
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record everything on the same day."""
    monkeypatch.setattr(recorder, "datetime", SinceNoon)


@pytest.fixture
def no_table(storage: Storage) -> Iterator[None]:
    """Rename the table during the test, so that nothing can be recorded."""
    rename(storage, "plugin_audit_events", "gone")
    yield
    if storage.rows("SELECT to_regclass('gone') AS renamed")[0]["renamed"]:
        rename(storage, "gone", "plugin_audit_events")


def rename(storage: Storage, old: str, new: str) -> None:
    with storage.transaction() as statements:
        statements.rows(f"ALTER TABLE {old} RENAME TO {new}")


class UnavailableStorage:
    """Storage whose database is not available."""

    def rows(self, sql: str, /, **values: Any) -> Any:
        raise Unavailable("test")

    transaction = rows


def start_outage(client: Any) -> Any:
    """Make the audit's database unavailable, and return a function that ends the outage."""
    table = client.audit.table
    unavailable = type("Unavailable", (UnavailableStorage,), {"transaction": lambda self: self.rows("")})()
    storage, table.storage = table.storage, unavailable
    return lambda: setattr(table, "storage", storage)


# --- What is recorded ------------------------------------------------------------------------------------------------


def test_a_redirect_is_recorded(make_client: MakeClient, rows: Rows) -> None:
    """The record has time, principal, asset, deciding plugin, reason, and the announced bytes."""
    client = make_client(agent="on", address="full")
    before = datetime.now(UTC)
    response = get(client, **{"User-Agent": "test/1", "X-Request-ID": "r1"})
    assert response.status_code == 307
    client.audit.writer.flush()
    (row,) = rows()
    assert before <= row["at"] <= datetime.now(UTC)
    assert re.fullmatch("[0-9a-f]{16}", row["id"])
    assert {name: row[name] for name in ("event", "principal", "groups", "by", "reason", "code", "others")} == {
        "event": "granted",
        "principal": "jane",
        "groups": ["alps", "members"],
        "by": "Policy",
        "reason": "anybody",
        "code": None,
        "others": [],
    }
    assert (row["scheme"], row["credential"]) == ("test", "key of jane")
    assert (row["collection"], row["item"], row["asset"]) == ("collection", "item", "data")
    assert (row["delivery"], row["declared"], row["first"], row["length"]) == ("redirect", 1000, 0, 1000)
    assert (row["request"], row["method"], row["address"], row["agent"]) == ("r1", "GET", "127.0.0.1", "test/1")


def test_a_denial_is_recorded_with_all_plugins_that_denied(make_client: MakeClient, rows: Rows) -> None:
    """The record has the deciding plugin with its reason, and the other plugins that denied."""
    client = make_client(DeniesEve())
    assert get(client, name="eve").status_code == 403
    client.audit.writer.flush()
    (row,) = rows()
    assert (row["event"], row["by"], row["reason"], row["code"]) == ("refused", "Policy", "not eve", "NotEve")
    assert (row["others"], row["delivery"], row["length"]) == (["DeniesEve: too strict"], None, None)


def test_a_stream_is_recorded_twice(make_client: MakeClient, rows: Rows) -> None:
    """One record when it is granted, one when it has ended, with the bytes sent; both have the id of the grant."""
    client = make_client()
    get(client, STREAM, Range="bytes=2-5")
    client.get(STREAM).close()
    client.audit.writer.flush()
    granted, ended, _, cut = rows()
    assert (granted["event"], granted["delivery"], granted["first"], granted["length"]) == ("granted", "stream", 2, 4)
    assert (ended["event"], ended["sent"], ended["complete"], ended["id"]) == ("finished", 4, True, granted["id"])
    assert (ended["by"], ended["reason"]) == (granted["by"], granted["reason"])
    assert (cut["sent"], cut["complete"]) == (0, False)


def test_requests_without_bytes_are_not_recorded(make_client: MakeClient, rows: Rows) -> None:
    """HEAD and 304 responses are no downloads."""
    client = make_client()
    client.head(ASSET)
    assert get(client, STREAM, **{"If-None-Match": '"tag"'}).status_code == 304
    client.audit.writer.flush()
    assert rows() == []


def test_a_name_with_unstorable_characters_is_recorded(make_client: MakeClient, rows: Rows) -> None:
    """NUL and lone surrogates are replaced, so that no client avoids its record by its name."""
    client = make_client(agent="on")
    client.plugin.download_decided(_download_decision("a\0b", "c\ud800d"))
    client.audit.writer.flush()
    assert [(row["principal"], row["agent"]) for row in rows()] == [("a?b", "c?d")]


def _download_decision(principal: str, agent: str) -> Any:
    from stacflask import Asset, DownloadDecision, RequestInfo

    asset = Asset("collection", "item", "data", "s3://bucket/key")
    request_info = RequestInfo("r", "GET", "127.0.0.1", agent)
    return DownloadDecision("0" * 16, Principal(principal), asset, Decision.allow("x"), (), request_info)


# --- Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::9", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("", None),
        ("unknown", None),
    ],
)
def test_a_network_is_a_24_or_a_48(address: str, stored: str | None) -> None:
    """The network of an address is stored; of a text that is no address, nothing."""
    assert network(address) == stored


@pytest.mark.parametrize(("setting", "stored"), [("", "127.0.0.0/24"), ("off", None), ("full", "127.0.0.1")])
def test_addresses_are_stored_as_configured(
    make_client: MakeClient, rows: Rows, setting: str, stored: str | None
) -> None:
    """The network by default, the full address, or nothing. The user agent is not stored by default."""
    client = make_client(address=setting)
    get(client)
    client.audit.writer.flush()
    assert [(row["address"], row["agent"]) for row in rows()] == [(stored, None)]


@pytest.mark.usefixtures("one_day")
def test_a_hashed_address_is_the_same_for_a_day(make_client: MakeClient, rows: Rows, storage: Storage) -> None:
    """All processes use the same daily salt, so that clients can be counted; earlier salts are deleted."""
    one, other = make_client(address="hashed"), make_client(address="hashed")
    for client in (one, other):
        get(client)
        client.audit.writer.flush()
    hashed = {row["address"] for row in rows()}
    assert len(hashed) == 1
    assert re.fullmatch("[0-9a-f]{16}", hashed.pop())
    tomorrow = NOON.date() + timedelta(days=1)
    assert one.audit.table.salt(tomorrow) == other.audit.table.salt(tomorrow)
    assert [row["day"] for row in storage.rows("SELECT day FROM plugin_audit_salts")] == [tomorrow]


# --- When it cannot be recorded --------------------------------------------------------------------------------------


def test_sync_records_before_the_response(make_client: MakeClient, rows: Rows) -> None:
    """Without a queue, the record exists when the response arrives."""
    get(make_client(write="sync"))
    assert [row["event"] for row in rows()] == ["granted"]


@pytest.mark.usefixtures("no_table")
def test_sync_refuses_what_cannot_be_recorded(make_client: MakeClient) -> None:
    """With `refuse`, a download that cannot be recorded returns 503; a denied one still returns 403."""
    client = make_client(write="sync")
    response = get(client)
    assert (response.status_code, response.json["code"]) == (503, "AuditUnavailable")
    assert "Location" not in response.headers
    assert "Retry-After" in response.headers
    assert get(client, STREAM).status_code == 503
    assert get(client, name="eve").status_code == 403


@pytest.mark.usefixtures("no_table")
def test_sync_with_deliver_counts_lost_records(make_client: MakeClient) -> None:
    """With `deliver`, downloads continue and lost records are counted."""
    metrics = Metrics()
    client = make_client(metrics, write="sync", on_failure="deliver")
    assert get(client).status_code == 307
    assert get(client, STREAM).data == b"0123456789"
    assert metrics.lost == 3


def test_batched_refuses_if_the_queue_is_full(make_client: MakeClient, rows: Rows) -> None:
    """During an outage records wait until the queue is full; after it all of them are inserted."""
    client = make_client(queue="3", interval="60")
    end_outage = start_outage(client)
    assert [get(client).status_code for _ in range(4)] == [307, 307, 307, 503]
    assert not client.audit.writer.flush()
    end_outage()
    assert client.audit.writer.flush()
    assert get(client).status_code == 307
    client.audit.writer.flush()
    assert len(rows()) == 4


def test_batched_refuses_if_a_record_waits_too_long(make_client: MakeClient) -> None:
    """If a record has waited longer than the setting allows, downloads are refused."""
    client = make_client(max_wait="1", interval="60")
    end_outage = start_outage(client)
    assert get(client).status_code == 307
    client.audit.writer._waiting_since -= 1.1
    assert get(client).status_code == 503
    end_outage()
    client.audit.writer.flush()
    assert get(client).status_code == 307


def test_downloads_continue_when_the_database_is_available_again(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A download that would be refused tries the database first; if it is refused, the log has the reason."""
    client = make_client(max_wait="1", interval="60")
    end_outage = start_outage(client)
    assert get(client).status_code == 307
    client.audit.writer._waiting_since -= 1.1
    assert get(client).status_code == 503
    assert "a record has been waiting" in next(vars(line) for line in caplog.records if "refused" in line.msg)["reason"]
    end_outage()
    client.audit.writer._last_try -= 1
    assert get(client).status_code == 307


def test_batched_with_deliver_counts_lost_records(make_client: MakeClient, rows: Rows) -> None:
    """Records that do not fit in the queue are counted as lost; queued records are inserted after the outage."""
    metrics = Metrics()
    client = make_client(metrics, queue="2", interval="60", on_failure="deliver")
    end_outage = start_outage(client)
    assert [get(client).status_code for _ in range(5)] == [307] * 5
    assert metrics.lost == 3
    end_outage()
    client.audit.writer.flush()
    assert len(rows()) == 2


@pytest.mark.usefixtures("no_table")
def test_records_wait_while_the_table_is_missing(make_client: MakeClient, rows: Rows, storage: Storage) -> None:
    """A record is lost only if it is wrong itself, not if the database can store no record."""
    metrics = Metrics()
    client = make_client(metrics, queue="2", interval="60")
    assert [get(client).status_code for _ in range(3)] == [307, 307, 503]
    assert not client.audit.writer.flush()
    rename(storage, "gone", "plugin_audit_events")
    assert client.audit.writer.flush()
    assert (len(rows()), metrics.lost) == (2, 0)


def test_records_are_inserted_once_if_the_commit_is_uncertain(make_client: MakeClient, rows: Rows) -> None:
    """If the connection fails after the commit of a batch, the batch is not inserted again."""
    client = make_client(interval="60")
    insert = client.audit.table.insert

    def commit_and_fail(records: Sequence[bytes]) -> None:
        insert(records)
        raise Unavailable("test")

    client.audit.table.insert = commit_and_fail
    get(client)
    assert not client.audit.writer.flush()
    client.audit.table.insert = insert
    get(client)
    assert client.audit.writer.flush()
    assert len(rows()) == 2


def test_a_wrong_record_does_not_block_others(make_client: MakeClient, rows: Rows) -> None:
    """A record that the database cannot store is counted as lost, and the others in its batch are inserted."""
    metrics = Metrics()
    client = make_client(metrics, interval="60")
    get(client)
    client.audit.writer.put(orjson.dumps({"event": "granted", "at": "no time"}))
    get(client)
    assert client.audit.writer.flush()
    assert (len(rows()), metrics.lost) == (2, 1)


def test_the_end_of_a_process_inserts_queued_records(make_client: MakeClient, rows: Rows) -> None:
    """A process that stops inserts its queued records."""
    client = make_client(interval="60")
    get(client)
    client.audit.writer.close()
    assert len(rows()) == 1


# --- The spool -------------------------------------------------------------------------------------------------------


def kill(client: Any) -> None:
    """Release the file locks and the memory of the writer, as the end of its process does."""
    writer = client.audit.writer
    for segment in [*writer._done_segments, *([writer._segment] if writer._segment else [])]:
        os.close(segment._file)
    writer._segment, writer._done_segments = None, []
    writer._queue.clear()
    writer._pending.clear()


def test_a_spool_survives_its_process(make_client: MakeClient, rows: Rows, tmp_path: Path) -> None:
    """The next process inserts all records of a killed process, once."""
    client = make_client(spool=str(tmp_path), interval="60")
    for _ in range(3):
        get(client)
    assert rows() == []
    kill(client)
    make_client(spool=str(tmp_path), interval="60")
    waiting_for(lambda: list(tmp_path.iterdir()) == [])
    assert len(rows()) == 3


def test_a_spool_is_recovered_after_an_outage(
    make_client: MakeClient, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database is not available at the start, the spool is recovered after the outage without a restart."""
    client = make_client(spool=str(tmp_path), interval="60")
    get(client)
    kill(client)
    calls: list[AuditTables] = []

    def fail(table: AuditTables, *_: Any) -> None:
        calls.append(table)
        raise Unavailable("test")

    with monkeypatch.context() as outage:
        outage.setattr(AuditTables, "_insert", fail)
        make_client(spool=str(tmp_path), interval="0.05", max_wait="1")
        waiting_for(lambda: bool(calls))
    waiting_for(lambda: list(tmp_path.iterdir()) == [])
    assert len(rows()) == 1


def test_an_unreadable_spool_file_does_not_block_others(make_client: MakeClient, rows: Rows, tmp_path: Path) -> None:
    """A spool file that cannot be read stays, and all others are inserted."""
    (tmp_path / "1-1.jsonl").mkdir()
    client = make_client(spool=str(tmp_path), interval="0.05")
    get(client)
    waiting_for(lambda: len(rows()) == 1)
    waiting_for(lambda: len(list(tmp_path.iterdir())) == 1)


def test_a_spool_has_few_files_during_an_outage(make_client: MakeClient, rows: Rows, tmp_path: Path) -> None:
    """During an outage of any length, a process has at most two spool files open."""
    client = make_client(spool=str(tmp_path), interval="60", on_failure="deliver")
    end_outage = start_outage(client)
    for _ in range(5):
        get(client)
        assert not client.audit.writer.flush()
    assert len(list(tmp_path.iterdir())) == 2
    end_outage()
    client.audit.writer.flush()
    assert len(rows()) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_after_an_outage_leaves_no_file(
    make_client: MakeClient, rows: Rows, tmp_path: Path
) -> None:
    """Spool files of an outage are removed when they are inserted; else a later start could insert pruned records."""
    client = make_client(spool=str(tmp_path), interval="60", on_failure="deliver")
    end_outage = start_outage(client)
    for _ in range(2):
        get(client)
        assert not client.audit.writer.flush()
    end_outage()
    client.audit.writer.close()
    assert len(rows()) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_spool_file_in_use_is_not_recovered(make_client: MakeClient, rows: Rows, tmp_path: Path) -> None:
    """A process recovers files of ended processes, not those of running ones."""
    other = make_client(spool=str(tmp_path), interval="60")
    get(other)
    make_client(spool=str(tmp_path), interval="60").audit.writer.recover()
    assert rows() == []
    assert len(list(tmp_path.iterdir())) == 1
    other.audit.writer.flush()
    assert len(rows()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_spool_is_not_inserted_twice(make_client: MakeClient, rows: Rows, tmp_path: Path) -> None:
    """If a process is killed between the commit and the removal of the file, the records are not inserted again."""
    client = make_client(spool=str(tmp_path), interval="60")
    get(client)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    client.audit.writer.flush()
    path.write_bytes(content + b'{"half a li')
    make_client(spool=str(tmp_path), interval="60")
    waiting_for(lambda: list(tmp_path.iterdir()) == [])
    assert len(rows()) == 1


@pytest.mark.parametrize(("setting", "statuses"), [("refuse", {503}), ("deliver", {307})])
def test_a_full_disk_refuses_or_delivers_as_configured(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, statuses: set[int]
) -> None:
    """If the spool is not writable, downloads are refused, or delivered and counted."""
    metrics = Metrics()
    client = make_client(metrics, spool=str(tmp_path), on_failure=setting, interval="60")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Segment, "append", full)
    assert {get(client).status_code for _ in range(2)} == statuses
    assert metrics.lost == (2 if setting == "deliver" else 0)


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (settings.WRITE, "sometimes"),
        (settings.FAILURE, "ignore"),
        (settings.ADDRESS, "half"),
        (settings.AGENT, "yes"),
        (settings.INTERVAL, "0"),
        (settings.INTERVAL, "soon"),
        (settings.QUEUE, "0"),
        (settings.MAX_WAIT, "nan"),
        (settings.KEEP, "long"),
        (settings.SPOOL, "/no/such/folder"),
        (settings.SPOOL, "relative"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """A wrong value prevents the start, and the error names the variable."""
    with pytest.raises(SettingError, match=f"^{name}: "):
        create_plugin({name: value})


# --- Reports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(make_client: MakeClient, one_day: None) -> Any:
    """Return a client after jane's redirect, stream and stream of a half, and a denial for eve."""
    client = make_client(write="sync", address="full", agent="on")
    get(client)
    get(client, STREAM)
    get(client, STREAM, Range="bytes=5-9")
    get(client, name="eve")
    return client


def run(client: Any, *arguments: str, text: str | bytes | None = None) -> Result:
    return CliRunner().invoke(client.plugin.extend_cli()[0], arguments, input=text)


def report(client: Any, *arguments: str) -> list[dict[str, Any]]:
    result = run(client, "show", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = orjson.loads(result.output)
    return rows


def test_usage_sums_up(client: Any) -> None:
    """Downloads, further ranges, denials and bytes are summed up by the columns of `--by`."""
    (jane,) = report(client, "--by", "principal", "--principal", "jane")
    assert jane == {
        "principal": "jane",
        "downloads": 2,
        "requests": 3,
        "refused": 0,
        "granted_bytes": 1015,
        "streamed_bytes": 15,
        "cut": 0,
        "redirected_bytes": 0,
    }
    by_group = report(client, "--by", "group", "--by", "collection")
    assert [(row["group"], row["downloads"], row["refused"]) for row in by_group] == [("alps", 2, 1), ("members", 2, 1)]
    (day,) = report(client)
    assert (day["day"], day["downloads"]) == (f"{NOON:%F}", 2)
    assert [row["reason"] for row in report(client, "--by", "reason")] == ["Policy: anybody", "Policy: not eve"]
    assert report(client, "--until", "2020-01-01", "--since", "2019-01-01") == []
    assert report(client, "--collection", "other") == []


def test_usage_limits_sums_of_wrong_sizes(make_client: MakeClient, publish: Publish) -> None:
    """A file size that a publisher declared by mistake does not break the report."""
    client = make_client(write="sync")
    publish(an_item("odd", assets={"data": {"href": "s3://bucket/data.tif", "file:size": 2**63 - 1}}))
    for _ in range(2):
        get(client, ASSET.replace("item/", "odd/"))
    assert [(row["downloads"], row["granted_bytes"]) for row in report(client)] == [(2, 2**63 - 1)]


def test_usage_is_a_table_a_file_or_a_plot(client: Any, tmp_path: Path) -> None:
    """A report is a text table, CSV, or a plot that loads nothing else."""
    table = run(client, "show", "--by", "principal").output.splitlines()
    assert table[0].split()[:2] == ["PRINCIPAL", "DOWNLOADS"]
    assert table[2].split()[:5] == ["jane", "2", "3", "0", "1.015k"]
    assert (
        run(client, "show", "--by", "principal", "--format", "csv").output.splitlines()[2] == "jane,2,3,0,1015,15,0,0"
    )
    for form in ("svg", "html"):
        path = tmp_path / f"usage.{form}"
        assert run(client, "show", "--format", form, "-o", str(path)).exit_code == 0
        assert "<svg" in path.read_text()
        assert "http" not in path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_plot_draws_every_dimension(client: Any) -> None:
    """With two columns in `--by`, the plot has downloads and bytes of each."""
    page = run(client, "show", "--by", "principal", "--by", "collection", "--format", "html").output
    for plot in ("downloads by principal", "bytes granted by principal", "downloads by collection"):
        assert page.count(f">{plot}<") == 1


def test_usage_is_parquet(client: Any, tmp_path: Path) -> None:
    """Parquet files have numbers as numbers."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "usage.parquet"
    assert run(client, "show", "--by", "principal", "--format", "parquet", "-o", str(path)).exit_code == 0
    assert parquet.read_table(path).to_pylist()[1]["granted_bytes"] == 1015


def test_usage_of_nothing_has_its_columns(client: Any, tmp_path: Path) -> None:
    """A report of a time without downloads has the same columns, for programs that read it."""
    never = ("--until", "2020-01-01", "--since", "2019-01-01")
    empty = run(client, "show", "--by", "principal", "--format", "csv", *never).output
    assert empty.splitlines() == run(client, "show", "--by", "principal", "--format", "csv").output.splitlines()[:1]
    assert run(client, "records", *never).output == run(client, "records").output.splitlines(keepends=True)[0]
    parquet, path = pytest.importorskip("pyarrow.parquet"), tmp_path / "usage.parquet"
    assert run(client, "show", "--format", "parquet", "-o", str(path), *never).exit_code == 0
    assert parquet.read_table(path).to_pydict() == {name: [] for name in report(client)[0]}


def test_names_are_neither_formulas_nor_markup(make_client: MakeClient) -> None:
    """A name that a client chose is text, in a spreadsheet and on a page."""
    client = make_client(write="sync")
    get(client, name="=1+1")
    get(client, name="<b>bold</b>")
    assert "'=1+1," in run(client, "show", "--by", "principal", "--format", "csv").output
    page = run(client, "show", "--by", "principal", "--format", "html").output
    assert "<b>" not in page
    assert "&lt;b&gt;bold" in page


def test_records_lists_each_event(client: Any) -> None:
    """Each event has a line, by time, with every column of the table."""
    lines = run(client, "records", "--principal", "eve").output.splitlines()
    assert len(lines) == 2
    assert ",refused,eve," in lines[1]
    assert ",Policy,not eve," in lines[1]
    assert set(lines[0].split(",")) == set(COLUMNS.split(", "))
    listed = orjson.loads(run(client, "records", "--format", "json").output)
    assert [row["event"] for row in listed] == ["granted", "granted", "finished", "granted", "finished", "refused"]


# --- Store logs ------------------------------------------------------------------------------------------------------

OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"


def line(entry: str, grant: str | None, sent: int | str, status: int = 206, operation: str = "REST.GET.OBJECT") -> str:
    """Return a line in Amazon's format."""
    now = f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S +0000}"
    query = f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&x-stacflask-grant={grant}&X-Amz-Expires=900" if grant else ""
    return (
        f"{OWNER} bucket [{now}] 192.0.2.3 - {entry} {operation} a%2Bb.tif "
        f'"GET /bucket/a%2Bb.tif{query} HTTP/1.1" {status} - {sent} 1000 28 27 "-" "curl/8 (x \\"y\\")" - abc= SigV4 '
        "ECDHE QueryString s3.example.org TLSv1.2 - -"
    )


def test_store_logs_add_bytes_of_redirects(client: Any, rows: Rows, tmp_path: Path) -> None:
    """Bytes of a presigned URL count with its grant; other lines and second imports do not count."""
    grant = rows()[0]["id"]
    log = tmp_path / "log"
    lines = [
        line("A1", grant, 300),
        line("A2", grant, 200),
        line("A3", None, 50, 200),
        line("A4", grant, "-", 403),
        line("A5", grant, 0, 200, "REST.HEAD.OBJECT"),
        "no such format",
    ]
    log.write_text("\n".join(lines))
    output = run(client, "import", str(log)).stderr
    assert output == "6 lines, 3 new downloads, 2 of them with a grant of this server, 1 malformed lines\n"
    (tmp_path / "log.gz").write_bytes(gzip.compress(log.read_bytes()))
    assert " 0 new downloads" in run(client, "import", str(tmp_path / "log.gz")).stderr
    (jane,) = report(client, "--by", "principal", "--principal", "jane")
    assert (jane["granted_bytes"], jane["redirected_bytes"], jane["downloads"]) == (1015, 500, 2)


def test_a_malformed_line_does_not_stop_the_import(client: Any, rows: Rows) -> None:
    """Quotes that a client did not encode are accepted; a line with an impossible number is malformed."""
    grant = rows()[0]["id"]
    quoted = line("B1", grant, 300).replace("/bucket/a%2Bb.tif", '/bucket/a"b.tif')
    output = run(client, "import", "-", text="\n".join([line("B0", grant, "9" * 20), quoted])).stderr
    assert output == "2 lines, 1 new downloads, 1 of them with a grant of this server, 1 malformed lines\n"


@pytest.mark.parametrize("content", [gzip.compress(b"a\n" * 1000, mtime=0)[:30], b"\x1f\x8bnonsense", b"\x1f\x8b"])
def test_a_broken_file_is_named(client: Any, tmp_path: Path, content: bytes) -> None:
    """The error names a file that is incomplete or damaged, so that the operator can fetch it again."""
    (tmp_path / "log.gz").write_bytes(content)
    result = run(client, "import", str(tmp_path / "log.gz"))
    assert result.exit_code == 1
    assert f"{tmp_path}/log.gz is damaged or incomplete" in result.output


def test_a_file_that_is_no_log_is_an_error(client: Any) -> None:
    """If every line is malformed, the command fails."""
    result = run(client, "import", "-", text="a\nb\n")
    assert result.exit_code == 1
    assert "no line" in result.output


# --- Deletion --------------------------------------------------------------------------------------------------------


def test_forget_keeps_the_sums(client: Any, rows: Rows, storage: Storage) -> None:
    """Old records lose their personal data, and keep assets and bytes."""
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_audit_events SET at = at - interval '100 days'")
    get(client)
    before = report(client, "--by", "collection", "--since", "200d")
    result = run(client, "forget", "--older-than", "90d")
    assert (result.exit_code, result.stderr) == (0, "deleted personal data of 6 events\n")
    assert report(client, "--by", "collection", "--since", "200d") == before
    personal = ("principal", "groups", "credential", "address", "agent", "request")
    assert [[row[name] for name in personal] for row in rows()[:-1]] == [[None] * 6] * 6
    assert rows()[-1]["principal"] == "jane"
    by_principal = report(client, "--by", "principal", "--since", "200d")
    assert [(row["principal"], row["downloads"]) for row in by_principal] == [("(forgotten)", 2), ("jane", 1)]


def test_forget_needs_an_age(client: Any) -> None:
    """Without an option or a setting for the age, nothing is deleted."""
    assert run(client, "forget").exit_code == 2
    assert run(client, "forget", "--older-than", "soon").exit_code == 2


def test_the_writer_deletes_personal_data(make_client: MakeClient, rows: Rows, storage: Storage) -> None:
    """With the setting, a process that inserts records deletes old personal data, too."""
    get(make_client(write="sync"))
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_audit_events SET at = at - interval '100 days'")
    client = make_client(keep_personal="90d", interval="60")
    get(client)
    client.audit.writer.flush()
    assert [row["principal"] for row in rows()] == [None, "jane"]


def test_prune_deletes_records(client: Any, rows: Rows, storage: Storage) -> None:
    """Records that are older than the option are deleted."""
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_audit_events SET at = at - interval '100 days'")
    get(client)
    assert run(client, "prune", "--older-than", "90d").stderr == "deleted 6 events and 0 lines of store logs\n"
    assert len(rows()) == 1
