"""Metrics: series, names, and access."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plugins import metrics
from plugins.metrics import create_plugin
from stacflask import Bulkhead, Decision, Services, SettingError, Unavailable, hookimpl
from stacflask.testing import Plug, Publish, an_item
from tests.shelf import Shelf

ASSET = "/collections/collection/items/item/download/data"
OPEN = {metrics.NETWORKS: "127.0.0.0/8"}
TOKEN = "a-token-for-prometheus"


class Policy(Shelf):
    """Returns ``denial`` if it is set, else allows every download, and delivers every asset."""

    denial: Decision | None = None

    @hookimpl
    def startup(self, services: Services) -> None:
        self.record_metric = services.record_metric

    @hookimpl
    def authorize(self) -> Decision:
        return self.denial or Decision.allow("anybody")


def values(client: Any) -> dict[str, float]:
    """Return the metrics by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    lines = [line.rpartition(" ") for line in response.text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.fixture
def policy() -> Policy:
    return Policy()


@pytest.fixture
def client(plug: Plug, publish: Publish, policy: Policy) -> Any:
    publish(an_item(assets={"data": {"href": "s3://bucket/data.tif", "file:size": 1000}}))
    return plug(policy, create_plugin(OPEN))


def test_requests_are_counted_by_rule(client: Any) -> None:
    """The label is the URL rule: ids and unknown methods add no series."""
    client.get("/collections/one")
    client.get("/collections/two")
    client.get("/nowhere/three")
    client.open("/collections", method="BREW")
    found = values(client)
    one = 'route="/collections/<collection_id>"'
    assert found[f'stacflask_requests_total{{method="GET",{one},status="404"}}'] == 2
    assert found['stacflask_requests_total{method="GET",route="none",status="404"}'] == 1
    assert [name for name in found if 'method="other"' in name]
    assert found[f"stacflask_request_seconds_count{{{one}}}"] == 2
    assert not re.search("three|BREW|two", " ".join(found))


def test_downloads_are_counted(client: Any) -> None:
    """Deliveries, announced bytes and sent bytes of streams are counted."""
    client.get(ASSET)
    client.get(f"{ASSET}?delivery=stream", headers={"Range": "bytes=2-5"}, buffered=True)
    client.get(f"{ASSET}?delivery=stream").close()
    found = values(client)
    assert found['stacflask_deliveries_total{delivery="redirect"}'] == 1
    assert found['stacflask_granted_bytes_total{delivery="redirect"}'] == 1000
    assert found['stacflask_deliveries_total{delivery="stream"}'] == 2
    assert found["stacflask_sent_bytes_total"] == 4
    assert found['stacflask_streams_total{end="complete"}'] == found['stacflask_streams_total{end="cut"}'] == 1
    assert found["stacflask_streams_in_flight"] == 0
    assert found['stacflask_download_decisions_total{by="Policy",code="",decision="granted",kind=""}'] == 3


def test_a_delivery_that_another_plugin_refuses_is_not_counted(plug: Plug, client: Any) -> None:
    """A download that another plugin refuses after the decision is not counted, in any order of the plugins."""

    class Recorder:
        @hookimpl
        def download_decided(self) -> None:
            raise Unavailable("test")

    client = plug(create_plugin(OPEN), Policy(), Recorder())
    for path in (ASSET, f"{ASSET}?delivery=stream"):
        assert client.get(path).status_code == 503
    found = values(client)
    assert found["stacflask_streams_in_flight"] == 0
    assert not [name for name in found if "deliveries_total{" in name or "granted" in name]


def test_refusals_are_counted_by_code(client: Any, policy: Policy) -> None:
    """Denials are counted by plugin and code; used-up quotas have their own kind."""
    policy.denial = Decision.deny("licence 7 of jane", code="LicenceNotAccepted")
    client.get(ASSET)
    policy.denial = Decision.deny("used up", kind="exhausted", code="QuotaExceeded")
    client.get(ASSET)
    found = values(client)
    name = 'stacflask_download_decisions_total{{by="Policy",code="{}",decision="refused",kind="{}"}}'
    assert found[name.format("LicenceNotAccepted", "forbidden")] == 1
    assert found[name.format("QuotaExceeded", "exhausted")] == 1
    assert not any("jane" in series for series in found)


def test_metrics_of_the_application_and_of_plugins(client: Any, policy: Policy) -> None:
    """The database, the audit and plugins have series; metrics with invalid names are ignored."""
    client.get("/collections")
    policy.record_metric("tape_seconds", 0.2)
    policy.record_metric("tapes", 3)
    policy.record_metric("audit_lost", 2)
    policy.record_metric('tapes{a="b"} 1\n', 3)
    policy.record_metric("reads", 4, {"tape": "one"})
    policy.record_metric("reads", 1)
    found = values(client)
    assert found['stacflask_reads_total{tape="one"}'] == 4
    assert found["stacflask_database_seconds_count"] > 0
    assert found["stacflask_tape_seconds_sum"] == 0.2
    assert (found["stacflask_tapes_total"], found["stacflask_audit_lost_total"]) == (3, 2)
    assert len([name for name in found if "tapes" in name and "created" not in name]) == 1


def test_the_number_of_names_is_limited(client: Any, policy: Policy) -> None:
    """A plugin with many names does not fill the memory."""
    for number in range(2 * metrics.MAX_NAMES):
        policy.record_metric(f"thing_{number}", 1)
    assert len([name for name in values(client) if re.match(r"stacflask_thing_\d+_total", name)]) < metrics.MAX_NAMES


def test_the_number_of_label_values_is_limited(client: Any, policy: Policy) -> None:
    """A plugin with many label values does not fill the memory."""
    for number in range(2 * metrics.MAX_SERIES):
        policy.record_metric("reads", 1, {"tape": str(number)})
    assert len([name for name in values(client) if name.startswith("stacflask_reads_total")]) == metrics.MAX_SERIES


def test_the_use_of_shares_is_shown(client: Any, policy: Policy) -> None:
    """Each share has its use, limit, waiting threads and refused calls."""
    share = Bulkhead("tape robot", limit=1, slow=0.01)
    broken = Bulkhead("broken")
    broken.open(60)
    with share, ThreadPoolExecutor() as other:
        with pytest.raises(Unavailable):
            other.submit(share.guard(list)).result()
        found = values(client)
    names = ("used", "limit", "waiting", "paused", "refused_total")
    assert [found[f'stacflask_share_{name}{{share="tape robot"}}'] for name in names] == [1, 1, 0, 0, 1]
    assert found['stacflask_share_paused{share="broken"}'] == broken.state().paused == 1
    assert found['stacflask_share_limit{share="plugin Policy"}'] > 0
    assert values(client)['stacflask_share_refused_total{share="tape robot"}'] == 1


def test_the_pool_and_the_streams_are_shares(client: Any, publish: Publish) -> None:
    """Connections and streams in use are counted, also of a stream that has not ended."""
    stream = client.get(f"{ASSET}?delivery=stream")
    found = values(client)
    stream.close()
    assert found['stacflask_share_used{share="streams"}'] == 1
    assert found['stacflask_share_limit{share="database pool"}'] == 8
    assert found['stacflask_share_used{share="database pool"}'] == 0
    assert values(client)['stacflask_share_used{share="streams"}'] == 0


def test_the_token_gives_access(plug: Plug) -> None:
    """Only clients with the right token can read the metrics."""
    client = plug(create_plugin({metrics.TOKEN: TOKEN}))
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=shown).status_code == 200
    assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 403
    assert client.get("/metrics").status_code == 403


def test_networks_give_access(plug: Plug) -> None:
    """Clients outside the networks are refused, also with a forged X-Forwarded-For."""
    client = plug(create_plugin({metrics.NETWORKS: "10.0.0.0/8, ::1"}))
    assert client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "10.0.0.1"}).status_code == 200


def test_the_response_has_the_prometheus_type(client: Any) -> None:
    """The response has the media type of Prometheus, and must not be cached."""
    response = client.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, metrics.NETWORKS),
        ({metrics.NETWORKS: "everybody"}, metrics.NETWORKS),
        ({metrics.TOKEN: "short"}, metrics.TOKEN),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], name: str) -> None:
    """A token or networks must be configured."""
    with pytest.raises(SettingError, match=f"^{name}: "):
        create_plugin(environ)
