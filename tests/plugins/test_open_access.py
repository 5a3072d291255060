"""Open access: every download is allowed, nothing is hidden, and no change is allowed."""

import pytest

from plugins import open_access
from stacflask import ANONYMOUS, Asset, Change, Principal
from stacflask.errors import Refused
from stacflask.gate import Gate
from stacflask.pluginmanager.loading import load_plugins, manage


@pytest.mark.parametrize("principal", [ANONYMOUS, Principal("jane", scheme="test")])
def test_everybody_may_download(principal: Principal) -> None:
    """Every principal, anonymous or not, may download every asset."""
    asset = Asset("landsat", "scene", "red", "s3://bucket/red.tif")
    assert Gate(manage({"open": open_access})).authorize(principal, asset).decision.reason == "open access"


def test_everybody_sees_all() -> None:
    """Nothing is hidden."""
    restriction = Gate(manage({"open": open_access})).restrict(ANONYMOUS)
    assert (restriction.items, restriction.collections) == (None, None)


def test_nobody_may_change_anything() -> None:
    """The plugin returns no decision for changes, and without a decision a change is denied."""
    gate = Gate(load_plugins(["open_access"], {}))
    assert not gate.writable
    with pytest.raises(Refused):
        gate.authorize_change(Principal("jane", scheme="test"), Change("delete", "landsat", "scene"))
