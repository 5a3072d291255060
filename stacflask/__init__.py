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
from stacflask.model.delivery import Loan, Location, Order, Portion, Redirect, Stream
from stacflask.model.endpoint import Answer, Call, Cookie, Endpoint
from stacflask.model.events import Transfer, Verdict, Visit
from stacflask.model.json_types import Cql2
from stacflask.model.principal import ANONYMOUS, Challenge, Principal, Request
from stacflask.model.services import Services, Setting, Statements, Storage

__version__ = "0.1.0"

__all__ = [
    "ANONYMOUS",
    "Answer",
    "Asset",
    "BadCredentials",
    "BadDocument",
    "BadQuery",
    "Bulkhead",
    "Call",
    "Challenge",
    "Change",
    "Conflict",
    "Cookie",
    "Cql2",
    "Decision",
    "Endpoint",
    "Loan",
    "Location",
    "Missing",
    "NotFound",
    "Offline",
    "Order",
    "Portion",
    "Principal",
    "Redirect",
    "Refused",
    "Request",
    "Services",
    "Setting",
    "SettingError",
    "StacflaskError",
    "Statements",
    "Storage",
    "Stream",
    "Transfer",
    "Unavailable",
    "Verdict",
    "Visit",
    "__version__",
    "content_disposition",
    "filename_of",
    "hookimpl",
]
