"""Who sees, downloads and changes which collection: groups and what they were granted, in a table.

The same grants answer for searches, lists, single records, downloads and changes. An operator changes them with
``stacflask access``; running servers notice within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import click

from plugins._common import text_tables
from plugins._common.free_assets import DEFAULT_BYTES, DEFAULT_TYPES, FreeAssets, free_assets
from plugins._common.groups import NOBODY, SPECIAL, is_plain, names, warn_unknown
from plugins._common.spans import cache_seconds, remembered
from stacflask import Decision, Setting, SettingError, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask import Asset, Change, Cql2, Principal, Services, Statements, Storage

DEFAULT = "STACFLASK_COLLECTION_GROUPS_DEFAULT"
ADMINS = "STACFLASK_COLLECTION_GROUPS_ADMINS"
CACHE = "STACFLASK_COLLECTION_GROUPS_CACHE"
PREVIEW_TYPES = "STACFLASK_COLLECTION_GROUPS_PREVIEW_TYPES"
PREVIEW_BYTES = "STACFLASK_COLLECTION_GROUPS_PREVIEW_BYTES"

COMMANDS = ("access",)
SETTINGS = (
    Setting(
        DEFAULT,
        "What holds for an action that no grant speaks of: `closed`, nobody may; `open`, all may see and download.",
        "closed",
    ),
    Setting(ADMINS, "Groups, comma separated, that may see, download and change everything."),
    Setting(CACHE, "Seconds for which the rights of a set of groups are trusted.", "5"),
    Setting(PREVIEW_TYPES, "Media types, comma separated, that the action `preview` covers.", DEFAULT_TYPES),
    Setting(PREVIEW_BYTES, "Largest object in bytes that the action `preview` covers.", str(DEFAULT_BYTES)),
)
REMEMBERED = 64  # sets of groups; with thousands of collections each takes a megabyte

ACTIONS = ("see", "preview", "download", "write")
OPEN_ACTIONS = ("see", "download")
"""What everybody may where the default is open and no grant says otherwise."""
PREVIEWS = frozenset({"thumbnail", "overview", "metadata"})
"""A small asset with these roles and no others may be had by ``preview`` as well as by ``download``."""
PREVIEW_ASSETS = FreeAssets(PREVIEWS)


def create_plugin(environ: Mapping[str, str]) -> CollectionGroups:
    """Make the plugin. Raises SettingError."""
    default = environ.get(DEFAULT, "").strip().lower() or "closed"
    if default not in ("closed", "open"):
        raise SettingError(DEFAULT, f"expected closed or open, not {default!r}")
    admins = frozenset(word.strip() for word in environ.get(ADMINS, "").split(",") if word.strip())
    if admins & SPECIAL:
        raise SettingError(ADMINS, "expected names of groups; *, @ and - are none")
    previews = free_assets(environ, PREVIEWS, PREVIEW_TYPES, PREVIEW_BYTES)
    return CollectionGroups(default == "open", admins, cache_seconds(environ, CACHE), previews)


# --- Rules -----------------------------------------------------------------------------------------------------------

Grants = dict[str, dict[str, str]]
"""By action and collection, the group that was granted it."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a set of groups may. ``governed``, if the default is open: by action, the collections with any grant."""

    granted: Grants
    governed: Mapping[str, frozenset[str]] | None
    visible: Cql2 | None

    def reason(self, action: str, collection: str) -> str | None:
        """Say why the action is allowed; None if it is not."""
        group = self.granted.get(action, {}).get(collection)
        if group is not None:
            return f"{group} may {action}"
        if self.governed is None or action not in OPEN_ACTIONS or collection in self.governed.get(action, ()):
            return None
        return f"no grant limits {action}"


def rights(granted: Grants, governed: Mapping[str, frozenset[str]] | None) -> Rights:
    """Put together what the table says about a set of groups; ``governed`` is None if the default is closed."""
    seen = granted.get("see", {})
    if governed is None:
        return Rights(granted, governed, _one_of(seen))
    hidden = governed.get("see", frozenset()) - seen.keys()
    return Rights(granted, governed, {"op": "not", "args": [_one_of(hidden)]} if hidden else None)


def _one_of(collections: Mapping[str, str] | frozenset[str]) -> Cql2:
    # In order, so that the same rights are the same statement to whoever caches statements; and what cannot change
    # need not be compared with what it was.
    return {"op": "in", "args": [{"property": "id"}, tuple(sorted(collections))]} if collections else False


def needs_admin(change: Change) -> bool:
    """Whether a change makes or removes a whole collection."""
    return change.new_collection or (change.item is None and change.action == "delete")


# --- Storage ---------------------------------------------------------------------------------------------------------


class Table:
    """The grants in the database. What is read is trusted for ``cache`` seconds."""

    def __init__(self, storage: Storage, cache: float, *, open_default: bool) -> None:
        self._storage = storage
        self._open = open_default
        self.rights = remembered(self._rights, cache, REMEMBERED)
        self._governed = remembered(self._read_governed, cache, 1)

    def _rights(self, groups: frozenset[str]) -> Rights:
        """Give what a set of groups may."""
        rows = self._storage.rows(
            "SELECT action, json_object_agg(collection, via) AS collections FROM (SELECT action, collection, "
            "min(group_name) AS via FROM plugin_collection_groups WHERE group_name = ANY(:groups) "
            "GROUP BY action, collection) AS granted GROUP BY action",
            groups=list(groups),
        )
        granted = {row["action"]: row["collections"] for row in rows}
        return rights(granted, self._governed() if self._open else None)

    def _read_governed(self) -> dict[str, frozenset[str]]:
        rows = self._storage.rows(
            "SELECT action, array_agg(collection) AS collections FROM "
            "(SELECT DISTINCT action, collection FROM plugin_collection_groups) AS governed GROUP BY action"
        )
        return {row["action"]: frozenset(row["collections"]) for row in rows}

    def grants(self, collection: str | None) -> list[Mapping[str, str]]:
        """Give the grants, of one collection or of all."""
        return self._storage.rows(
            "SELECT collection, action, group_name FROM plugin_collection_groups "
            "WHERE collection = coalesce(:collection, collection) ORDER BY collection, action, group_name",
            collection=collection,
        )

    def grant(self, collection: str, action: str, groups: Sequence[str]) -> None:
        """Grant an action to groups; what was granted already stays."""
        with self._storage.transaction() as statements:
            statements.rows(
                "INSERT INTO plugin_collection_groups (collection, action, group_name) "
                "SELECT :collection, :action, unnest(CAST(:groups AS text[])) ON CONFLICT DO NOTHING",
                collection=collection,
                action=action,
                groups=list(groups),
            )

    def revoke(self, collection: str, action: str, groups: Sequence[str], *, reopen: bool) -> int:
        """Take grants back and give their number. Raises LookupError if that would open what is closed now."""
        with self._storage.transaction() as statements:
            taken = statements.rows(
                "DELETE FROM plugin_collection_groups WHERE collection = :collection AND action = :action "
                "AND group_name = ANY(:groups) RETURNING group_name",
                collection=collection,
                action=action,
                groups=list(groups),
            )
            if taken and self._open and action in OPEN_ACTIONS and not reopen:
                _keep_closed(statements, collection, action)
        return len(taken)


def _keep_closed(statements: Statements, collection: str, action: str) -> None:
    left = statements.rows(
        "SELECT FROM plugin_collection_groups WHERE collection = :collection AND action = :action LIMIT 1",
        collection=collection,
        action=action,
    )
    if not left:
        raise LookupError(collection)


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class CollectionGroups:
    """The plugin. ``admins`` are groups that may do everything; ``cache`` is in seconds."""

    open_default: bool = False
    admins: frozenset[str] = frozenset()
    cache: float = 5.0
    previews: FreeAssets = PREVIEW_ASSETS
    table: Table = field(init=False, repr=False)
    storage: Storage = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage."""
        self.storage = services.storage
        self.table = Table(services.storage, self.cache, open_default=self.open_default)

    @hookimpl
    def restrict(self, principal: Principal, of: Literal["items", "collections"]) -> Cql2 | None:
        """Hide the collections that may not be seen; their items are hidden with them."""
        if of == "items" or self.admins & principal.groups:
            return None
        return self.table.rights(names(principal)).visible

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision:
        """Consent to what was granted and deny all else."""
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
        """Consent to what was granted and deny all else."""
        reason = self._admin(principal) if needs_admin(change) else self._reason(principal, "write", change.collection)
        if reason is not None:
            return Decision.allow(reason)
        if change.new_collection:
            return Decision.deny("no administrator", detail="You may not create collections.")
        detail = f"You may not change collection {change.collection!r}."
        return Decision.deny(f"no grant to {change.action} in {change.collection}", detail=detail)

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report which assets are free to users with ``preview`` alone."""
        return [f"{PREVIEW_TYPES}: `preview` covers {self.previews}"]

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask access``."""
        group = click.Group(
            "access",
            commands=[show, grant, revoke],
            help="Say which groups may see, preview, download and write which collections.",
            context_settings={"obj": self},
        )
        return [group]

    def _reason(self, principal: Principal, action: str, collection: str) -> str | None:
        return self._admin(principal) or self.table.rights(names(principal)).reason(action, collection)

    def _admin(self, principal: Principal) -> str | None:
        groups = self.admins & principal.groups
        return f"{min(groups)} administers all collections" if groups else None


# --- Commands --------------------------------------------------------------------------------------------------------


def _given_names(_: click.Context, __: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    for name in [value] if isinstance(value, str) else value:
        if not is_plain(name):
            raise click.BadParameter(f"{name!r} cannot be used as a name")
    return value


_collection = click.argument("collection", callback=_given_names)
_action = click.argument("action", type=click.Choice(ACTIONS))
_groups = click.argument("groups", metavar="GROUP...", nargs=-1, required=True, callback=_given_names)


@click.command("list")
@click.argument("collection", required=False)
@click.pass_obj
def show(plugin: CollectionGroups, /, collection: str | None) -> None:
    """List the grants, of COLLECTION or of all, and the default where nothing was granted."""
    grants = plugin.table.grants(collection)
    rows = [(row["collection"], row["action"], row["group_name"]) for row in grants]
    text_tables.show(("COLLECTION", "ACTION", "GROUP"), rows)
    rest = "everybody may see and download" if plugin.open_default else "nobody may do anything"
    click.echo(f"Where nothing is listed, {rest}.", err=True)


@click.command("grant")
@_collection
@_action
@_groups
@click.pass_obj
def grant(plugin: CollectionGroups, /, collection: str, action: str, groups: tuple[str, ...]) -> None:
    """Let each GROUP do ACTION in COLLECTION. Special: * is everybody, @ everybody with credentials, - nobody."""
    warn_unknown(plugin.storage, groups)
    plugin.table.grant(collection, action, groups)
    click.echo(f"{', '.join(groups)} may {action} {collection}", err=True)


@click.command("revoke")
@_collection
@_action
@_groups
@click.option("--reopen", is_flag=True, help="Even if that leaves the action open to everybody.")
@click.pass_obj
def revoke(plugin: CollectionGroups, /, collection: str, action: str, groups: tuple[str, ...], reopen: bool) -> None:
    """Take ACTION in COLLECTION from each GROUP."""
    try:
        taken = plugin.table.revoke(collection, action, groups, reopen=reopen)
    except LookupError:
        raise click.ClickException(
            f"these are the last grants: without any, everybody may {action} {collection}. "
            f"Grant it to {NOBODY} first to close it, or say --reopen."
        ) from None
    if not taken:
        raise click.ClickException("no such grant")
    click.echo(f"took {action} {collection} from {', '.join(groups)}", err=True)
