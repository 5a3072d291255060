"""The project's own demo catalogue: four synthetic collections, with real bytes for some dozens of items.

Everything is invented, deterministic and made without a network. `names` holds what README and tests refer to.
"""

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
from dev.demo.shelf import StoredObject

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
