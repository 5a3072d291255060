"""Calls of hooks without a server and without a database."""

from __future__ import annotations

import time
from collections import UserDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from stacflask.errors import Refused, SettingError
from stacflask.gate import Gate
from stacflask.model.asset import Asset, Change
from stacflask.model.decision import Decision
from stacflask.model.delivery import ByteRange, Redirect, Stream
from stacflask.model.events import RequestInfo, StreamResult
from stacflask.model.json_types import Cql2
from stacflask.model.principal import Principal, Request
from stacflask.model.services import Services, Storage
from stacflask.pluginmanager import loading
from stacflask.pluginmanager.background import Background


class _NoStorage:
    """Storage of a plugin that is tested without a database."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("This plugin uses services.storage. Pass storage=, or use the fixture plug.")


class _Headers(UserDict[str, str]):
    """Header fields, whose names are case-insensitive as in a server."""

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())


class HookRunner:
    """Calls the hooks of plugins as a server does, in one process and without a database.

    Plugins are checked and combined as in a server: a wrong hook, a wrong result and an exception are errors here, too.
    Errors that a client would get as a response are raised (``Refused``, ``Missing``, ...).

    Args:
        plugins: The plugins, or their names, in the order of ``STACFLASK_PLUGINS``. ``startup`` is called.
        environ: Environment variables of the plugins that are given by their names.
        request_info: The request of which the hooks are a part.
        storage: Tables of the plugins, such as the fixture ``storage``. Without it, a plugin that uses tables fails.
    """

    def __init__(
        self,
        *plugins: object,
        environ: Mapping[str, str] | None = None,
        request_info: RequestInfo | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.request_info = request_info or RequestInfo()
        self._gate = Gate(loading.manage(by_name(plugins, environ or {})), lambda: self.request_info)
        self._gate.plugins.hook.startup(services=self._services(storage))

    def _services(self, storage: Any) -> Services:
        return Services(
            _NoStorage() if storage is None else storage,
            refresh_principal=self._gate.refresh_principal,
            record_metric=self._gate.record_metric,
            changes_possible=self._gate.writable,
        )

    def authenticate(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Principal:
        """Return the principal for a request.

        Args:
            headers: Header fields of the request.
            fields: Further fields of ``Request``, such as ``address`` and ``query``.

        Raises:
            BadCredentials: The credentials are wrong.
        """
        defaults = {"method": "GET", "path": "/", "query": {}, "address": "192.0.2.1"}
        return self._gate.authenticate(Request(headers=_Headers(headers or {}), **{**defaults, **fields}))

    def restrict(self, principal: Principal, of: Literal["items", "collections"] = "items") -> Cql2 | None:
        """Return the condition on what a principal can see: those of all plugins, joined by AND."""
        restriction = self._gate.restrict(principal)
        return restriction.items if of == "items" else restriction.collections

    def authorize(self, principal: Principal, asset: Asset) -> Decision:
        """Return the combined decision of all plugins. Its ``allowed`` is True or False."""
        try:
            return self._gate.authorize(principal, asset).decision
        except Refused as refused:
            return refused.decision

    def authorize_many(self, principal: Principal, assets: Sequence[Asset]) -> list[Decision]:
        """Return the combined decision for each of many assets, as for a manifest or an archive."""
        results = self._gate.authorize_each(principal, assets)
        return [result if isinstance(result, Decision) else result.decision for result in results]

    def commit(self, principal: Principal, changes: Sequence[Change]) -> None:
        """Report changes that were committed, and wait for 10 seconds at most until the plugins have handled them."""
        self._gate.report_changes(changes, principal)
        Background.wait(10)

    def deliver(self, principal: Principal, asset: Asset, *, streamed: bool = False) -> Redirect | Stream:
        """Authorize and resolve an asset, and return its delivery.

        Args:
            principal: The principal of the request.
            asset: The asset.
            streamed: True if only a stream is possible.

        Raises:
            Refused: A plugin denies the download, or none allows it.
            StacflaskError: The error of a plugin.
        """
        grant = self._gate.authorize(principal, asset)
        return self._gate.deliver(grant, self._gate.resolve(grant), streamed=streamed)

    def download(self, principal: Principal, asset: Asset, first: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of an asset, as a streamed download does: it is charged, recorded and finished.

        Args:
            principal: The principal of the request.
            asset: The asset.
            first: Offset of the first byte.
            length: Number of bytes; None for all that follow.

        Raises:
            Refused: A plugin denies the download, or none allows it.
            StacflaskError: The error of a plugin.
        """
        grant = self._gate.authorize(principal, asset)
        stream: Any = self._gate.deliver(grant, self._gate.resolve(grant), streamed=True)
        if stream.length is None:
            read = b"".join(stream.open(0, 0))
            stream = replace(stream, length=len(read), open=lambda first, length: [read[first : first + length]])
        length = stream.length - first if length is None else length
        download_decision = self._gate.charge(grant, ByteRange(first, length, stream.length), "stream")
        began = time.perf_counter()
        content = b"".join(stream.open(first, length))
        complete = len(content) == length
        self._gate.stream_finished(StreamResult(download_decision, len(content), complete, time.perf_counter() - began))
        return content


def by_name(plugins: tuple[object, ...], environ: Mapping[str, str]) -> dict[str, object]:
    """Return plugins by name, those that are given by a name with ``environ``. Raises SettingError."""
    named: dict[str, object] = {}
    for given in plugins:
        plugin = loading.create(given, environ) if isinstance(given, str) else given
        name = given if isinstance(given, str) else str(getattr(plugin, "__name__", None) or type(plugin).__name__)
        if name in named:
            raise SettingError(loading.VARIABLE, f"two plugins have the name {name}. Set __name__ of one of them.")
        named[name] = plugin
    return named
