"""Build hook of hatchling: place the files at the top of the clone inside the package."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "plugins": "stacflask_plugins",
    "alembic": "stacflask/migrations",
    "gunicorn.conf.py": "stacflask/server/gunicorn.conf.py",
    "wsgi.py": "stacflask/wsgi.py",
}
"""An installed package must not claim names such as ``plugins``. ``stacflask/locations.py`` has the same places."""


class Places(BuildHookInterface[Any]):
    """Adds the files to a wheel. An editable install uses those of the clone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files, unless ``version`` is ``editable``."""
        if version != "editable":
            build_data["force_include"].update(PLACES)
