"""The face for plugin authors: the marker, the values and the errors. It imports no Flask and no SQLAlchemy."""

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
from stacflask.model.asset import Asset, Change
from stacflask.model.decision import Decision
from stacflask.model.delivery import ByteRange, Location, Order, Redirect, SignedQueries, Stream
from stacflask.model.endpoint import Cookie, Endpoint, EndpointRequest, EndpointResponse
from stacflask.model.events import DownloadDecision, RequestInfo, StreamResult
from stacflask.model.json_types import Cql2
from stacflask.model.principal import ANONYMOUS, Challenge, Principal, Request
from stacflask.model.services import Services, Setting, Statements, Storage

__version__ = "0.1.0"

__all__ = [
    "ANONYMOUS",
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
    "Location",
    "Missing",
    "NotFound",
    "Offline",
    "Order",
    "Principal",
    "Redirect",
    "Refused",
    "Request",
    "RequestInfo",
    "Services",
    "Setting",
    "SettingError",
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
