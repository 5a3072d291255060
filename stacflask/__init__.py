"""The public plugin API: the hook marker, values, errors and helpers. It imports neither Flask nor SQLAlchemy.

Until version 1.0 of stacflask, hooks can change in a minor release. The changelog lists each change under *Plugin API*.
"""

from stacflask.bulkhead import Bulkhead
from stacflask.disposition import content_disposition, filename_of
from stacflask.errors import (
    BadCredentials,
    BadDocument,
    BadQuery,
    Conflict,
    Missing,
    NotFound,
    Offline,
    Refused,
    SettingError,
    StacflaskError,
    Unavailable,
)
from stacflask.hookspecs import hookimpl
from stacflask.model.asset import Asset, Change, Interval
from stacflask.model.decision import Decision, Only
from stacflask.model.delivery import ByteRange, Location, Order, Redirect, SignedQueries, Stream
from stacflask.model.endpoint import Cookie, Endpoint, EndpointRequest, EndpointResponse
from stacflask.model.events import DownloadDecision, RequestInfo, StreamResult
from stacflask.model.json_types import Cql2
from stacflask.model.principal import ANONYMOUS, Challenge, Principal, Request
from stacflask.model.services import RecordMetric, Services, Setting, ShareState, Statements, Storage

__version__ = "0.1.0"
PLUGIN_API_VERSION = 1
"""Version of the plugin API. It increases by 1 with each change that can break a plugin."""

__all__ = [
    "ANONYMOUS",
    "PLUGIN_API_VERSION",
    "Asset",
    "BadCredentials",
    "BadDocument",
    "BadQuery",
    "Bulkhead",
    "ByteRange",
    "Challenge",
    "Change",
    "Conflict",
    "Cookie",
    "Cql2",
    "Decision",
    "DownloadDecision",
    "Endpoint",
    "EndpointRequest",
    "EndpointResponse",
    "Interval",
    "Location",
    "Missing",
    "NotFound",
    "Offline",
    "Only",
    "Order",
    "Principal",
    "RecordMetric",
    "Redirect",
    "Refused",
    "Request",
    "RequestInfo",
    "Services",
    "Setting",
    "SettingError",
    "ShareState",
    "SignedQueries",
    "StacflaskError",
    "Statements",
    "Storage",
    "Stream",
    "StreamResult",
    "Unavailable",
    "__version__",
    "content_disposition",
    "filename_of",
    "hookimpl",
]
