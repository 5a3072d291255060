"""The demo catalogue: four synthetic collections, with objects for some dozens of items.

Everything is invented, deterministic and created without a network. `names` has the ids that README and tests use.
"""

from dev.demo.bucket import StoredObject
from dev.demo.catalogue import Catalogue, catalogue
from dev.demo.names import (
    CALIBRATION,
    CURATORS_GROUP,
    EDGES,
    FIRST_DOWNLOAD,
    HIDDEN,
    HIDDEN_DOWNLOAD,
    KEYS,
    LARGE_DOWNLOAD,
    LICENCE,
    MEMBERS,
    MEMBERS_DOWNLOAD,
    MEMBERS_GROUP,
    MISSING_DOWNLOAD,
    OPEN,
    OPERATORS_GROUP,
    RESPONSE_GROUP,
    Download,
    Licence,
)
from dev.demo.publishing import publish, upload, write

__all__ = [
    "CALIBRATION",
    "CURATORS_GROUP",
    "EDGES",
    "FIRST_DOWNLOAD",
    "HIDDEN",
    "HIDDEN_DOWNLOAD",
    "KEYS",
    "LARGE_DOWNLOAD",
    "LICENCE",
    "MEMBERS",
    "MEMBERS_DOWNLOAD",
    "MEMBERS_GROUP",
    "MISSING_DOWNLOAD",
    "OPEN",
    "OPERATORS_GROUP",
    "RESPONSE_GROUP",
    "Catalogue",
    "Download",
    "Licence",
    "StoredObject",
    "catalogue",
    "publish",
    "upload",
    "write",
]
