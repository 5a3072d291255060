"""Grants by collection, action and group, in a table: see, preview, download, write.

The same grants apply to searches, lists, single records, downloads and changes. An operator changes them with
``stacflask access``; they take effect in running servers within seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import click

from stacflask import (
    Asset,
    Change,
    Decision,
    Only,
    Principal,
    Services,
    Setting,
    SettingError,
    Statements,
    Storage,
    hookimpl,
)

from .._common import text_tables
from .._common.durations import cache_seconds, cached
from .._common.free_assets import DEFAULT_BYTES, DEFAULT_TYPES, FreeAssets, free_assets
from .._common.groups import NOBODY, SPECIAL, is_plain, names_of, warn_unknown

DEFAULT = "STACFLASK_COLLECTION_GROUPS_DEFAULT"
ADMINS = "STACFLASK_COLLECTION_GROUPS_ADMINS"
CACHE = "STACFLASK_COLLECTION_GROUPS_CACHE"
PREVIEW_TYPES = "STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES"
PREVIEW_BYTES = "STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES"

COMMANDS = ("access",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (
    Setting(
        DEFAULT,
        "Actions without any grant: `closed` denies them, `open` lets everybody see and download.",
        "closed",
    ),
    Setting(ADMINS, "Groups, comma-separated, that may see, download and change everything."),
    Setting(CACHE, "Seconds that the rights of a set of groups are cached.", "5"),
    Setting(PREVIEW_TYPES, "Media types, comma-separated, that the action `preview` covers.", DEFAULT_TYPES),
    Setting(PREVIEW_BYTES, "Size in bytes of the largest object that the action `preview` covers.", str(DEFAULT_BYTES)),
)
CACHED_GROUP_SETS = 64  # with thousands of collections each takes a megabyte

ACTIONS = ("see", "preview", "download", "write")
OPEN_ACTIONS = ("see", "download")
"""The actions that everybody may do if the default is open and the collection has no grant of the action."""
PREVIEWS = frozenset({"thumbnail", "overview", "metadata"})
"""``preview`` covers small assets that have only these roles."""
PREVIEW_ASSETS = FreeAssets(PREVIEWS)


def create_plugin(environ: Mapping[str, str]) -> CollectionGroups:
    """Return the plugin. Raises SettingError."""
    default = environ.get(DEFAULT, "").strip().lower() or "closed"
    if default not in ("closed", "open"):
        raise SettingError(DEFAULT, f"expected closed or open, got {default!r}")
    admins = frozenset(word.strip() for word in environ.get(ADMINS, "").split(",") if word.strip())
    if admins & SPECIAL:
        raise SettingError(ADMINS, "expected names of groups; *, @ and - are not allowed")
    previews = free_assets(environ, PREVIEWS, PREVIEW_TYPES, PREVIEW_BYTES)
    return CollectionGroups(default == "open", admins, cache_seconds(environ, CACHE), previews)


# --- Rules -----------------------------------------------------------------------------------------------------------

Grants = dict[str, dict[str, str]]
"""By action and collection: a group that has the grant."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a set of groups.

    ``limited``, if the default is open: the collections that have any grant, by action.
    """

    granted: Grants
    limited: Mapping[str, frozenset[str]] | None
    visible: Only | None

    def reason(self, action: str, collection: str) -> str | None:
        """Return why the action is allowed; None if it is not."""
        group = self.granted.get(action, {}).get(collection)
        if group is not None:
            return f"{group} may {action}"
        if self.limited is None or action not in OPEN_ACTIONS or collection in self.limited.get(action, ()):
            return None
        return f"{action} is open by default"


def rights(granted: Grants, limited: Mapping[str, frozenset[str]] | None) -> Rights:
    """Return the rights of a set of groups; ``limited`` is None if the default is closed."""
    seen = granted.get("see", {})
    if limited is None:
        return Rights(granted, limited, _only(frozenset(seen)))
    hidden = limited.get("see", frozenset()) - seen.keys()
    return Rights(granted, limited, _only(frozenset(hidden), excluded=True) if hidden else None)


# The same rights give the same value, which stacflask need not check again.
_only = lru_cache(maxsize=CACHED_GROUP_SETS)(Only)


def needs_admin(change: Change) -> bool:
    """Return whether a change creates or deletes a collection."""
    return change.new_collection or (change.item is None and change.action == "delete")


# --- Storage ---------------------------------------------------------------------------------------------------------


class GrantsTable:
    """The grants in the database. Rights are cached for ``cache`` seconds."""

    def __init__(self, storage: Storage, cache: float, *, open_default: bool) -> None:
        self._storage = storage
        self._open = open_default
        self.rights = cached(self._rights, cache, CACHED_GROUP_SETS)
        self._limited = cached(self._read_limited, cache, 1)

    def _rights(self, groups: frozenset[str]) -> Rights:
        """Return the rights of a set of groups."""
        rows = self._storage.rows(
            "SELECT action, json_object_agg(collection, via) AS collections FROM (SELECT action, collection, "
            "min(group_name) AS via FROM plugin_collection_groups_grants WHERE group_name = ANY(:groups) "
            "GROUP BY action, collection) AS granted GROUP BY action",
            groups=list(groups),
        )
        granted = {row["action"]: row["collections"] for row in rows}
        return rights(granted, self._limited() if self._open else None)

    def _read_limited(self) -> dict[str, frozenset[str]]:
        rows = self._storage.rows(
            "SELECT action, array_agg(collection) AS collections FROM "
            "(SELECT DISTINCT action, collection FROM plugin_collection_groups_grants) AS limited GROUP BY action"
        )
        return {row["action"]: frozenset(row["collections"]) for row in rows}

    def grants(self, collection: str | None) -> list[Mapping[str, str]]:
        """Return the grants, of one collection or of all."""
        return self._storage.rows(
            "SELECT collection, action, group_name FROM plugin_collection_groups_grants "
            "WHERE collection = coalesce(:collection, collection) ORDER BY collection, action, group_name",
            collection=collection,
        )

    def grant(self, collection: str, action: str, groups: Sequence[str]) -> None:
        """Grant an action to groups; existing grants stay."""
        with self._storage.transaction() as statements:
            statements.rows(
                "INSERT INTO plugin_collection_groups_grants (collection, action, group_name) "
                "SELECT :collection, :action, unnest(CAST(:groups AS text[])) ON CONFLICT DO NOTHING",
                collection=collection,
                action=action,
                groups=list(groups),
            )

    def revoke(self, collection: str, action: str, groups: Sequence[str], *, reopen: bool) -> int:
        """Revoke grants and return their number. Raises LookupError if that would open the action to everybody."""
        with self._storage.transaction() as statements:
            revoked = statements.rows(
                "DELETE FROM plugin_collection_groups_grants WHERE collection = :collection AND action = :action "
                "AND group_name = ANY(:groups) RETURNING group_name",
                collection=collection,
                action=action,
                groups=list(groups),
            )
            if revoked and self._open and action in OPEN_ACTIONS and not reopen:
                _keep_closed(statements, collection, action)
        return len(revoked)


def _keep_closed(statements: Statements, collection: str, action: str) -> None:
    left = statements.rows(
        "SELECT FROM plugin_collection_groups_grants WHERE collection = :collection AND action = :action LIMIT 1",
        collection=collection,
        action=action,
    )
    if not left:
        raise LookupError(collection)


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class CollectionGroups:
    """The plugin. ``admins``: groups that may do everything; ``cache``: seconds."""

    open_default: bool = False
    admins: frozenset[str] = frozenset()
    cache: float = 5.0
    previews: FreeAssets = PREVIEW_ASSETS
    table: GrantsTable = field(init=False, repr=False)
    storage: Storage = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage."""
        self.storage = services.storage
        self.table = GrantsTable(services.storage, self.cache, open_default=self.open_default)

    @hookimpl
    def restrict(self, principal: Principal, of: Literal["items", "collections"]) -> Only | None:
        """Hide the collections that the principal may not see, with their items."""
        if of == "items" or self.admins & principal.groups:
            return None
        return self.table.rights(names_of(principal)).visible

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision:
        """Allow what was granted and deny everything else."""
        reason = self._reason(principal, "download", asset.collection)
        if reason is not None:
            return Decision.allow(reason)
        if self.previews.includes(asset):
            reason = self._reason(principal, "preview", asset.collection)
        if reason is not None:
            return Decision.allow(reason, max_bytes=self.previews.max_bytes)
        return Decision.deny(
            f"no grant to download from {asset.collection}",
            detail=f"You may not download from collection {asset.collection!r}.",
        )

    @hookimpl
    def authorize_change(self, principal: Principal, change: Change) -> Decision:
        """Allow what was granted and deny everything else."""
        reason = self._admin(principal) if needs_admin(change) else self._reason(principal, "write", change.collection)
        if reason is not None:
            return Decision.allow(reason)
        if change.new_collection:
            return Decision.deny("only administrators create collections", detail="You may not create collections.")
        detail = f"You may not change collection {change.collection!r}."
        return Decision.deny(f"no grant to {change.action} in {change.collection}", detail=detail)

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report the assets that users with ``preview`` alone can download."""
        return [f"{PREVIEW_TYPES}: `preview` covers {self.previews}"]

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask access``."""
        group = click.Group(
            "access",
            commands=[show, grant, revoke],
            help="Grant groups the actions see, preview, download and write by collection.",
            context_settings={"obj": self},
        )
        return [group]

    def _reason(self, principal: Principal, action: str, collection: str) -> str | None:
        return self._admin(principal) or self.table.rights(names_of(principal)).reason(action, collection)

    def _admin(self, principal: Principal) -> str | None:
        groups = self.admins & principal.groups
        return f"{min(groups)} administers all collections" if groups else None


# --- Commands --------------------------------------------------------------------------------------------------------


def _parse_names(_: click.Context, __: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    for name in [value] if isinstance(value, str) else value:
        if not is_plain(name):
            raise click.BadParameter(f"{name!r} is not a valid name: expected printable characters, not only spaces")
    return value


_collection = click.argument("collection", callback=_parse_names)
_action = click.argument("action", type=click.Choice(ACTIONS))
_groups = click.argument("groups", metavar="GROUP...", nargs=-1, required=True, callback=_parse_names)


@click.command("list")
@click.argument("collection", required=False)
@click.pass_obj
def show(plugin: CollectionGroups, /, collection: str | None) -> None:
    """List the grants, of COLLECTION or of all, and the default for actions without a grant."""
    grants = plugin.table.grants(collection)
    rows = [(row["collection"], row["action"], row["group_name"]) for row in grants]
    text_tables.print_table(("COLLECTION", "ACTION", "GROUP"), rows)
    default = "everybody may see and download" if plugin.open_default else "nobody may do anything"
    click.echo(f"Without a grant, {default}.", err=True)


@click.command("grant")
@_collection
@_action
@_groups
@click.pass_obj
def grant(plugin: CollectionGroups, /, collection: str, action: str, groups: tuple[str, ...]) -> None:
    """Let each GROUP do ACTION in COLLECTION. Special groups: * everybody, @ everybody with credentials, - nobody."""
    warn_unknown(plugin.storage, groups)
    plugin.table.grant(collection, action, groups)
    click.echo(f"{', '.join(groups)} may {action} {collection}", err=True)


@click.command("revoke")
@_collection
@_action
@_groups
@click.option("--reopen", is_flag=True, help="Revoke the last grant, too, so that everybody may do the action.")
@click.pass_obj
def revoke(plugin: CollectionGroups, /, collection: str, action: str, groups: tuple[str, ...], reopen: bool) -> None:
    """Revoke ACTION in COLLECTION from each GROUP."""
    try:
        revoked = plugin.table.revoke(collection, action, groups, reopen=reopen)
    except LookupError:
        raise click.ClickException(
            f"these are the last grants: without them, everybody may {action} {collection}. "
            f"Grant it to {NOBODY} first to keep it closed, or add --reopen to open it."
        ) from None
    if not revoked:
        raise click.ClickException(f"no GROUP has a grant to {action} {collection}")
    click.echo(f"revoked {action} {collection} from {', '.join(groups)}", err=True)
