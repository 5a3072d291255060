"""Quotas: counts, denials, exactness with concurrent requests, and commands."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plugins.quota import Quota, create_plugin
from plugins.quota.limits import (
    BYTES,
    DOWNLOADS,
    UNLIMITED,
    Limit,
    Limits,
    Usage,
    combined,
    period_seconds,
    rate_limit_headers,
    shortage,
    wait,
)
from plugins.quota.sizes import format_size, parse_size
from stacflask import (
    ANONYMOUS,
    Asset,
    ByteRange,
    Decision,
    EndpointRequest,
    Principal,
    Redirect,
    Services,
    SettingError,
    Storage,
    Stream,
    hookimpl,
)
from stacflask.errors import Refused
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import manage
from stacflask.testing import Plug, Publish, an_item
from tests.shelf import Shelf

Run = Callable[..., Result]

JANE = Principal("jane", frozenset({"members"}), "test")
JOE = Principal("joe", frozenset(), "test")
DAY = 86400
ROOT = Path(__file__).parents[2]


@pytest.fixture
def plugin(storage: Storage) -> Quota:
    plugin = Quota(cache=0)
    plugin.startup(Services(storage))
    return plugin


class AllowsAll:
    """Allows every download, so that every denial comes from the quota."""

    @hookimpl
    def authorize(self) -> Decision:
        """Allow the download."""
        return Decision.allow("test")


@pytest.fixture
def gate(plugin: Quota) -> Gate:
    return Gate(manage({"quota": plugin, "allows": AllowsAll()}))


@pytest.fixture
def run(plugin: Quota) -> Run:
    """Return a function that runs ``stacflask quota`` and returns its result."""
    return lambda *arguments: CliRunner().invoke(plugin.extend_cli()[0], arguments)


def asset(item: str = "scene", size: int | None = 100) -> Asset:
    return Asset("landsat", item, "red", "s3://bucket/red.tif", size=size)


def download(
    gate: Gate,
    principal: Principal,
    wanted: Asset | None = None,
    first: int = 0,
    length: int = 100,
    whole: int | None = None,
) -> None:
    """Authorize and charge a download."""
    gate.charge(gate.authorize(principal, wanted or asset()), ByteRange(first, length, whole), "stream")


def chunk(path: str, key: str = "cube") -> Asset:
    """Return a file of a directory asset."""
    return Asset("landsat", "scene", key, f"s3://bucket/{key}/", path=path)


def refused(gate: Gate, principal: Principal, wanted: Asset | None = None, **byte_range: int) -> Decision:
    with pytest.raises(Refused) as refusal:
        download(gate, principal, wanted, **byte_range)
    return refusal.value.decision


def used(plugin: Quota, principal: Principal = JANE) -> dict[str, int]:
    """Return the usage from GET /quota."""
    quota = plugin.show(EndpointRequest(principal, {})).body["quota"]
    return {dimension: described["used"] for dimension, described in quota.items()}


def later(storage: Storage, seconds: float) -> None:
    """Let time pass by moving stored times back."""
    with storage.transaction() as statements:
        for table, moment in (("usage", "since"), ("openings", "opened")):
            statements.rows(
                f"UPDATE plugin_quota_{table} SET {moment} = {moment} - make_interval(secs => :seconds)",
                seconds=seconds,
            )


# --- Through the gate ------------------------------------------------------------------------------------------------


def test_without_limits_nothing_is_counted(gate: Gate, storage: Storage) -> None:
    """Without a limit, nothing is counted and no headers are sent."""
    grant = gate.authorize(JANE, asset())
    assert (grant.decision.headers, grant.decision.counted) == ({}, False)
    gate.charge(grant, ByteRange(0, 100), "stream")
    assert storage.rows("SELECT principal FROM plugin_quota_usage") == []


def test_a_quota_alone_allows_nothing(plugin: Quota, run: Run) -> None:
    """A quota abstains: without another plugin that allows, downloads are denied."""
    run("set", "members", "--downloads", "5")
    decision = refused(Gate(manage({"quota": plugin})), JANE)
    assert (decision.kind, decision.code) == ("forbidden", None)


def test_downloads_are_limited(gate: Gate, run: Run) -> None:
    """After the last download, another asset is denied with a code, a wait and the rest."""
    run("set", "members", "--downloads", "3", "--window", "24h")
    for item in "abc":
        download(gate, JANE, asset(item))
    decision = refused(gate, JANE, asset("d"))
    assert (decision.kind, decision.code) == ("exhausted", "QuotaExceeded")
    assert decision.detail == f"Quota of 3 downloads a day used up. Try again in {decision.retry_after} seconds."
    assert DAY - 60 < (decision.retry_after or 0) <= DAY + 300
    assert decision.extra["quota"]["downloads"]["left"] == 0
    assert decision.headers["RateLimit"].startswith('"downloads";r=0;t=')


def test_authorize_costs_nothing(gate: Gate, plugin: Quota, run: Run) -> None:
    """An authorization without a download, as for HEAD, is not charged."""
    run("set", "members", "--downloads", "1")
    for _ in range(5):
        gate.authorize(JANE, asset())
    assert used(plugin) == {"downloads": 0}


def test_responses_have_rate_limit_headers(gate: Gate, run: Run) -> None:
    """While something is left, responses have the RateLimit fields and must not be cached."""
    run("set", "members", "--downloads", "5", "--bytes", "1kB", "--window", "1h")
    download(gate, JANE)
    decision = gate.authorize(JANE, asset()).decision
    assert decision.counted
    assert decision.headers["RateLimit-Policy"] == '"downloads";q=5;w=3600, "bytes";q=1000;w=3600;qu="content-bytes"'
    assert re.fullmatch(r'"downloads";r=4;t=36\d\d, "bytes";r=900;t=36\d\d', decision.headers["RateLimit"])


def test_bytes_are_limited(gate: Gate, plugin: Quota, run: Run) -> None:
    """Bytes are granted exactly up to the limit."""
    run("set", "members", "--bytes", "250")
    download(gate, JANE, length=100)
    download(gate, JANE, length=150)
    decision = refused(gate, JANE, length=1)
    assert decision.detail == f"Quota of 250 B a day used up. Try again in {decision.retry_after} seconds."
    assert used(plugin) == {"bytes": 250}


def test_a_denied_download_is_not_charged(gate: Gate, plugin: Quota, run: Run) -> None:
    """A large asset is denied although some bytes are left; a small one is then allowed."""
    run("set", "members", "--bytes", "250")
    download(gate, JANE, length=200)
    assert refused(gate, JANE, length=51).retry_after is not None
    download(gate, JANE, length=50)
    assert used(plugin) == {"bytes": 250}


def test_an_asset_larger_than_the_quota(gate: Gate, run: Run) -> None:
    """The denial of an asset that is larger than the whole quota has no wait."""
    run("set", "members", "--bytes", "250")
    decision = refused(gate, JANE, length=251)
    assert decision.retry_after is None
    assert "whole quota" in (decision.detail or "")


def test_an_unknown_size_counts_no_bytes(gate: Gate, plugin: Quota, run: Run) -> None:
    """A redirect to an asset without file:size is a download of zero bytes."""
    run("set", "members", "--downloads", "5", "--bytes", "250")
    grant = gate.authorize(JANE, asset(size=None))
    gate.charge(grant, ByteRange(0, None), "redirect")
    assert used(plugin) == {"downloads": 1, "bytes": 0}


def test_an_impossible_size_is_shortened(gate: Gate, plugin: Quota, run: Run) -> None:
    """Wrong file sizes of publishers do not exceed the range of the sums."""
    run("set", "members", "--downloads", "4")
    for _ in range(3):
        download(gate, JANE, length=2**63 - 1)
    download(gate, JANE, length=100)
    assert used(plugin) == {"downloads": 4}


def test_an_archive_is_booked_whole_or_not_at_all(
    plug: Plug, publish: Publish, plugin: Quota, run: Run, storage: Storage
) -> None:
    """An archive that does not fit costs nothing and has a wait; one that fits costs all of its files."""
    publish(an_item(assets={key: {"href": f"s3://bucket/{key}"} for key in "abc"}))
    client, path = plug(AllowsAll(), plugin, Shelf()), "/collections/collection/items/item/download.zip"
    run("set", "*", "--downloads", "5", "--bytes", "1GB")
    assert client.get(f"{path}?assets=a,b,c").status_code == 200
    assert used(plugin, ANONYMOUS) == {"downloads": 3, "bytes": 30}
    refusal = client.get(f"{path}?assets=a,b,c")
    assert (refusal.status_code, refusal.get_json()["quota"]["downloads"]["left"]) == (401, 2)
    assert int(refusal.headers["Retry-After"]) > 0
    assert used(plugin, ANONYMOUS) == {"downloads": 3, "bytes": 30}
    assert client.get(f"{path}?assets=a,b").status_code == 200
    assert used(plugin, ANONYMOUS) == {"downloads": 5, "bytes": 50}
    later(storage, 2 * DAY)
    run("set", "*", "--downloads", "2")
    assert "Retry-After" not in client.get(path).headers


def test_parts_of_a_download_are_one_download(gate: Gate, plugin: Quota, run: Run) -> None:
    """Ranges of an asset from its first byte count every byte and one download."""
    run("set", "members", "--downloads", "5", "--bytes", "1MB")
    for first in (0, 100, 900, 500):
        download(gate, JANE, first=first)
    assert used(plugin) == {"downloads": 1, "bytes": 400}


def test_the_last_download_can_be_read_to_its_end(gate: Gate, run: Run) -> None:
    """When no downloads are left, further ranges of an opened asset are allowed, but not another opening."""
    run("set", "members", "--downloads", "1")
    download(gate, JANE, first=0)
    download(gate, JANE, first=100)
    assert refused(gate, JANE, first=0).code == "QuotaExceeded"
    assert refused(gate, JANE, asset("other"), first=0).code == "QuotaExceeded"


def test_parts_of_a_download_are_bounded(gate: Gate, plugin: Quota, run: Run) -> None:
    """One download allows twice the size of the asset; ranges beyond it are another download."""
    run("set", "members", "--downloads", "2")
    for first, count in ((0, 1), (1, 1), (1, 2), (1, 2)):
        download(gate, JANE, first=first, length=100 - first, whole=100)
        assert used(plugin) == {"downloads": count}
    assert refused(gate, JANE, first=1, length=99, whole=100).code == "QuotaExceeded"
    download(gate, JANE, first=99, length=1, whole=100)
    assert used(plugin) == {"downloads": 2}


def test_bounds_of_a_download_are_exact(gate: Gate, run: Run) -> None:
    """Of twenty concurrent ranges, as many are allowed as fit into twice the size of the asset."""
    run("set", "members", "--downloads", "1")
    download(gate, JANE, whole=100)

    def passes(_: int) -> bool:
        try:
            download(gate, JANE, first=70, length=30, whole=100)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(passes, range(20))) == 3


def test_a_directory_is_one_download(gate: Gate, plugin: Quota, run: Run) -> None:
    """All files of a directory asset are one download with all their bytes; another directory is another."""
    run("set", "members", "--downloads", "2", "--bytes", "1MB")
    for number in range(30):
        download(gate, JANE, chunk(f"{number}/0.0"), whole=100)
    assert used(plugin) == {"downloads": 1, "bytes": 3000}
    download(gate, JANE, chunk("0", "cube2"), whole=100)
    assert used(plugin) == {"downloads": 2, "bytes": 3100}
    assert refused(gate, JANE, chunk("0", "cube3"), whole=100).code == "QuotaExceeded"
    download(gate, JANE, chunk("31/0.0"), whole=100)


def test_each_file_of_a_directory_is_bounded(gate: Gate, plugin: Quota, run: Run) -> None:
    """A file that is read more than twice opens the directory asset again, with all its files."""
    run("set", "members", "--downloads", "2")
    for count in (1, 1, 2, 2):
        download(gate, JANE, chunk("a"), whole=100)
        download(gate, JANE, chunk("b"), whole=100)
        assert used(plugin) == {"downloads": count}
    assert refused(gate, JANE, chunk("a"), whole=100).code == "QuotaExceeded"


def test_a_directory_is_opened_again_after_the_window(gate: Gate, plugin: Quota, run: Run, storage: Storage) -> None:
    """After the window, the same directory asset is another download."""
    run("set", "members", "--downloads", "5", "--window", "1h")
    download(gate, JANE, chunk("a"), whole=100)
    later(storage, 2 * 3600)
    download(gate, JANE, chunk("b"), whole=100)
    assert used(plugin) == {"downloads": 1}


@pytest.mark.parametrize(("told", "expected"), [(70, 70), (0, 0), (None, 5)])
def test_a_redirect_counts_the_stores_size(
    plug: Plug, publish: Publish, plugin: Quota, run: Run, told: int | None, expected: int
) -> None:
    """The bytes of a redirect are those of the store, or of file:size if it returned none."""

    class Sized(Shelf):
        @hookimpl
        def deliver(self, streamed: bool) -> Redirect | Stream:
            assert not streamed
            return Redirect("https://store.example.org/signed", timedelta(minutes=15), told)

    publish(an_item(assets={"data": {"href": "s3://bucket/a.tif", "file:size": 5}}))
    run("set", "*", "--bytes", "1MB")
    assert plug(plugin, AllowsAll(), Sized()).get("/collections/collection/items/item/download/data").status_code == 307
    assert used(plugin, ANONYMOUS) == {"bytes": expected}


def test_a_range_without_the_first_byte_is_a_download(gate: Gate, plugin: Quota, run: Run) -> None:
    """A range of an asset that was not opened counts as a download, also without the first byte."""
    run("set", "members", "--downloads", "2")
    download(gate, JANE, asset("a"), first=1)
    download(gate, JANE, asset("b"), first=1)
    download(gate, JANE, asset("b"), first=50)
    assert used(plugin) == {"downloads": 2}
    assert refused(gate, JANE, asset("c"), first=1).code == "QuotaExceeded"


def test_assets_of_a_collection_are_counted_too(gate: Gate, plugin: Quota, run: Run) -> None:
    """An asset of a collection counts as an asset of an item does."""
    run("set", "members", "--downloads", "5")
    download(gate, JANE, Asset("landsat", None, "red", "s3://bucket/red.tif"))
    download(gate, JANE, Asset("landsat", None, "red", "s3://bucket/red.tif"), first=50)
    assert used(plugin) == {"downloads": 1}


def test_each_principal_has_its_own_quota(gate: Gate, run: Run) -> None:
    """Each principal has its own quota; all anonymous users share one."""
    run("set", "*", "--downloads", "1")
    for principal in (JANE, JOE, ANONYMOUS):
        download(gate, principal)
        refused(gate, principal)


def test_special_groups_have_limits(gate: Gate, plugin: Quota, run: Run) -> None:
    """* limits everybody, @ everybody with credentials, and the larger limit applies."""
    run("set", "*", "--downloads", "1")
    run("set", "@", "--downloads", "2")
    download(gate, ANONYMOUS)
    refused(gate, ANONYMOUS)
    for item in "ab":
        download(gate, JOE, asset(item))
    refused(gate, JOE)
    run("unset", "*")
    assert plugin.authorize(ANONYMOUS, asset()) is None


def test_a_group_without_limits_among_groups_that_have_them(gate: Gate, plugin: Quota, run: Run) -> None:
    """`unlimited` must be set; a group without a limit of bytes does not change that of other groups."""
    run("set", "*", "--downloads", "0", "--bytes", "100")
    run("set", "members", "--downloads", "unlimited")
    download(gate, JANE)
    assert used(plugin) == {"bytes": 100}
    refused(gate, JANE)
    run("set", "members", "--downloads", "unlimited", "--bytes", "unlimited")
    download(gate, JANE)
    assert "unlimited" in run("list").stdout


def test_the_window_rolls(gate: Gate, run: Run, storage: Storage) -> None:
    """Downloads are available again when they leave the window; the announced wait is long enough."""
    run("set", "members", "--downloads", "2", "--window", "1h")
    download(gate, JANE, asset("a"))
    later(storage, 1800)
    download(gate, JANE, asset("b"))
    told = refused(gate, JANE, asset("c")).retry_after or 0
    assert 1780 < told <= 1812
    later(storage, told - 30)
    refused(gate, JANE, asset("c"))
    later(storage, 30)
    download(gate, JANE, asset("c"))
    refused(gate, JANE, asset("d"))


def test_old_rows_are_deleted(gate: Gate, run: Run, storage: Storage) -> None:
    """Rows older than all windows are deleted with the next booking of the principal, or by a command."""
    run("set", "members", "--downloads", "9", "--window", "1h")
    run("set", "@", "--downloads", "9", "--window", "1h")
    download(gate, JANE, asset("a"))
    download(gate, JOE, asset("a"))
    later(storage, 4000)
    download(gate, JANE, asset("b"))
    left = "SELECT principal FROM plugin_quota_usage UNION ALL SELECT principal FROM plugin_quota_openings"
    assert sorted(row["principal"] for row in storage.rows(left)) == ["jane", "jane", "joe", "joe"]
    assert "2 rows" in run("prune").stderr
    assert [row["principal"] for row in storage.rows(left)] == ["jane", "jane"]


def test_a_denial_of_another_plugin_costs_nothing(plugin: Quota, run: Run) -> None:
    """If another plugin denies, nothing is charged."""

    class Unwilling:
        @hookimpl
        def authorize(self) -> Decision:
            """Deny."""
            return Decision.deny("unwilling")

    run("set", "members", "--downloads", "5")
    gate = Gate(manage({"quota": plugin, "unwilling": Unwilling()}))
    assert refused(gate, JANE).reason == "unwilling"
    assert used(plugin) == {"downloads": 0}


def test_changed_limits_apply_after_the_cache(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed limit applies without a restart."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    plugin = Quota(cache=5)
    plugin.startup(Services(storage))
    assert plugin.authorize(JANE, asset()) is None
    CliRunner().invoke(plugin.extend_cli()[0], ["set", "members", "--downloads", "0"])
    clock[0] += 5
    decision = plugin.authorize(JANE, asset())
    assert decision is not None
    assert not decision.allowed


def test_usage_with_much_left_is_cached_for_a_second(
    plugin: Quota, run: Run, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While half is left, authorize reads usage once a second; charge always reads it and never exceeds the limit."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    run("set", "members", "--downloads", "4", "--window", "1h")
    here = Quota(cache=5)
    here.startup(Services(storage))
    gate = Gate(manage({"quota": here, "allows": AllowsAll()}))
    download(gate, JANE, asset("a"))
    grant = gate.authorize(JANE, asset("b"))
    for item in "cde":
        assert plugin.charge(JANE, asset(item), ByteRange(0, 100)) is None  # in another process

    unseen = gate.authorize(JANE, asset("b"))
    assert unseen.decision.headers["RateLimit"] == grant.decision.headers["RateLimit"]
    assert unseen.decision.headers["RateLimit"].startswith('"downloads";r=3;')
    with pytest.raises(Refused):
        gate.charge(unseen, ByteRange(0, 100), "stream")
    assert used(plugin) == {"downloads": 4}
    with pytest.raises(Refused):  # usage with little left is not cached
        gate.authorize(JANE, asset("b"))
    later(storage, 4000)
    gate.authorize(JANE, asset("b"))
    for item in "cde":
        assert plugin.charge(JANE, asset(item), ByteRange(0, 100)) is None
    clock[0] += 1
    assert gate.authorize(JANE, asset("b")).decision.headers["RateLimit"].startswith('"downloads";r=1;')


# --- Many at once ----------------------------------------------------------------------------------------------------


def test_exactly_fifty_of_two_hundred_threads(plugin: Quota, gate: Gate, run: Run) -> None:
    """Of 200 concurrent downloads with a limit of 50, 50 are allowed and 50 are booked."""
    run("set", "members", "--downloads", "50")

    def attempt(number: int) -> bool:
        return plugin.charge(JANE, asset(str(number)), ByteRange(0, 100)) is None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(200))) == 50
    assert used(plugin) == {"downloads": 50}
    refused(gate, JANE)


WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from plugins.quota import Quota
from stacflask import Asset, ByteRange, Principal, Services
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.plugin_storage import PluginStorage
from stacflask.settings import Settings

url = Settings.from_environ({"DATABASE_URL": sys.argv[1]}).database_url
plugin = Quota()
plugin.startup(Services(PluginStorage(Database(create_engine(url, pool_size=4, statement_timeout=30)))))
jane = Principal("jane", frozenset({"members"}), "test")

def attempt(number):
    asset = Asset("landsat", f"{sys.argv[2]}-{number}", "red", "s3://b/k")
    return plugin.charge(jane, asset, ByteRange(0, 1000)) is None

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(attempt, range(50))))
"""


@pytest.mark.parametrize("limit", [("--downloads", "50"), ("--bytes", "50kB")])
def test_exactly_fifty_of_two_hundred_in_four_processes(
    plugin: Quota, run: Run, database_url: str, limit: Sequence[str]
) -> None:
    """Four processes with four threads each share a limit of downloads or bytes exactly."""
    run("set", "members", *limit)
    command = [sys.executable, "-c", WORKER, database_url]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen([*command, str(n)], env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for n in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    outputs = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outputs = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(outputs) == 50
    assert used(plugin) in ({"downloads": 50}, {"bytes": 50000})


# --- What is left ----------------------------------------------------------------------------------------------------


def test_the_endpoint_returns_the_quota(gate: Gate, plugin: Quota, run: Run) -> None:
    """GET /quota returns limits, usage and rest; without limits it returns an empty object."""
    (endpoint,) = plugin.extend_api()
    assert endpoint.handler(EndpointRequest(JANE, {})).body == {"principal": "jane", "quota": {}}
    run("set", "members", "--downloads", "5", "--window", "1h")
    download(gate, JANE)
    answer = endpoint.handler(EndpointRequest(JANE, {}))
    downloads = answer.body["quota"]["downloads"]
    assert 3500 < downloads.pop("resets") <= 3612
    assert downloads == {"limit": 5, "used": 1, "left": 4, "window": 3600}
    assert answer.headers["RateLimit-Policy"] == '"downloads";q=5;w=3600'
    assert answer.headers["Cache-Control"] == "no-store"


def test_commands_list_limits_and_usage(gate: Gate, run: Run) -> None:
    """The commands list the limits by group, and the usage of a principal."""
    run("set", "members", "--downloads", "5", "--bytes", "1.5TB", "--window", "30d")
    run("set", "*", "--downloads", "1", "--window", "30d")
    download(gate, JANE)
    lines = [line.split() for line in run("list").stdout.splitlines()[1:]]
    assert lines == [["*", "1", "-", "30d"], ["members", "5", "1.5", "TB", "30d"]]
    shown = run("show", "jane", "--group", "members").stdout.splitlines()[1:]
    assert shown[0].split() == ["downloads", "5", "1", "4", "30d"]
    assert shown[1].split() == ["bytes", "1.5", "TB", "100", "B", "1.5", "TB", "30d"]
    assert run("show", "anonymous").stdout.splitlines()[1].split() == ["downloads", "1", "0", "1", "30d"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "members"], "--downloads"),
        (["set", "members", "--downloads", "-1"], "--downloads"),
        (["set", "members", "--bytes", "much"], "--bytes"),
        (["set", "members", "--bytes", "9999999PB"], "--bytes"),
        (["set", "members", "--downloads", "1", "--window", "soon"], "--window"),
        (["set", "members", "--downloads", "1", "--window", "0s"], "--window"),
        (["set", " ", "--downloads", "1"], "GROUP"),
    ],
)
def test_a_wrong_limit_is_refused(run: Run, storage: Storage, arguments: list[str], message: str) -> None:
    """Each wrong argument is named, and no limit is set."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert storage.rows("SELECT group_name FROM plugin_quota_limits") == []


def test_commands_without_a_limit_fail(run: Run) -> None:
    """It is an error to remove limits that do not exist, or to show usage without limits."""
    assert run("unset", "members").exit_code == 1
    assert run("show", "jane").exit_code == 1


# --- Rules -----------------------------------------------------------------------------------------------------------


def row(downloads: int | None, volume: int | None, window: int) -> dict[str, int | None]:
    return {"downloads": downloads, "bytes": volume, "window_seconds": window}


@pytest.mark.parametrize(
    ("rows", "limits"),
    [
        ([], {}),
        ([row(5, None, DAY)], {DOWNLOADS: Limit(5, DAY)}),
        ([row(5, 10, DAY), row(7, 9, DAY)], {DOWNLOADS: Limit(7, DAY), BYTES: Limit(10, DAY)}),
        ([row(5, 10, DAY), row(None, 9, DAY)], {DOWNLOADS: Limit(5, DAY), BYTES: Limit(10, DAY)}),
        ([row(5, 10, DAY), row(UNLIMITED, 9, 3600)], {BYTES: Limit(9, 3600)}),
        ([row(100, None, DAY), row(10, None, 3600)], {DOWNLOADS: Limit(10, 3600)}),
        ([row(24, None, DAY), row(1, None, 3600)], {DOWNLOADS: Limit(24, DAY)}),
        ([row(0, 0, DAY)], {DOWNLOADS: Limit(0, DAY), BYTES: Limit(0, DAY)}),
    ],
)
def test_the_largest_limit_applies(rows: list[Mapping[str, Any]], limits: Limits) -> None:
    """In each dimension the largest rate applies, then the larger amount; unlimited is the largest."""
    assert combined(rows) == limits


@pytest.mark.parametrize(
    ("taken", "cost", "seconds"),
    [
        ([(50.0, 1), (40.0, 1), (30.0, 1)], 1, 51),
        ([(50.0, 1), (40.0, 1), (30.0, 1)], 2, 61),
        ([(50.0, 1), (40.0, 1), (30.0, 1)], 3, 71),
        ([(50.0, 1), (40.0, 1), (30.0, 1)], 4, None),
        ([(50.0, 3)], 1, 51),
        ([(100.9, 3)], 1, 1),
        ([], 1, 1),
        ([(50.0, 2)], 1, 1),
    ],
)
def test_how_long_to_wait(taken: list[tuple[float, int]], cost: int, seconds: int | None) -> None:
    """The wait lasts until enough periods have left the window; None for a cost above the whole limit."""
    assert wait(Limit(3, 100), 101, taken, cost) == seconds


@pytest.mark.parametrize(("window", "period"), [(1, 1), (500, 1), (3600, 12), (DAY, 300)])
def test_periods_are_short_parts_of_the_window(window: int, period: int) -> None:
    """A day has periods of five minutes; the shorter window decides; the shortest period is a second."""
    assert period_seconds({DOWNLOADS: Limit(1, window), BYTES: Limit(1, 10 * window)}) == period


@pytest.mark.parametrize(
    ("downloads", "volume", "over"),
    [(5, 0, []), (6, 0, [DOWNLOADS]), (5, 96, [BYTES]), (6, 96, [DOWNLOADS, BYTES]), (5, 95, [])],
)
def test_a_shortage_names_its_dimensions(downloads: int, volume: int, over: list[str]) -> None:
    """Usage and cost together must fit, in both dimensions."""
    limits = {DOWNLOADS: Limit(6, DAY), BYTES: Limit(100, DAY)}
    usage = Usage({DOWNLOADS: downloads, BYTES: volume}, {DOWNLOADS: None, BYTES: None}, opened=False)
    short = shortage(limits, usage, {DOWNLOADS: 1, BYTES: 5})
    assert (list(short.over) if short else []) == over


def test_header_fields_hold_fifteen_digits() -> None:
    """A limit that is too large for a structured field is sent as its largest integer."""
    usage = Usage({DOWNLOADS: 0, BYTES: 0}, {DOWNLOADS: None, BYTES: None}, opened=False)
    said = rate_limit_headers({BYTES: Limit(10**18, DAY)}, usage)
    assert said["RateLimit-Policy"] == f'"bytes";q=999999999999999;w={DAY};qu="content-bytes"'
    assert said["RateLimit"] == '"bytes";r=999999999999999'


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("500", 500), ("1kB", 1000), ("500 GB", 500 * 10**9), ("1.5TiB", 3 * 2**39), ("2p", 2 * 10**15)],
)
def test_sizes_are_parsed(text: str, number: int) -> None:
    """Decimal and binary units are accepted, with or without the letter B."""
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "GB", "-1", "1iB", "1.GB", "1e9", "1 XB", "1,5GB", "9" * 20])
def test_other_texts_are_no_size(text: str) -> None:
    """Anything else raises ValueError."""
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (10**12, "1 TB")])
def test_sizes_are_formatted(number: int, text: str) -> None:
    """A size has the largest unit that is not larger than it."""
    assert format_size(number) == text


def test_a_wrong_setting_is_named() -> None:
    """A cache that is no number of seconds prevents the start."""
    with pytest.raises(SettingError, match=r"^STACFLASK_QUOTA_CACHE"):
        create_plugin({"STACFLASK_QUOTA_CACHE": "never"})


def test_set_changes_only_named_limits(run: Run) -> None:
    """Limits and windows that are not named stay, and the replaced ones are printed."""
    assert "(was" not in run("set", "members", "--bytes", "1TB", "--window", "7d").output
    changed = run("set", "members", "--downloads", "unlimited")
    assert "members: downloads unlimited and bytes 1 TB in 1w (was bytes 1 TB in 1w)" in changed.output
    assert "in 30d (was" in run("set", "members", "--window", "30d").output
    assert run("list").output.splitlines()[1].split() == ["members", "unlimited", "1", "TB", "30d"]
    for arguments in (("set", "members"), ("set", "new", "--window", "7d")):
        assert run(*arguments).exit_code == 2


def test_set_warns_of_a_group_that_exists_nowhere(run: Run) -> None:
    """A group that no key and no grant names causes a warning."""
    assert "warning: no grant, limit or other key names the group nobody" in run("set", "nobody", "--bytes", "1").output
    assert "warning" not in run("set", "*", "--bytes", "1").output
