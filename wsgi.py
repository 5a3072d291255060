"""What gunicorn serves."""

import os

from stacflask.app import create_app
from stacflask.settings import Settings

application = create_app(Settings.from_environ(os.environ))
