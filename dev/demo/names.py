"""The names by which README, tests and the demo walk speak of the demo catalogue."""

from dataclasses import dataclass
from typing import NamedTuple


class Download(NamedTuple):
    """One asset, as the download address names it."""

    collection: str
    item: str
    asset: str


@dataclass(frozen=True, slots=True)
class Licence:
    """What has to be accepted before a first download."""

    id: str
    version: str
    title: str
    text: str


OPEN = "fenlark-2-sr"
"""Optical scenes, free to all."""
MEMBERS = "halyard-x-spot"
"""Radar scenes: seen by all, downloaded by members who accepted the licence."""
HIDDEN = "quickwater-response"
"""Disaster response: neither seen nor downloaded outside its group."""
EDGES = "plumbline-dem"
"""Elevation tiles, free to all, with every awkward shape that STAC allows."""

MEMBERS_GROUP = "members"
RESPONSE_GROUP = "response"
CURATORS_GROUP = "curators"
OPERATORS_GROUP = "operators"

CALIBRATION = "joint-calibration-20250618"
"""An item id that OPEN, MEMBERS and HIDDEN all use: three different items."""

FIRST_DOWNLOAD = Download(OPEN, "fl2-20240611-danube-delta", "visual")
"""Open to all: a small cloud-optimised GeoTIFF."""
LARGE_DOWNLOAD = Download(OPEN, "fl2-mosaic-2025q2-andalusia", "composite")
"""Open to all: a cloud-optimised GeoTIFF of several megabytes, for ranges."""
MEMBERS_DOWNLOAD = Download(MEMBERS, "hx-20250309-rotterdam", "vv")
"""For members who accepted LICENCE."""
HIDDEN_DOWNLOAD = Download(HIDDEN, "qw-001-mara-flood-day-2", "visual")
"""For the response group only."""
MISSING_DOWNLOAD = Download(OPEN, "fl2-20230302-object-missing", "visual")
"""Open to all, but its object is not in the bucket."""

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
"""DEMO ONLY: these API keys stand in the source for all to read. Never load them into a real deployment."""
