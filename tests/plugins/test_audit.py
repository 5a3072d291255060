"""The audit: what is recorded, what is not kept, and what happens when nothing can be recorded."""

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

from plugins import audit
from plugins.audit import Audit, create_plugin, settings
from plugins.audit.addresses import network
from plugins.audit.table import COLUMNS, Table
from plugins.audit.writer import Segment
from stacflask import Decision, Principal, SettingError, Storage, Unavailable, hookimpl
from stacflask.testing import Plug, Publish, an_item
from tests.shelf import Shelf
from tests.waiting import waiting_for

HERE = "/collections/collection/items/item/download/data"
STREAM = f"{HERE}?delivery=stream"
ROW = dict[str, Any]


class Policy(Shelf):
    """Knows who asks by a header, refuses who is called eve, and delivers from nowhere."""

    @hookimpl
    def authenticate(self, request: Any) -> Principal | None:
        name = request.credentials("Bearer")
        return Principal(name, frozenset({"members", "alps"}), "test", reference=f"badge of {name}") if name else None

    @hookimpl
    def authorize(self, principal: Principal) -> Decision:
        return Decision.deny("not eve", code="NotEve") if principal.id == "eve" else Decision.allow("anybody")


class Strict:
    """Refuses whom Policy refuses."""

    @hookimpl
    def authorize(self, principal: Principal) -> Decision | None:
        return Decision.deny("too strict") if principal.id == "eve" else None


class Figures:
    """Keeps what is observed."""

    def __init__(self) -> None:
        self.lost = 0.0

    @hookimpl
    def metric_recorded(self, name: str, value: float) -> None:
        self.lost += value if name == "audit_lost" else 0


Door = Callable[..., Any]


@pytest.fixture
def door(plug: Plug, publish: Publish) -> Iterator[Door]:
    """Open a door with an audit of these settings; gives the client, with the plugin as ``audit``."""
    publish(an_item(assets={"data": {"href": "s3://bucket/data.tif", "file:size": 1000}}))
    plugins: list[Audit] = []

    def build(*others: object, **environ: str) -> Any:
        plugin = create_plugin({f"STACFLASK_AUDIT_{name.upper()}": value for name, value in environ.items()})
        client = plug(Policy(), *others, plugin)
        client.audit = plugin  # type: ignore[attr-defined]
        plugins.append(plugin)
        return client

    yield build
    for plugin in plugins:
        plugin.writer.close()


def get(client: Any, address: str = HERE, name: str = "jane", **headers: str) -> Any:
    return client.get(address, headers={"Authorization": f"Bearer {name}", **headers}, buffered=True)


@pytest.fixture
def rows(storage: Storage) -> Callable[[], list[ROW]]:
    """Give what is recorded, in the order of time."""
    return lambda: [dict(row) for row in storage.rows("SELECT * FROM plugin_audit ORDER BY at")]


Rows = Callable[[], list[ROW]]

NOW = datetime.now(UTC)
NOON = datetime.combine(NOW - timedelta(days=1), time(12), UTC)


class SinceNoon(datetime):
    """A clock that began at noon yesterday: whatever is done by it is done on one day, however late it is by ours."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Give the time."""
        return datetime.now(tz) - NOW + NOON


@pytest.fixture
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no day end while something is recorded."""
    monkeypatch.setattr(audit, "datetime", SinceNoon)


@pytest.fixture
def no_table(storage: Storage) -> Iterator[None]:
    """Let the database lose the table for a while."""
    rename(storage, "plugin_audit", "gone")
    yield
    if storage.rows("SELECT to_regclass('gone') AS there")[0]["there"]:
        rename(storage, "gone", "plugin_audit")


def rename(storage: Storage, old: str, new: str) -> None:
    with storage.transaction() as statements:
        statements.rows(f"ALTER TABLE {old} RENAME TO {new}")


class Away:
    """Storage whose database is away."""

    def rows(self, sql: str, /, **values: Any) -> Any:
        raise Unavailable("away")

    transaction = rows


def take_away(client: Any) -> Any:
    """Let the audit's part of the database be away; give what brings it back."""
    table = client.audit.table
    storage, table.storage = table.storage, type("Gone", (Away,), {"transaction": lambda self: self.rows("")})()
    return lambda: setattr(table, "storage", storage)


# --- What is recorded ------------------------------------------------------------------------------------------------


def test_a_redirect_is_recorded(door: Door, rows: Rows) -> None:
    """Who took what, when, why she was allowed to, who said so, and how many bytes were promised."""
    client = door(agent="on", address="full")
    before = datetime.now(UTC)
    answer = get(client, **{"User-Agent": "test/1", "X-Request-ID": "r1"})
    assert answer.status_code == 307
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
    assert (row["scheme"], row["credential"]) == ("test", "badge of jane")
    assert (row["collection"], row["item"], row["asset"]) == ("collection", "item", "data")
    assert (row["delivery"], row["declared"], row["first"], row["length"]) == ("redirect", 1000, 0, 1000)
    assert (row["request"], row["method"], row["address"], row["agent"]) == ("r1", "GET", "127.0.0.1", "test/1")


def test_a_refusal_is_recorded_with_all_who_refused(door: Door, rows: Rows) -> None:
    """The plugin that decided and its reason, and who else would have refused."""
    client = door(Strict())
    assert get(client, name="eve").status_code == 403
    client.audit.writer.flush()
    (row,) = rows()
    assert (row["event"], row["by"], row["reason"], row["code"]) == ("refused", "Policy", "not eve", "NotEve")
    assert (row["others"], row["delivery"], row["length"]) == (["Strict: too strict"], None, None)


def test_a_stream_is_recorded_twice(door: Door, rows: Rows) -> None:
    """Once when it is granted and once when it has ended, with the bytes sent; the grant's id is in both."""
    client = door()
    get(client, STREAM, Range="bytes=2-5")
    client.get(STREAM).close()
    client.audit.writer.flush()
    granted, ended, _, cut = rows()
    assert (granted["event"], granted["delivery"], granted["first"], granted["length"]) == ("granted", "stream", 2, 4)
    assert (ended["event"], ended["sent"], ended["complete"], ended["id"]) == ("finished", 4, True, granted["id"])
    assert (ended["by"], ended["reason"]) == (granted["by"], granted["reason"])
    assert (cut["sent"], cut["complete"]) == (0, False)


def test_what_takes_nothing_is_not_recorded(door: Door, rows: Rows) -> None:
    """HEAD and what the client has already are no downloads."""
    client = door()
    client.head(HERE)
    assert get(client, STREAM, **{"If-None-Match": '"tag"'}).status_code == 304
    client.audit.writer.flush()
    assert rows() == []


def test_a_name_that_no_database_can_hold_is_recorded_too(door: Door, rows: Rows) -> None:
    """Nobody hides by calling himself something that cannot be stored."""
    client = door(agent="on")
    client.audit.download_decided(_verdict("a\0b", "c\ud800d"))
    client.audit.writer.flush()
    assert [(row["principal"], row["agent"]) for row in rows()] == [("a?b", "c?d")]


def _verdict(principal: str, agent: str) -> Any:
    from stacflask import Asset, DownloadDecision, RequestInfo

    asset = Asset("collection", "item", "data", "s3://bucket/key")
    request_info = RequestInfo("r", "GET", "127.0.0.1", agent)
    return DownloadDecision("0" * 16, Principal(principal), asset, Decision.allow("x"), (), request_info)


# --- Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::9", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("", None),
        ("unknown", None),
    ],
)
def test_a_network_is_a_24_or_a_48(address: str, kept: str | None) -> None:
    """Of an address, its network is kept; of what is none, nothing."""
    assert network(address) == kept


@pytest.mark.parametrize(("setting", "kept"), [("", "127.0.0.0/24"), ("off", None), ("full", "127.0.0.1")])
def test_addresses_are_kept_as_configured(door: Door, rows: Rows, setting: str, kept: str | None) -> None:
    """The network unless told otherwise; all of it; or nothing. The user agent only where it is wanted."""
    client = door(address=setting)
    get(client)
    client.audit.writer.flush()
    assert [(row["address"], row["agent"]) for row in rows()] == [(kept, None)]


@pytest.mark.usefixtures("one_day")
def test_a_hashed_address_is_the_same_for_a_day(door: Door, rows: Rows, storage: Storage) -> None:
    """Processes agree on a salt a day, so that visitors can be counted; with yesterday's the way back is gone."""
    one, other = door(address="hashed"), door(address="hashed")
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


def test_sync_is_recorded_before_anything_leaves(door: Door, rows: Rows) -> None:
    """Without a queue, the record is there when the answer is."""
    get(door(write="sync"))
    assert [row["event"] for row in rows()] == ["granted"]


@pytest.mark.usefixtures("no_table")
def test_sync_refuses_what_cannot_be_recorded(door: Door) -> None:
    """Where the operator wants no download unrecorded, none leaves; a refusal stays the refusal that it was."""
    client = door(write="sync")
    answer = get(client)
    assert (answer.status_code, answer.json["code"], "Location" in answer.headers) == (503, "AuditUnavailable", False)
    assert "Retry-After" in answer.headers
    assert get(client, STREAM).status_code == 503
    assert get(client, name="eve").status_code == 403


@pytest.mark.usefixtures("no_table")
def test_sync_delivers_and_counts_where_the_operator_says_so(door: Door) -> None:
    """Where downloads matter more, they go on, and it is counted how many events were not recorded."""
    figures = Figures()
    client = door(figures, write="sync", on_failure="deliver")
    assert get(client).status_code == 307
    assert get(client, STREAM).data == b"0123456789"
    assert figures.lost == 3


def test_batched_refuses_when_too_many_wait(door: Door, rows: Rows) -> None:
    """While the database takes no records, so many wait and no more leave; then all of them are written."""
    client = door(queue="3", interval="60")
    back = take_away(client)
    assert [get(client).status_code for _ in range(4)] == [307, 307, 307, 503]
    assert not client.audit.writer.flush()
    back()
    assert client.audit.writer.flush()
    assert get(client).status_code == 307
    client.audit.writer.flush()
    assert len(rows()) == 4


def test_batched_refuses_when_one_waits_too_long(door: Door) -> None:
    """A record that has waited for longer than the patience lets nothing more leave."""
    client = door(patience="1", interval="60")
    back = take_away(client)
    assert get(client).status_code == 307
    client.audit.writer._since -= 1.1
    assert get(client).status_code == 503
    back()
    client.audit.writer.flush()
    assert get(client).status_code == 307


def test_downloads_go_on_as_soon_as_the_database_is_back(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """A download that would be refused tries the database first; if it is refused, the log says why."""
    client = door(patience="1", interval="60")
    back = take_away(client)
    assert get(client).status_code == 307
    client.audit.writer._since -= 1.1
    assert get(client).status_code == 503
    assert "audit: refused what cannot be recorded: a record has waited" in caplog.text
    back()
    client.audit.writer._tried -= 1
    assert get(client).status_code == 307


def test_batched_delivers_and_counts_where_the_operator_says_so(door: Door, rows: Rows) -> None:
    """What finds no room is counted as lost, and what waits is written once that is possible."""
    figures = Figures()
    client = door(figures, queue="2", interval="60", on_failure="deliver")
    back = take_away(client)
    assert [get(client).status_code for _ in range(5)] == [307] * 5
    assert figures.lost == 3
    back()
    client.audit.writer.flush()
    assert len(rows()) == 2


@pytest.mark.usefixtures("no_table")
def test_records_wait_for_whatever_the_database_lacks(door: Door, rows: Rows, storage: Storage) -> None:
    """A record is given up for what is wrong with it alone, and not because the database takes none of them."""
    figures = Figures()
    client = door(figures, queue="2", interval="60")
    assert [get(client).status_code for _ in range(3)] == [307, 307, 503]
    assert not client.audit.writer.flush()
    rename(storage, "gone", "plugin_audit")
    assert client.audit.writer.flush()
    assert (len(rows()), figures.lost) == (2, 0)


def test_records_are_not_written_twice_where_the_answer_was_lost(door: Door, rows: Rows) -> None:
    """Whether a batch was written is not known when the database goes just then: it is written once all the same."""
    client = door(interval="60")
    insert = client.audit.table.insert

    def lose_the_answer(records: Sequence[bytes]) -> None:
        insert(records)
        raise Unavailable("gone")

    client.audit.table.insert = lose_the_answer
    get(client)
    assert not client.audit.writer.flush()
    client.audit.table.insert = insert
    get(client)
    assert client.audit.writer.flush()
    assert len(rows()) == 2


def test_a_record_that_cannot_be_kept_holds_nobody_up(door: Door, rows: Rows) -> None:
    """One record that the database refuses is counted as lost, and those beside it are written."""
    figures = Figures()
    client = door(figures, interval="60")
    get(client)
    client.audit.writer.put(orjson.dumps({"event": "granted", "at": "no time"}))
    get(client)
    assert client.audit.writer.flush()
    assert (len(rows()), figures.lost) == (2, 1)


def test_the_end_of_a_process_writes_what_waits(door: Door, rows: Rows) -> None:
    """A process that is told to stop leaves nothing behind."""
    client = door(interval="60")
    get(client)
    client.audit.writer.close()
    assert len(rows()) == 1


# --- The spool -------------------------------------------------------------------------------------------------------


def die(client: Any) -> None:
    """Let go of what a process holds, as its end does, and leave the rest as it lies."""
    writer = client.audit.writer
    for segment in [*writer._written, *([writer._segment] if writer._segment else [])]:
        os.close(segment._file)
    writer._segment, writer._written = None, []
    writer._queue.clear()
    writer._pending.clear()


def test_a_spool_outlives_its_process(door: Door, rows: Rows, tmp_path: Path) -> None:
    """What a killed process had not written, the next one writes: all of it, and once."""
    client = door(spool=str(tmp_path), interval="60")
    for _ in range(3):
        get(client)
    assert rows() == []
    die(client)
    door(spool=str(tmp_path), interval="60")
    waiting_for(lambda: list(tmp_path.iterdir()) == [])
    assert len(rows()) == 3


def test_a_spool_is_written_once_the_database_is_back(
    door: Door, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database is away when a process starts, what others left waits for it, and for no further start."""
    client = door(spool=str(tmp_path), interval="60")
    get(client)
    die(client)
    asked: list[Table] = []

    def away(table: Table, *_: Any) -> None:
        asked.append(table)
        raise Unavailable("away")

    with monkeypatch.context() as while_away:
        while_away.setattr(Table, "_insert", away)
        door(spool=str(tmp_path), interval="0.05", patience="1")
        waiting_for(lambda: bool(asked))
    waiting_for(lambda: list(tmp_path.iterdir()) == [])
    assert len(rows()) == 1


def test_a_file_that_cannot_be_read_holds_nobody_up(door: Door, rows: Rows, tmp_path: Path) -> None:
    """What was left by somebody else, and cannot be read, stays where it is, and all others are written."""
    (tmp_path / "1-1.jsonl").mkdir()
    client = door(spool=str(tmp_path), interval="0.05")
    get(client)
    waiting_for(lambda: len(rows()) == 1)
    waiting_for(lambda: len(list(tmp_path.iterdir())) == 1)


def test_a_spool_takes_few_files_while_the_database_is_away(door: Door, rows: Rows, tmp_path: Path) -> None:
    """However long that takes, a process does not open file after file until it may open no more."""
    client = door(spool=str(tmp_path), interval="60", on_failure="deliver")
    back = take_away(client)
    for _ in range(5):
        get(client)
        assert not client.audit.writer.flush()
    assert len(list(tmp_path.iterdir())) == 2
    back()
    client.audit.writer.flush()
    assert len(rows()) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_after_an_outage_leaves_no_file(door: Door, rows: Rows, tmp_path: Path) -> None:
    """What came during the outage is done with when it is written: the next start would write again what was pruned."""
    client = door(spool=str(tmp_path), interval="60", on_failure="deliver")
    back = take_away(client)
    for _ in range(2):
        get(client)
        assert not client.audit.writer.flush()
    back()
    client.audit.writer.close()
    assert len(rows()) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_spool_in_use_is_left_alone(door: Door, rows: Rows, tmp_path: Path) -> None:
    """A process writes what those left that are no more, and not what its neighbour is about to write."""
    neighbour = door(spool=str(tmp_path), interval="60")
    get(neighbour)
    door(spool=str(tmp_path), interval="60").audit.writer.recover()
    assert rows() == []
    assert len(list(tmp_path.iterdir())) == 1
    neighbour.audit.writer.flush()
    assert len(rows()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_spool_is_not_written_twice(door: Door, rows: Rows, tmp_path: Path) -> None:
    """Killed between the database's commit and the end of the file, a process leaves what is there already."""
    client = door(spool=str(tmp_path), interval="60")
    get(client)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    client.audit.writer.flush()
    path.write_bytes(content + b'{"half a li')
    door(spool=str(tmp_path), interval="60")
    waiting_for(lambda: list(tmp_path.iterdir()) == [])
    assert len(rows()) == 1


@pytest.mark.parametrize(("setting", "statuses"), [("refuse", {503}), ("deliver", {307})])
def test_a_full_disk_leads_to_what_the_operator_chose(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, statuses: set[int]
) -> None:
    """Where the spool cannot be written to, downloads are refused, or delivered and counted."""
    figures = Figures()
    client = door(figures, spool=str(tmp_path), on_failure=setting, interval="60")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Segment, "append", full)
    assert {get(client).status_code for _ in range(2)} == statuses
    assert figures.lost == (2 if setting == "deliver" else 0)


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
        (settings.PATIENCE, "nan"),
        (settings.KEEP, "long"),
        (settings.SPOOL, "/no/such/folder"),
        (settings.SPOOL, "relative"),
    ],
)
def test_wrong_settings_stop_the_start(name: str, value: str) -> None:
    """Each is told by its name."""
    with pytest.raises(SettingError, match=f"^{name}: "):
        create_plugin({name: value})


# --- Reports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(door: Door, one_day: None) -> Any:
    """Have jane take one asset by redirect and half of it by stream, and eve be refused."""
    client = door(write="sync", address="full", agent="on")
    get(client)
    get(client, STREAM)
    get(client, STREAM, Range="bytes=5-9")
    get(client, name="eve")
    return client


def run(client: Any, *arguments: str, text: str | bytes | None = None) -> Result:
    return CliRunner().invoke(client.audit.extend_cli()[0], arguments, input=text)


def shown(client: Any, *arguments: str) -> list[dict[str, Any]]:
    result = run(client, "show", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = orjson.loads(result.output)
    return found


def test_usage_sums_up(client: Any) -> None:
    """Downloads, further ranges, refusals and bytes, by whatever one asks."""
    (jane,) = shown(client, "--by", "principal", "--principal", "jane")
    assert jane == {
        "principal": "jane",
        "downloads": 2,
        "requests": 3,
        "refused": 0,
        "granted_bytes": 1015,
        "streamed_bytes": 15,
        "cut": 0,
        "taken_bytes": 0,
    }
    by_group = shown(client, "--by", "group", "--by", "collection")
    assert [(row["group"], row["downloads"], row["refused"]) for row in by_group] == [("alps", 2, 1), ("members", 2, 1)]
    (day,) = shown(client)
    assert (day["day"], day["downloads"]) == (f"{NOON:%F}", 2)
    assert [row["reason"] for row in shown(client, "--by", "reason")] == ["Policy: anybody", "Policy: not eve"]
    assert shown(client, "--until", "2020-01-01", "--since", "2019-01-01") == []
    assert shown(client, "--collection", "other") == []


def test_usage_sums_up_whatever_was_said_of_sizes(door: Door, publish: Publish) -> None:
    """What a publisher says of a file's size by mistake does not keep everybody from the report."""
    client = door(write="sync")
    publish(an_item("odd", assets={"data": {"href": "s3://bucket/data.tif", "file:size": 2**63 - 1}}))
    for _ in range(2):
        get(client, HERE.replace("item/", "odd/"))
    assert [(row["downloads"], row["granted_bytes"]) for row in shown(client)] == [(2, 2**63 - 1)]


def test_usage_is_a_table_a_file_or_a_plot(client: Any, tmp_path: Path) -> None:
    """For people at a terminal, for spreadsheets and programs, and as a picture that needs nothing else."""
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
    """Of two dimensions, each has its downloads and its bytes drawn."""
    page = run(client, "show", "--by", "principal", "--by", "collection", "--format", "html").output
    for plot in ("downloads by principal", "bytes granted by principal", "downloads by collection"):
        assert page.count(f">{plot}<") == 1


def test_usage_is_parquet(client: Any, tmp_path: Path) -> None:
    """Columnar files keep numbers as numbers."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "usage.parquet"
    assert run(client, "show", "--by", "principal", "--format", "parquet", "-o", str(path)).exit_code == 0
    assert parquet.read_table(path).to_pylist()[1]["granted_bytes"] == 1015


def test_usage_of_nothing_has_its_columns(client: Any, tmp_path: Path) -> None:
    """Whoever reads a report by program finds the columns of a time without downloads, too."""
    never = ("--until", "2020-01-01", "--since", "2019-01-01")
    empty = run(client, "show", "--by", "principal", "--format", "csv", *never).output
    assert empty.splitlines() == run(client, "show", "--by", "principal", "--format", "csv").output.splitlines()[:1]
    assert run(client, "records", *never).output == run(client, "records").output.splitlines(keepends=True)[0]
    parquet, path = pytest.importorskip("pyarrow.parquet"), tmp_path / "usage.parquet"
    assert run(client, "show", "--format", "parquet", "-o", str(path), *never).exit_code == 0
    assert parquet.read_table(path).to_pydict() == {name: [] for name in shown(client)[0]}


def test_usage_names_no_formula_and_no_markup(door: Door) -> None:
    """A name that somebody chose is text, in a spreadsheet and on a page."""
    client = door(write="sync")
    get(client, name="=1+1")
    get(client, name="<b>bold</b>")
    assert "'=1+1," in run(client, "show", "--by", "principal", "--format", "csv").output
    page = run(client, "show", "--by", "principal", "--format", "html").output
    assert "<b>" not in page
    assert "&lt;b&gt;bold" in page


def test_records_tell_who_took_what_and_why(client: Any) -> None:
    """Each event stands on a line of its own, in the order of time."""
    lines = run(client, "records", "--principal", "eve").output.splitlines()
    assert len(lines) == 2
    assert ",refused,eve," in lines[1]
    assert ",Policy,not eve," in lines[1]
    assert set(lines[0].split(",")) == set(COLUMNS.split(", "))  # all that is kept
    listed = orjson.loads(run(client, "records", "--format", "json").output)
    assert [row["event"] for row in listed] == ["granted", "granted", "finished", "granted", "finished", "refused"]


# --- Stores' logs ----------------------------------------------------------------------------------------------------

OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"


def line(entry: str, grant: str | None, sent: int | str, status: int = 206, operation: str = "REST.GET.OBJECT") -> str:
    """Write a line as Amazon does."""
    now = f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S +0000}"
    query = f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&x-stacflask-grant={grant}&X-Amz-Expires=900" if grant else ""
    return (
        f"{OWNER} bucket [{now}] 192.0.2.3 - {entry} {operation} a%2Bb.tif "
        f'"GET /bucket/a%2Bb.tif{query} HTTP/1.1" {status} - {sent} 1000 28 27 "-" "curl/8 (x \\"y\\")" - abc= SigV4 '
        "ECDHE QueryString s3.example.org TLSv1.2 - -"
    )


def test_store_logs_tell_what_redirects_really_took(client: Any, rows: Rows, tmp_path: Path) -> None:
    """What a store sent by an address of ours counts with its grant; other lines and second imports do not."""
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
    said = run(client, "import", str(log)).stderr
    assert said == "6 lines, 3 requests that took bytes were new, 2 of them by our grants, 1 lines not understood\n"
    (tmp_path / "log.gz").write_bytes(gzip.compress(log.read_bytes()))
    assert "0 requests" in run(client, "import", str(tmp_path / "log.gz")).stderr
    (jane,) = shown(client, "--by", "principal", "--principal", "jane")
    assert (jane["granted_bytes"], jane["taken_bytes"], jane["downloads"]) == (1015, 500, 2)


def test_a_strange_line_is_no_end_of_an_import(client: Any, rows: Rows) -> None:
    """Quotes that a client did not encode are understood, and a number that cannot be is a line that is not."""
    grant = rows()[0]["id"]
    quoted = line("B1", grant, 300).replace("/bucket/a%2Bb.tif", '/bucket/a"b.tif')
    said = run(client, "import", "-", text="\n".join([line("B0", grant, "9" * 20), quoted])).stderr
    assert said == "2 lines, 1 requests that took bytes were new, 1 of them by our grants, 1 lines not understood\n"


@pytest.mark.parametrize("content", [gzip.compress(b"a\n" * 1000)[:30], b"\x1f\x8bnonsense", b"\x1f\x8b"])
def test_a_broken_file_is_named(client: Any, tmp_path: Path, content: bytes) -> None:
    """What came only in part, or was damaged, is told by its name, so that it is fetched again."""
    (tmp_path / "log.gz").write_bytes(content)
    result = run(client, "import", str(tmp_path / "log.gz"))
    assert result.exit_code == 1
    assert f"{tmp_path}/log.gz cannot be read to its end" in result.output


def test_a_file_that_is_no_log_is_an_error(client: Any) -> None:
    """Where no line is understood, that is said, and not that there was nothing."""
    result = run(client, "import", "-", text="a\nb\n")
    assert result.exit_code == 1
    assert "no line" in result.output


# --- Forgetting ------------------------------------------------------------------------------------------------------


def test_forgetting_leaves_the_sums(client: Any, rows: Rows, storage: Storage) -> None:
    """Of old records it is no longer known whose they are; how much was taken of what still is."""
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_audit SET at = at - interval '100 days'")
    get(client)
    before = shown(client, "--by", "collection", "--since", "200d")
    result = run(client, "forget", "--older-than", "90d")
    assert (result.exit_code, result.stderr) == (0, "forgot whose 6 events were\n")
    assert shown(client, "--by", "collection", "--since", "200d") == before
    personal = ("principal", "groups", "credential", "address", "agent", "request")
    assert [[row[name] for name in personal] for row in rows()[:-1]] == [[None] * 6] * 6
    assert rows()[-1]["principal"] == "jane"
    by_principal = shown(client, "--by", "principal", "--since", "200d")
    assert [(row["principal"], row["downloads"]) for row in by_principal] == [("(forgotten)", 2), ("jane", 1)]


def test_forgetting_needs_an_age(client: Any) -> None:
    """Nothing is forgotten by accident: the age is said, or set."""
    assert run(client, "forget").exit_code == 2
    assert run(client, "forget", "--older-than", "soon").exit_code == 2


def test_a_setting_forgets_by_itself(door: Door, rows: Rows, storage: Storage) -> None:
    """With the setting, whoever writes records forgets as well."""
    get(door(write="sync"))
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_audit SET at = at - interval '100 days'")
    client = door(keep_personal="90d", interval="60")
    get(client)
    client.audit.writer.flush()
    assert [row["principal"] for row in rows()] == [None, "jane"]


def test_pruning_deletes(client: Any, rows: Rows, storage: Storage) -> None:
    """What is older than that is gone, sums and all."""
    with storage.transaction() as statements:
        statements.rows("UPDATE plugin_audit SET at = at - interval '100 days'")
    get(client)
    assert run(client, "prune", "--older-than", "90d").stderr == "deleted 6 events and 0 lines of stores' logs\n"
    assert len(rows()) == 1
