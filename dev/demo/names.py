"""The names in the demo catalogue that README and tests use."""

from typing import NamedTuple


class Download(NamedTuple):
    """One asset, with the ids in its download URL."""

    collection: str
    item: str
    asset: str


class Licence(NamedTuple):
    """A licence that users accept before their first download."""

    id: str
    version: str
    title: str
    text: str


OPEN = "fenlark-2-sr"
"""Public optical scenes."""
MEMBERS = "halyard-x-spot"
"""Radar scenes that everyone can see and that members can download after they accept the licence."""
HIDDEN = "quickwater-response"
"""Disaster response maps that only its group can see and download."""
EDGES = "plumbline-dem"
"""Public elevation tiles, with the difficult cases that STAC allows."""

MEMBERS_GROUP = "members"
RESPONSE_GROUP = "response"
CURATORS_GROUP = "curators"
OPERATORS_GROUP = "operators"

CALIBRATION = "joint-calibration-20250618"
"""An item id in OPEN, MEMBERS and HIDDEN: three different items."""

FIRST_DOWNLOAD = Download(OPEN, "fl2-20240611-danube-delta", "visual")
"""Public: a small cloud-optimised GeoTIFF."""
LARGE_DOWNLOAD = Download(OPEN, "fl2-mosaic-2025q2-andalusia", "composite")
"""Public: a cloud-optimised GeoTIFF of several megabytes, for ranges."""
MEMBERS_DOWNLOAD = Download(MEMBERS, "hx-20250309-rotterdam", "vv")
"""For members after they accept LICENCE."""
HIDDEN_DOWNLOAD = Download(HIDDEN, "qw-001-mara-flood-day-2", "visual")
"""For the response group only."""
MISSING_DOWNLOAD = Download(OPEN, "fl2-20230302-object-missing", "visual")
"""Public, but its object is not in the bucket."""

LICENCE = Licence(
    id="halyard-x-evaluation",
    version="2.0",
    title="Halyard-X evaluation licence (demo)",
    text=(
        "This is a demonstration text without legal effect.\n\n"
        "1. You may copy the scenes and look at them, measure them and teach with them.\n"
        "2. You may not pass the scenes on. What you derive is yours if the scene cannot be restored from it.\n"
        '3. Whatever you publish says "Contains synthetic Halyard-X data".\n'
        "4. The scenes come as they are. Do not sail by them.\n"
    ),
)

KEYS = {
    "member": "sfk_d3300001_DemoOnlyPublishedInTheSourceMember01",
    "responder": "sfk_d3300002_DemoOnlyPublishedInTheSourceResponder02",
    "curator": "sfk_d3300003_DemoOnlyPublishedInTheSourceCurator03",
    "operator": "sfk_d3300004_DemoOnlyPublishedInTheSourceOperator04",
}
"""DEMO ONLY: these API keys are public, because they are in the source. Never load them into a real deployment."""
