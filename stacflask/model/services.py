"""What plugins get of the application, and the settings that they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from stacflask.model.delivery import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from stacflask.model.asset import Asset
    from stacflask.model.principal import Principal


class Statements(Protocol):
    """One open transaction."""

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Run one SQL statement with ``:name`` parameters; give its rows, if it has any."""


class Storage(Protocol):
    """A plugin's own tables in the catalogue's database."""

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Read with one statement; cheaper than a transaction, and tried again if the connection was lost."""

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Write with one statement, committed at once; cheaper than a transaction, and never tried again."""

    def transaction(self) -> AbstractContextManager[Statements]:
        """Open a transaction: committed when the block ends, undone when it raises."""


@dataclass(frozen=True, slots=True)
class Services:
    """What stacflask offers to plugins at the start of each process.

    ``refresh_principal(principal, since)`` checks again a principal that a plugin recognised at ``since`` (hook
    ``refresh_principal``). It returns None if no plugin recognises the principal any more, and raises BadCredentials
    for a credential that has ended.
    ``order_status(collection, item, key)`` returns the order status of an asset, whether the user can see it or not;
    ``item`` is None for an asset of a collection.
    ``record_metric(name, value)`` records a figure (hook ``metric_recorded``).
    ``filename(asset)`` returns the file name of a single download; if it is None, ``filename_of`` applies.
    ``changes_possible`` is true if a plugin implements ``authorize_change``: documents can be changed over HTTP.
    """

    storage: Storage
    refresh_principal: Callable[[Principal, datetime], Principal | None] = lambda _principal, _since: None
    record_metric: Callable[[str, float], None] = lambda _name, _value: None
    order_status: Callable[[str, str | None, str], Order] = lambda _collection, _item, _key: Order("succeeded")
    changes_possible: bool = False
    filename: Callable[[Asset], str] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable that a plugin reads. Its module tells them in ``SETTINGS``, for operators; it reads them itself.

    ``default`` is what holds unless it is set, as one would write it. The value of a ``secret`` one is never shown.
    """

    name: str
    help: str
    default: str = ""
    required: bool = False
    secret: bool = False
