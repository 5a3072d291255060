"""Services for plugins, and the settings of plugins."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from stacflask.model.asset import Asset
from stacflask.model.delivery import Order
from stacflask.model.principal import Principal
from stacflask.model.readonly import EMPTY


class Statements(Protocol):
    """An open transaction."""

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Run one SQL statement.

        Args:
            sql: The statement, with ``:name`` parameters.
            values: Values of the parameters.

        Returns:
            The rows by column name; an empty list for a statement without rows.

        Raises:
            Unavailable: The database cannot be reached, or the statement takes too long.
        """


class Storage(Protocol):
    """A plugin's own tables in the database of the catalog."""

    def rows(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Read with one statement. This is faster than a transaction, and is repeated if the connection was lost."""

    def write(self, sql: str, /, **values: Any) -> list[Mapping[str, Any]]:
        """Write with one statement and commit it. This is faster than a transaction, and is never repeated."""

    def transaction(self) -> AbstractContextManager[Statements]:
        """Open a transaction. It is committed when the block ends, and rolled back when the block raises."""


@dataclass(frozen=True, slots=True)
class ShareState:
    """The current use of one share: the threads or connections of this process that one dependency can occupy.

    Attributes:
        name: Name of the share, such as ``store main``, ``plugin quota``, ``streams`` or ``database pool``.
        used: Number of calls, streams or connections in use.
        limit: Maximum of ``used``.
        waiting: Number of threads that wait for their turn.
        refused: Number of calls that were refused since the process started.
        paused: True if no calls are made for a while, because the dependency failed.
    """

    name: str
    used: int
    limit: int
    waiting: int = 0
    refused: int = 0
    paused: bool = False


class RecordMetric(Protocol):
    """Records a metric for the hook ``metric_recorded``."""

    def __call__(self, name: str, value: float, labels: Mapping[str, str] = ..., /) -> None:
        """Record a metric.

        Args:
            name: Name of the metric, in lower case letters, digits and underscores.
            value: Seconds if the name ends in ``_seconds``, else the increment of a counter.
            labels: Label values by name. A metric always has the same label names, and few values of each.
        """


def _record_nothing(_name: str, _value: float, _labels: Mapping[str, str] = EMPTY, /) -> None:
    """Record no metric."""


@dataclass(frozen=True, slots=True)
class Services:
    """Services for plugins, passed to ``startup`` in each process.

    Attributes:
        storage: The plugin's own tables.
        refresh_principal: ``refresh_principal(principal, since)`` re-checks a principal that was authenticated at
            ``since``. It returns None if no plugin recognizes the principal, and raises BadCredentials for a credential
            that has expired.
        record_metric: ``record_metric(name, value, labels)`` records a metric for the hook ``metric_recorded``.
        order_status: ``order_status(collection, item, key)`` returns the state of an asset's order, even if no user can
            see the asset. ``item`` is None for an asset of a collection.
        changes_possible: True if a plugin implements ``authorize_change``, so that clients can change documents.
        filename: ``filename(asset)`` returns the file name of a single download. If it is None, use ``filename_of``.
        share_states: ``share_states()`` returns the current use of all shares of this process.
    """

    storage: Storage
    refresh_principal: Callable[[Principal, datetime], Principal | None] = lambda _principal, _since: None
    record_metric: RecordMetric = _record_nothing
    order_status: Callable[[str, str | None, str], Order] = lambda _collection, _item, _key: Order("succeeded")
    changes_possible: bool = False
    filename: Callable[[Asset], str] | None = None
    share_states: Callable[[], Sequence[ShareState]] = tuple


@dataclass(frozen=True, slots=True)
class Setting:
    """An environment variable that a plugin reads. The plugin's module lists its settings in ``SETTINGS``.

    Attributes:
        name: Name of the variable.
        help: Description for operators.
        default: Default value, as an operator would write it.
        required: True if the variable must be set.
        secret: True if the value must never be shown.
    """

    name: str
    help: str
    default: str = ""
    required: bool = False
    secret: bool = False
