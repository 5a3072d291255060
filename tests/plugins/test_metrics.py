"""Metrics: what is counted, under which names, and who may read it."""

import re
from typing import Any

import pytest

from plugins import metrics
from plugins.metrics import create_plugin
from stacflask import Decision, Services, SettingError, Unavailable, hookimpl
from stacflask.testing import Plug, Publish, an_item
from tests.shelf import Shelf

HERE = "/collections/collection/items/item/download/data"
OPEN = {metrics.NETWORKS: "127.0.0.0/8"}
TOKEN = "a-token-for-prometheus"


class Policy(Shelf):
    """Lets everybody in until it is told not to, and delivers from nowhere."""

    denial: Decision | None = None

    @hookimpl
    def startup(self, services: Services) -> None:
        self.record_metric = services.record_metric

    @hookimpl
    def authorize(self) -> Decision:
        return self.denial or Decision.allow("anybody")


def figures(client: Any) -> dict[str, float]:
    """Read what Prometheus would."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.fixture
def policy() -> Policy:
    return Policy()


@pytest.fixture
def client(plug: Plug, publish: Publish, policy: Policy) -> Any:
    publish(an_item(assets={"data": {"href": "s3://bucket/data.tif", "file:size": 1000}}))
    return plug(policy, create_plugin(OPEN))


def test_requests_are_counted_by_rule(client: Any) -> None:
    """The label is the rule of an address: ids and made-up methods make no series of their own."""
    client.get("/collections/one")
    client.get("/collections/two")
    client.get("/nowhere/three")
    client.open("/collections", method="BREW")
    found = figures(client)
    one = 'route="/collections/<collection_id>"'
    assert found[f'stacflask_requests_total{{method="GET",{one},status="404"}}'] == 2
    assert found['stacflask_requests_total{method="GET",route="none",status="404"}'] == 1
    assert [name for name in found if 'method="other"' in name]
    assert found[f"stacflask_request_seconds_count{{{one}}}"] == 2
    assert not re.search("three|BREW|two", " ".join(found))


def test_downloads_are_counted(client: Any) -> None:
    """How they leave, how many bytes are promised, and what a stream has sent."""
    client.get(HERE)
    client.get(f"{HERE}?delivery=stream", headers={"Range": "bytes=2-5"}, buffered=True)
    client.get(f"{HERE}?delivery=stream").close()
    found = figures(client)
    assert found['stacflask_deliveries_total{delivery="redirect"}'] == 1
    assert found['stacflask_granted_bytes_total{delivery="redirect"}'] == 1000
    assert found['stacflask_deliveries_total{delivery="stream"}'] == 2
    assert found["stacflask_sent_bytes_total"] == 4
    assert found['stacflask_streams_total{end="complete"}'] == found['stacflask_streams_total{end="cut"}'] == 1
    assert found["stacflask_streams_in_flight"] == 0
    assert found['stacflask_download_decisions_total{by="Policy",code="",decision="granted",kind=""}'] == 3


def test_what_somebody_keeps_here_is_not_counted_as_gone(plug: Plug, client: Any) -> None:
    """A download that cannot be recorded is none, wherever in the list the plugin stands that keeps it here."""

    class Recorder:
        @hookimpl
        def download_decided(self) -> None:
            raise Unavailable("not just now")

    client = plug(create_plugin(OPEN), Policy(), Recorder())
    for address in (HERE, f"{HERE}?delivery=stream"):
        assert client.get(address).status_code == 503
    found = figures(client)
    assert found["stacflask_streams_in_flight"] == 0
    assert not [name for name in found if "deliveries_total{" in name or "granted" in name]


def test_refusals_are_counted_by_code(client: Any, policy: Policy) -> None:
    """By the plugin that refused and the code that was told; used-up quotas are a kind of their own."""
    policy.denial = Decision.deny("licence 7 of jane", code="LicenceNotAccepted")
    client.get(HERE)
    policy.denial = Decision.deny("used up", kind="exhausted", code="QuotaExceeded")
    client.get(HERE)
    found = figures(client)
    told = 'stacflask_download_decisions_total{{by="Policy",code="{}",decision="refused",kind="{}"}}'
    assert found[told.format("LicenceNotAccepted", "forbidden")] == 1
    assert found[told.format("QuotaExceeded", "exhausted")] == 1
    assert not any("jane" in name for name in found)


def test_figures_of_the_house_and_of_plugins(client: Any, policy: Policy) -> None:
    """The database's time is there, what the audit lost, and whatever a plugin tells; strange names are left out."""
    client.get("/collections")
    policy.record_metric("tape_seconds", 0.2)
    policy.record_metric("tapes", 3)
    policy.record_metric("audit_lost", 2)
    policy.record_metric('tapes{a="b"} 1\n', 3)
    found = figures(client)
    assert found["stacflask_database_seconds_count"] > 0
    assert found["stacflask_tape_seconds_sum"] == 0.2
    assert (found["stacflask_tapes_total"], found["stacflask_audit_lost_total"]) == (3, 2)
    assert len([name for name in found if "tapes" in name and "created" not in name]) == 1


def test_only_so_many_names(client: Any, policy: Policy) -> None:
    """A plugin that makes up names does not fill the memory."""
    for number in range(2 * metrics.MOST):
        policy.record_metric(f"thing_{number}", 1)
    assert len([name for name in figures(client) if re.match(r"stacflask_thing_\d+_total", name)]) < metrics.MOST


def test_the_token_opens(plug: Plug) -> None:
    """Whoever shows it reads; a wrong one does not, and neither does nobody."""
    client = plug(create_plugin({metrics.TOKEN: TOKEN}))
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=shown).status_code == 200
    assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 403
    assert client.get("/metrics").status_code == 403


def test_only_the_networks_read(plug: Plug) -> None:
    """Others are refused, whatever they say of themselves."""
    client = plug(create_plugin({metrics.NETWORKS: "10.0.0.0/8, ::1"}))
    assert client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "10.0.0.1"}).status_code == 200


def test_the_type_is_prometheus_own(client: Any) -> None:
    """The answer says what it is, and no cache keeps it."""
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, metrics.NETWORKS),
        ({metrics.NETWORKS: "everybody"}, metrics.NETWORKS),
        ({metrics.TOKEN: "short"}, metrics.TOKEN),
    ],
)
def test_wrong_settings_stop_the_start(environ: dict[str, str], name: str) -> None:
    """Who may read must be said."""
    with pytest.raises(SettingError, match=f"^{name}: "):
        create_plugin(environ)
