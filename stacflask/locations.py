"""Places of migrations, shipped plugins and server files: at the top of a clone, inside an installed package."""

from pathlib import Path

PACKAGE = Path(__file__).parent
CLONE = PACKAGE.parent
IS_CLONE = (CLONE / "alembic" / "env.py").exists()

MIGRATIONS = CLONE / "alembic" if IS_CLONE else PACKAGE / "migrations"
GUNICORN_CONFIG = CLONE / "gunicorn.conf.py" if IS_CLONE else PACKAGE / "server" / "gunicorn.conf.py"
WSGI = "wsgi:application" if IS_CLONE else "stacflask.wsgi:application"
PLUGINS = "plugins" if IS_CLONE else "stacflask_plugins"
"""The package of the shipped plugins. An installed package must not claim the name ``plugins``."""
