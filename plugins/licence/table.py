"""Licences in the database: versions, the collections that require them, and acceptances."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stacflask import NotFound, Storage

from .._common.durations import cached

CACHED_ROWS = 8192  # of collections, and of acceptances


@dataclass(frozen=True, slots=True)
class Demand:
    """A licence that a collection requires, in its newest version."""

    licence: str
    version: str
    title: str


class LicenceTables:
    """Licences, requirements and acceptances. Requirements and acceptances are cached for ``cache`` seconds."""

    def __init__(self, storage: Storage, cache: float) -> None:
        self._storage = storage
        self.demands = cached(self._demands, cache, CACHED_ROWS)
        self._acceptance = cached(self.acceptance, cache, CACHED_ROWS)

    def _demands(self, collection: str) -> list[Demand]:
        """Return the licences that a collection requires."""
        # A licence without any version cannot be accepted, so that nobody can download from its collections.
        rows = self._storage.rows(
            "SELECT DISTINCT ON (licence) licence, coalesce(version, '') AS version, coalesce(title, licence) AS title "
            "FROM plugin_licence_collections LEFT JOIN plugin_licence_versions ON id = licence "
            "WHERE collection = :collection ORDER BY licence, plugin_licence_versions.created DESC",
            collection=collection,
        )
        return [Demand(**row) for row in rows]

    def has_accepted(self, principal: str, demand: Demand) -> bool:
        """Return whether a principal accepted a licence. Only True is cached, so that an acceptance applies at once."""
        try:
            self._acceptance(principal, demand.licence, demand.version)
        except LookupError:
            return False
        return True

    def acceptance(self, principal: str, licence: str, version: str) -> datetime:
        """Return when a principal accepted a version. Raises LookupError if it did not."""
        rows = self._storage.rows(
            "SELECT accepted FROM plugin_licence_acceptances "
            "WHERE principal = :principal AND licence = :licence AND version = :version",
            principal=principal,
            licence=licence,
            version=version,
        )
        if not rows:
            raise LookupError(licence)
        moment: datetime = rows[0]["accepted"]
        return moment

    def accept(self, principal: str, licence: str, version: str) -> None:
        """Record an acceptance; an earlier one of the same version stays."""
        self._storage.write(
            "INSERT INTO plugin_licence_acceptances (principal, licence, version) "
            "VALUES (:principal, :licence, :version) ON CONFLICT DO NOTHING",
            principal=principal,
            licence=licence,
            version=version,
        )

    def newest(self, principal: str) -> list[Mapping[str, Any]]:
        """Return every licence in its newest version, with the time at which the principal accepted it."""
        return self._storage.rows(
            "SELECT newest.*, accepted FROM (SELECT DISTINCT ON (id) id, version, title, text, url "
            "FROM plugin_licence_versions ORDER BY id, created DESC) AS newest "
            "LEFT JOIN plugin_licence_acceptances AS a "
            "ON a.principal = :principal AND a.licence = newest.id AND a.version = newest.version ORDER BY id",
            principal=principal,
        )

    def find(self, principal: str, licence: str) -> Mapping[str, Any]:
        """Return one licence as in ``newest``. Raises NotFound."""
        for row in self.newest(principal):
            if row["id"] == licence:
                return row
        raise NotFound(f"There is no licence {licence!r}.")

    def add(self, **values: str | None) -> bool:
        """Add a version (id, version, title, text, url) as the newest. Return False if it exists already."""
        return bool(
            self._storage.write(
                "INSERT INTO plugin_licence_versions (id, version, title, text, url) "
                "VALUES (:id, :version, :title, :text, :url) ON CONFLICT DO NOTHING RETURNING id",
                **values,
            )
        )

    def require(self, collection: str, licence: str) -> bool:
        """Require a licence for a collection. Return False if there is no such licence."""
        if not self._storage.rows("SELECT FROM plugin_licence_versions WHERE id = :licence LIMIT 1", licence=licence):
            return False
        self._storage.write(
            "INSERT INTO plugin_licence_collections (collection, licence) VALUES (:collection, :licence) "
            "ON CONFLICT DO NOTHING",
            collection=collection,
            licence=licence,
        )
        return True

    def unrequire(self, collection: str, licence: str) -> bool:
        """Stop requiring a licence for a collection. Return False if it was not required."""
        return bool(
            self._storage.write(
                "DELETE FROM plugin_licence_collections WHERE collection = :collection AND licence = :licence "
                "RETURNING licence",
                collection=collection,
                licence=licence,
            )
        )

    def versions(self) -> list[Mapping[str, Any]]:
        """Return all versions of all licences, with the number of acceptances and the collections that require them."""
        return self._storage.rows(
            "SELECT id, version, title, created, "
            "(SELECT count(*) FROM plugin_licence_acceptances WHERE licence = id AND version = l.version) AS accepted, "
            "ARRAY(SELECT collection FROM plugin_licence_collections WHERE licence = id ORDER BY 1) AS collections "
            "FROM plugin_licence_versions AS l ORDER BY id, created DESC"
        )

    def acceptances(self, licence: str) -> list[Mapping[str, Any]]:
        """Return the acceptances of a licence (principal, version, time) by time."""
        return self._storage.rows(
            "SELECT principal, version, accepted FROM plugin_licence_acceptances WHERE licence = :licence "
            "ORDER BY accepted, principal",
            licence=licence,
        )
