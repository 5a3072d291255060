"""Licences to accept before a download, recorded with principal, version and time.

A collection asks for licences by id and means their newest version: with each new one, everybody is asked again.
A browser is shown a licence as a page, and sends the form on it; programs read and send JSON at the same addresses.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from plugins._common.free_assets import DEFAULT_BYTES, DEFAULT_TYPES, FreeAssets, free_assets
from plugins._common.spans import cache_seconds
from plugins.licence.commands import acceptances, add, require, show, unrequire
from plugins.licence.documents import ACCEPTANCE, BY_ACCEPT, LICENCE, LIST, licence_document, timestamp
from plugins.licence.pages import is_our_own, page, prefers_page
from plugins.licence.table import Table
from stacflask import BadDocument, Decision, Endpoint, EndpointResponse, Refused, Setting, SettingError, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugins.licence.table import Demand
    from stacflask import Asset, EndpointRequest, Principal, Services

FREE_ROLES = "STACFLASK_LICENCE_FREE_ROLES"
FREE_TYPES = "STACFLASK_LICENCE_FREE_TYPES"
FREE_BYTES = "STACFLASK_LICENCE_FREE_BYTES"
CACHE = "STACFLASK_LICENCE_CACHE"
LOGIN = "STACFLASK_LICENCE_LOGIN"

COMMANDS = ("licence",)
SETTINGS = (
    Setting(FREE_ROLES, "Roles, comma separated: a small asset that has only such roles needs no licence."),
    Setting(FREE_TYPES, "Media types, comma separated, of assets that need no licence.", DEFAULT_TYPES),
    Setting(FREE_BYTES, "Largest object in bytes that needs no licence.", str(DEFAULT_BYTES)),
    Setting(CACHE, "Seconds for which it is trusted what a collection asks for, and that somebody accepted.", "5"),
    Setting(LOGIN, "Where people log in, for the pages of licences to lead there: `/login`, with plugin `login`."),
)
NO_FREE_ASSETS = FreeAssets()


def create_plugin(environ: Mapping[str, str]) -> Licences:
    """Make the plugin. Raises SettingError."""
    roles = frozenset(word.strip() for word in environ.get(FREE_ROLES, "").split(",") if word.strip())
    login = environ.get(LOGIN, "").strip()
    if login and not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", login):
        raise SettingError(LOGIN, f"expected a path of this API, such as /login, not {login!r}")
    return Licences(free_assets(environ, roles, FREE_TYPES, FREE_BYTES), cache_seconds(environ, CACHE), login)


def refusal(demand: Demand) -> Decision:
    """Say which licence is to be accepted, and where."""
    return Decision.deny(
        f"licence {demand.licence} {demand.version} not accepted",
        detail=f"Licence {demand.licence} not accepted. Accept version {demand.version} of {demand.title!r} first.",
        code="LicenceNotAccepted",
        link=f"/licences/{demand.licence}",
        extra={"licence": {"id": demand.licence, "version": demand.version, "title": demand.title}},
    )


def wanted_version(body: Any) -> str:
    """Read which version somebody accepts. Raises BadDocument."""
    version = body.get("version") if isinstance(body, dict) else None
    if not isinstance(version, str):
        raise BadDocument("/version", "expected the version that you accept, as a string")
    return version


def check_origin(call: EndpointRequest) -> None:
    """Refuse an acceptance that another site had a browser send. Raises Refused.

    A form can be sent from anywhere, and a browser that was told a key once sends it along by itself.
    """
    by_itself = call.form or call.request.credentials("Basic") is not None
    foreign = call.form or any(name in call.request.headers for name in ("Sec-Fetch-Site", "Origin"))
    if by_itself and foreign and not is_our_own(call.request):
        detail = "A licence is accepted on a page of this server, or by a program."
        raise Refused(Decision.deny("another site's form", detail=detail, code="CrossSite"), anonymous=False)


@dataclass
class Licences:
    """The plugin. ``free`` are the assets that need no licence. ``cache`` is in seconds.

    ``login`` is the path where people log in, if they do.
    """

    free: FreeAssets = NO_FREE_ASSETS
    cache: float = 5.0
    login: str = ""
    table: Table = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage."""
        self.table = Table(services.storage, self.cache)

    @hookimpl
    def authorize(self, principal: Principal, asset: Asset) -> Decision | None:
        """Deny until all licences are accepted; then it is for others to say who may download."""
        return self._authorize(asset, self._missing(principal, asset.collection))

    @hookimpl
    def authorize_many(self, principal: Principal, assets: Sequence[Asset]) -> Sequence[Decision | None]:
        """Say the same of many, looking at each collection once."""
        collections = {asset.collection for asset in assets}
        missing = {collection: self._missing(principal, collection) for collection in collections}
        return [self._authorize(asset, missing[asset.collection]) for asset in assets]

    def _authorize(self, asset: Asset, missing: Decision | None) -> Decision | None:
        """Return the denial for a licence that is missing, unless the asset is free: then limit its size instead."""
        if missing is None or not self.free.includes(asset):
            return missing
        return Decision.abstain("needs no licence", max_bytes=self.free.max_bytes)

    def _missing(self, principal: Principal, collection: str) -> Decision | None:
        """Deny for the first licence of a collection that was not accepted."""
        for demand in self.table.demands(collection):
            if principal.anonymous or not self.table.has_accepted(principal.id, demand):
                return refusal(demand)
        return None

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the addresses where licences are read and accepted."""
        one, accept = "/licences/{licenceId}", "/licences/{licenceId}/acceptance"
        return [
            Endpoint("GET", "/licences", self.list_licences, "List the licences.", LIST),
            Endpoint("GET", one, self.show_licence, "Read a licence; browsers get a page.", LICENCE, statuses=(404,)),
            # A key that may only read takes nothing, and binds its holder to nothing.
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
        """Give all licences in their newest versions, without the text."""
        rows = self.table.newest(call.principal.id)
        return EndpointResponse({"licences": [licence_document(row, call.base_url) for row in rows], "links": []})

    def show_licence(self, call: EndpointRequest) -> EndpointResponse:
        """Give one licence with its text. Raises NotFound."""
        row = self.table.find(call.principal.id, call.values["licenceId"])
        if prefers_page(call.request):
            return self._page(row, call)
        licence = licence_document(row, call.base_url) | {name: row[name] for name in ("text", "url") if row[name]}
        return EndpointResponse(licence, headers=BY_ACCEPT)

    def accept_licence(self, call: EndpointRequest) -> EndpointResponse:
        """Record that who asks accepts the newest version, and give it. Raises Refused, NotFound, BadDocument."""
        if call.principal.anonymous:
            raise Refused(Decision.deny("nobody to record an acceptance for"), anonymous=True)
        check_origin(call)
        licence, version = call.values["licenceId"], wanted_version(call.body)
        row = self.table.find(call.principal.id, licence)
        if version != row["version"]:
            if call.form:
                return self._page(row, call, 409, "There is a newer version than the one you read. This is it:")
            raise BadDocument("/version", f"the version to accept is {row['version']!r}, not {version!r}")
        self.table.accept(call.principal.id, licence, version)
        if call.form:
            return EndpointResponse.redirect(f"{call.base_url}/licences/{licence}")
        return self.show_licence(call)

    def _page(
        self, row: Mapping[str, Any], call: EndpointRequest, status: int = 200, note: str = ""
    ) -> EndpointResponse:
        """Show a licence to people."""
        body = f"<p>{html.escape(note)}</p>" if note else ""
        body += f"<p>Version {html.escape(row['version'])}</p>"
        if row["text"]:
            body += f"<pre>{html.escape(row['text'])}</pre>"
        if row["url"]:
            url = html.escape(row["url"])
            body += f'<p><a href="{url}" rel="noreferrer">{url}</a></p>'
        return page(row["title"], body + self._end(row, call), status, BY_ACCEPT)

    def _end(self, row: Mapping[str, Any], call: EndpointRequest) -> str:
        """End a page: with when it was accepted, or with the form by which it is."""
        if row["accepted"]:
            return f'<p id="accepted">You accepted it at {timestamp(row["accepted"])}.</p>'
        here = html.escape(f"{call.base_url}/licences/{row['id']}")
        version = html.escape(row["version"])
        who = f"<p>You are {html.escape(call.principal.id)}.</p>"
        if call.principal.anonymous:
            way = html.escape(f"{call.base_url}{self.login}?next=/licences/{row['id']}")
            login = f'<a id="login" href="{way}">Log in</a> to accept it, or' if self.login else "To accept it,"
            who = f"<p>{login} have your API key ready: the browser asks for it, as the password.</p>"
        return (
            f'{who}<form method="post" action="{here}/acceptance"><input type="hidden" name="version" '
            f'value="{version}"><button>I accept version {version}</button></form>'
        )

    @hookimpl
    def check_setup(self) -> Sequence[str]:
        """Report which assets need no licence."""
        return [f"{FREE_ROLES}: no licence is needed for {self.free}"] if self.free.roles else []

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask licence``."""
        group = click.Group(
            "licence",
            commands=[add, require, unrequire, show, acceptances],
            help="Say which collections ask for which licences, and see who accepted them.",
            context_settings={"obj": self},
        )
        return [group]
