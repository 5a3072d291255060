"""Licences that users accept before a download, recorded with principal, version and time.

A collection requires licences by id, in their newest version: a new version must be accepted again. Browsers get a
licence as a page with a form; programs use JSON at the same URLs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from stacflask import (
    Asset,
    BadDocument,
    Decision,
    Endpoint,
    EndpointRequest,
    EndpointResponse,
    Principal,
    Refused,
    Services,
    Setting,
    SettingError,
    hookimpl,
)

from .._common.durations import cache_seconds
from .._common.free_assets import DEFAULT_BYTES, DEFAULT_TYPES, FreeAssets, free_assets
from .._common.pages import prefers_page
from .acceptance import accepted_version, check_origin
from .commands import acceptances, add, require, show, unrequire
from .documents import ACCEPTANCE, BY_ACCEPT, LICENCE, LIST, licence_document, not_accepted
from .licence_page import licence_page
from .table import LicenceTables

FREE_ROLES = "STACFLASK_LICENCE_FREE_ROLES"
FREE_TYPES = "STACFLASK_LICENCE_FREE_TYPES"
FREE_BYTES = "STACFLASK_LICENCE_FREE_BYTES"
CACHE = "STACFLASK_LICENCE_CACHE"
LOGIN = "STACFLASK_LICENCE_LOGIN"

COMMANDS = ("licence",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (
    Setting(FREE_ROLES, "Roles, comma-separated: small assets that have only these roles need no licence."),
    Setting(FREE_TYPES, "Media types, comma-separated, of assets that need no licence.", DEFAULT_TYPES),
    Setting(FREE_BYTES, "Size in bytes of the largest object that needs no licence.", str(DEFAULT_BYTES)),
    Setting(CACHE, "Seconds that required licences and acceptances are cached.", "5"),
    Setting(LOGIN, "Path of the login, for a link on licence pages: `/login` with the plugin `login`."),
)
NO_FREE_ASSETS = FreeAssets()


def create_plugin(environ: Mapping[str, str]) -> Licences:
    """Return the plugin. Raises SettingError."""
    roles = frozenset(word.strip() for word in environ.get(FREE_ROLES, "").split(",") if word.strip())
    login = environ.get(LOGIN, "").strip()
    if login and not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", login):
        raise SettingError(LOGIN, f"expected a path of this API, such as /login, got {login!r}")
    return Licences(free_assets(environ, roles, FREE_TYPES, FREE_BYTES), cache_seconds(environ, CACHE), login)


@dataclass
class Licences:
    """The plugin.

    ``free``: the assets that need no licence; ``cache``: seconds; ``login``: the path of the login, or empty.
    """

    free: FreeAssets = NO_FREE_ASSETS
    cache: float = 5.0
    login: str = ""
    table: LicenceTables = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage."""
        self.table = LicenceTables(services.storage, self.cache)

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision | None:
        """Deny until all licences are accepted, then abstain."""
        return self._authorize(asset, self._missing(principal, asset.collection))

    @hookimpl
    def authorize_many(self, principal: Principal, assets: Sequence[Asset]) -> Sequence[Decision | None]:
        """Return the decisions of ``authorize`` for many assets; read each collection once."""
        collections = {asset.collection for asset in assets}
        missing = {collection: self._missing(principal, collection) for collection in collections}
        return [self._authorize(asset, missing[asset.collection]) for asset in assets]

    def _authorize(self, asset: Asset, missing: Decision | None) -> Decision | None:
        """Return the denial for a missing licence. For a free asset, limit the size instead."""
        if missing is None or not self.free.includes(asset):
            return missing
        return Decision.abstain("needs no licence", max_bytes=self.free.max_bytes)

    def _missing(self, principal: Principal, collection: str) -> Decision | None:
        """Return the denial for the first licence of a collection that was not accepted; None if there is none."""
        for demand in self.table.demands(collection):
            if principal.anonymous or not self.table.has_accepted(principal.id, demand):
                return not_accepted(demand)
        return None

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the endpoints that list, show and accept licences."""
        one, accept = "/licences/{licenceId}", "/licences/{licenceId}/acceptance"
        return [
            Endpoint("GET", "/licences", self.list_licences, "List the licences.", LIST),
            Endpoint("GET", one, self.show_licence, "Show a licence; browsers get a page.", LICENCE, statuses=(404,)),
            # A key that may only read must not accept a licence for its principal.
            Endpoint(
                "POST",
                accept,
                self.accept_licence,
                "Accept a licence.",
                LICENCE,
                ACCEPTANCE,
                statuses=(400, 404),
                scope="download",
                forms=True,
            ),
        ]

    def list_licences(self, call: EndpointRequest) -> EndpointResponse:
        """Return all licences in their newest versions, without the text."""
        rows = self.table.newest(call.principal.id)
        return EndpointResponse({"licences": [licence_document(row, call.base_url) for row in rows], "links": []})

    def show_licence(self, call: EndpointRequest) -> EndpointResponse:
        """Return one licence with its text. Raises NotFound."""
        row = self.table.find(call.principal.id, call.values["licenceId"])
        if prefers_page(call.request):
            return licence_page(row, call, self.login)
        licence = licence_document(row, call.base_url) | {name: row[name] for name in ("text", "url") if row[name]}
        return EndpointResponse(licence, headers=BY_ACCEPT)

    def accept_licence(self, call: EndpointRequest) -> EndpointResponse:
        """Record an acceptance of the newest version, and return it. Raises Refused, NotFound, BadDocument."""
        if call.principal.anonymous:
            raise Refused(Decision.deny("an acceptance needs a principal"))
        check_origin(call)
        licence, version = call.values["licenceId"], accepted_version(call.body)
        row = self.table.find(call.principal.id, licence)
        if version != row["version"]:
            if call.form:
                return licence_page(row, call, self.login, 409, "There is a newer version than the one that you read:")
            raise BadDocument("/version", f"expected the newest version {row['version']!r}, got {version!r}")
        self.table.accept(call.principal.id, licence, version)
        if call.form:
            return EndpointResponse.redirect(f"{call.base_url}/licences/{licence}")
        return self.show_licence(call)

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report the assets that need no licence."""
        return [f"{FREE_ROLES}: no licence is needed for {self.free}"] if self.free.roles else []

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask licence``."""
        group = click.Group(
            "licence",
            commands=[add, require, unrequire, show, acceptances],
            help="Require licences by collection, and list acceptances.",
            context_settings={"obj": self},
        )
        return [group]
