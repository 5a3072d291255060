"""Orders of offline data: shown in items, listed, and checked until the data are online.

Stores have the state of each object. This plugin records the orders, so that principals can be notified.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from stacflask import Asset, Missing, NotFound, Order, Principal, Services, StacflaskError, Storage, hookimpl

PENDING = ("ordered", "shipping")
DELETE_AFTER = "30 days"
"""How long an order is stored after its data came online. Its item shows it for a day."""

OPEN = """
INSERT INTO plugin_orders (collection, item, asset, path, principal)
SELECT :collection, :item, :asset, :path, :principal
WHERE NOT CAST(:anonymous AS boolean) OR NOT EXISTS (
    SELECT FROM plugin_orders
    WHERE collection = :collection AND item = :item AND asset = :asset AND path = :path AND ready IS NULL
)
ON CONFLICT ON CONSTRAINT plugin_orders_pkey
DO UPDATE SET ordered = now(), ready = NULL WHERE plugin_orders.ready IS NOT NULL
"""

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")


class OrdersTable:
    """Orders in the database: a row for each asset and principal."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, principal: Principal, asset: Asset) -> None:
        """Record the order of a principal; one of an anonymous user only if there is no other order."""
        self._change(OPEN, principal=principal.id, anonymous=principal.anonymous, **_key(asset))

    def close(self, asset: Asset) -> list[str]:
        """Record that the data are online, and return the principals that ordered them."""
        rows = self._change(
            "UPDATE plugin_orders SET ready = now() WHERE collection = :collection AND item = :item AND asset = :asset "
            "AND path = :path AND ready IS NULL RETURNING principal",
            **_key(asset),
        )
        return sorted(row["principal"] for row in rows)

    def states(self, collection: str, item: str) -> dict[str, str]:
        """Return the order states of an item's assets: pending, and online for less than a day."""
        rows = self._storage.rows(
            "SELECT asset, bool_or(ready IS NULL) AS waiting FROM plugin_orders "
            "WHERE collection = :collection AND item = :item AND path = '' "
            "AND (ready IS NULL OR ready > now() - interval '1 day') GROUP BY asset",
            collection=collection,
            item=item,
        )
        return {row["asset"]: "shipping" if row["waiting"] else "succeeded" for row in rows}

    def waiting(self) -> list[Mapping[str, Any]]:
        """Return the ordered assets with their principals, the oldest order first."""
        return self._storage.rows(
            "SELECT collection, item, asset, path, min(ordered) AS ordered, "
            "array_agg(principal ORDER BY ordered) AS who FROM plugin_orders WHERE ready IS NULL "
            "GROUP BY 1, 2, 3, 4 ORDER BY min(ordered)"
        )

    def drop(self, row: Mapping[str, Any]) -> None:
        """Delete the orders of an asset that is no longer in the catalogue or its store."""
        self._change(
            "DELETE FROM plugin_orders "
            "WHERE collection = :collection AND item = :item AND asset = :asset AND path = :path",
            **{name: row[name] for name in ("collection", "item", "asset", "path")},
        )

    def tidy(self) -> None:
        """Delete orders whose data came online more than ``DELETE_AFTER`` ago."""
        self._change(f"DELETE FROM plugin_orders WHERE ready < now() - interval '{DELETE_AFTER}'")

    def _change(self, sql: str, **values: Any) -> list[Mapping[str, Any]]:
        with self._storage.transaction() as statements:
            return statements.rows(sql, **values)


def _key(asset: Asset) -> dict[str, str]:
    return {"collection": asset.collection, "item": asset.item or "", "asset": asset.key, "path": asset.path}


@dataclass
class Orders:
    """The plugin."""

    table: OrdersTable = field(init=False, repr=False)
    order_status: Callable[[str, str | None, str], Order] = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage and the function that returns the state of an order."""
        self.table = OrdersTable(services.storage)
        self.order_status = services.order_status

    @hookimpl
    def order_changed(self, principal: Principal, asset: Asset, order: Order) -> None:
        """Record an order, or that its data are online."""
        if order.status in PENDING:
            self.table.open(principal, asset)
        elif order.status == "succeeded" and (principals := self.table.close(asset)):
            key = {"collection": asset.collection, "item": asset.item, "asset": asset.key, "path": asset.path}
            log.info("order ready", extra={**key, "principals": principals})

    @hookimpl
    def order_states(self, collection: str, item: str) -> Mapping[str, str]:
        """Return the order states of an item's assets."""
        return self.table.states(collection, item)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask orders``."""
        return [
            click.Group(
                "orders",
                commands=[list_orders, check_orders],
                help="List orders of offline data, and check whether the data are online.",
                context_settings={"obj": self},
            )
        ]


def create_plugin(_: Mapping[str, str]) -> Orders:
    """Return the plugin."""
    return Orders()


def _path(row: Mapping[str, Any]) -> str:
    return "/".join(part for part in (row["collection"], row["item"], row["asset"], row["path"]) if part)


@click.command("list")
@click.pass_obj
def list_orders(plugin: Orders, /) -> None:
    """List the ordered assets with the time of the order and the principals."""
    for row in plugin.table.waiting():
        click.echo(f"{row['ordered']:%Y-%m-%dT%H:%M:%SZ}  {_path(row)}  {', '.join(row['who'])}")


@click.command("check")
@click.pass_obj
def check_orders(plugin: Orders, /) -> None:
    """Check all ordered assets, and print those that are online now. Run this every few minutes.

    Plugins are notified of changes. Orders of assets that are no longer in the catalogue or its store are deleted.
    """
    for row in plugin.table.waiting():
        key = f"{row['asset']}/{row['path']}" if row["path"] else row["asset"]
        try:
            order = plugin.order_status(row["collection"], row["item"] or None, key)
        except (NotFound, Missing):
            plugin.table.drop(row)
            click.echo(f"gone: {_path(row)}", err=True)
        except StacflaskError as error:
            click.echo(f"unknown: {_path(row)}: {error}", err=True)
        else:
            if order.status == "succeeded":
                click.echo(f"ready: {_path(row)}  {', '.join(row['who'])}")
    plugin.table.tidy()
