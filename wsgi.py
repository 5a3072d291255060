"""The WSGI application that gunicorn serves. In an installed package, this module is `stacflask.wsgi`."""

import os

from gunicorn.errors import AppImportError

from stacflask.app import create_app
from stacflask.errors import SettingError
from stacflask.settings import Settings

try:
    application = create_app(Settings.from_environ(os.environ))
except SettingError as error:
    # gunicorn prints only this line and stops.
    raise AppImportError(f"error: {error}") from None
