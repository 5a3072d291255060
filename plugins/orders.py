"""Who waits for data to be brought online: shown in items, listed, and looked after until the data are there.

Stores know how it stands with each object. This plugin remembers which were asked for, so that somebody can be told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from stacflask import Missing, NotFound, StacflaskError, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stacflask import Asset, Order, Principal, Services, Storage

COMING = ("ordered", "shipping")
KEPT = "30 days"
"""For so long an order is cached once its data were there; for a day, its item tells."""

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


class Table:
    """Orders in the database: a row for each asset and principal."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, principal: Principal, asset: Asset) -> None:
        """Remember that somebody waits, from now on; of nobody in particular, where nobody else does."""
        self._change(OPEN, principal=principal.id, anonymous=principal.anonymous, **_place(asset))

    def close(self, asset: Asset) -> list[str]:
        """Note that the data are there; give who has waited for them."""
        rows = self._change(
            "UPDATE plugin_orders SET ready = now() WHERE collection = :collection AND item = :item AND asset = :asset "
            "AND path = :path AND ready IS NULL RETURNING principal",
            **_place(asset),
        )
        return sorted(row["principal"] for row in rows)

    def states(self, collection: str, item: str) -> dict[str, str]:
        """Say of an item's assets which are waited for, and which have come within a day."""
        rows = self._storage.rows(
            "SELECT asset, bool_or(ready IS NULL) AS waiting FROM plugin_orders "
            "WHERE collection = :collection AND item = :item AND path = '' "
            "AND (ready IS NULL OR ready > now() - interval '1 day') GROUP BY asset",
            collection=collection,
            item=item,
        )
        return {row["asset"]: "shipping" if row["waiting"] else "succeeded" for row in rows}

    def waiting(self) -> list[Mapping[str, Any]]:
        """Give the assets that are waited for, with those who wait, the oldest order first."""
        return self._storage.rows(
            "SELECT collection, item, asset, path, min(ordered) AS ordered, "
            "array_agg(principal ORDER BY ordered) AS who FROM plugin_orders WHERE ready IS NULL "
            "GROUP BY 1, 2, 3, 4 ORDER BY min(ordered)"
        )

    def drop(self, row: Mapping[str, Any]) -> None:
        """Forget the order of what is not in the catalogue, or in its store, any more."""
        self._change(
            "DELETE FROM plugin_orders "
            "WHERE collection = :collection AND item = :item AND asset = :asset AND path = :path",
            **{name: row[name] for name in ("collection", "item", "asset", "path")},
        )

    def tidy(self) -> None:
        """Forget what was there long ago."""
        self._change(f"DELETE FROM plugin_orders WHERE ready < now() - interval '{KEPT}'")

    def _change(self, sql: str, **values: Any) -> list[Mapping[str, Any]]:
        with self._storage.transaction() as statements:
            return statements.rows(sql, **values)


def _place(asset: Asset) -> dict[str, str]:
    return {"collection": asset.collection, "item": asset.item or "", "asset": asset.key, "path": asset.path}


@dataclass
class Orders:
    """The plugin."""

    table: Table = field(init=False, repr=False)
    order_status: Callable[[str, str | None, str], Order] = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage, and the way to see how it stands."""
        self.table = Table(services.storage)
        self.order_status = services.order_status

    @hookimpl
    def order_changed(self, principal: Principal, asset: Asset, order: Order) -> None:
        """Remember who waits, and note when the data are there."""
        if order.status in COMING:
            self.table.open(principal, asset)
        elif order.status == "succeeded" and (who := self.table.close(asset)):
            about = {"collection": asset.collection, "item": asset.item, "asset": asset.key, "path": asset.path}
            log.info("order ready", extra={**about, "principals": who})

    @hookimpl
    def order_states(self, collection: str, item: str) -> Mapping[str, str]:
        """Tell what is known of an item's assets."""
        return self.table.states(collection, item)

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask orders``."""
        return [
            click.Group(
                "orders",
                commands=[list_orders, check_orders],
                help="See who waits for data to be brought online, and whether they are there.",
                context_settings={"obj": self},
            )
        ]


def create_plugin(_: Mapping[str, str]) -> Orders:
    """Make the plugin."""
    return Orders()


def _named(row: Mapping[str, Any]) -> str:
    return "/".join(part for part in (row["collection"], row["item"], row["asset"], row["path"]) if part)


@click.command("list")
@click.pass_obj
def list_orders(plugin: Orders, /) -> None:
    """List what is waited for, since when and by whom."""
    for row in plugin.table.waiting():
        click.echo(f"{row['ordered']:%Y-%m-%dT%H:%M:%SZ}  {_named(row)}  {', '.join(row['who'])}")


@click.command("check")
@click.pass_obj
def check_orders(plugin: Orders, /) -> None:
    """Look at all that is waited for, and name what is there now. Meant to be run every few minutes.

    All plugins that want to be notified are. What has gone from the catalogue or its store is waited for no more.
    """
    for row in plugin.table.waiting():
        key = f"{row['asset']}/{row['path']}" if row["path"] else row["asset"]
        try:
            order = plugin.order_status(row["collection"], row["item"] or None, key)
        except (NotFound, Missing):
            plugin.table.drop(row)
            click.echo(f"gone: {_named(row)}", err=True)
        except StacflaskError as error:
            click.echo(f"not known: {_named(row)}: {error}", err=True)
        else:
            if order.status == "succeeded":
                click.echo(f"ready: {_named(row)}  {', '.join(row['who'])}")
    plugin.table.tidy()
