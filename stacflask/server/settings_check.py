"""Check the settings before workers start, so that a wrong one is reported in one line and ends no running worker."""

import os
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection


def settings_problem() -> str:
    """Return what is wrong with the settings, or an empty string.

    Another process checks them. Modules that the first process imports would stay in all workers of later reloads.
    """
    receiver, sender = Pipe(duplex=False)
    process = get_context("fork").Process(target=_check_settings, args=(sender,))
    process.start()
    process.join()
    return str(receiver.recv()) if receiver.poll() else "plugins cannot be loaded, see above"


def _check_settings(sender: Connection) -> None:
    from stacflask.catalog.database.connection_settings import arguments
    from stacflask.errors import SettingError
    from stacflask.pluginmanager.loading import load_plugins
    from stacflask.settings import Settings

    try:
        settings = Settings.from_environ(os.environ)
        arguments(settings.database_url, "DATABASE_URL")
        if settings.replica_url:
            arguments(settings.replica_url, "STACFLASK_REPLICA_URL")
        load_plugins(settings.plugins, os.environ)
    except SettingError as error:
        sender.send(f"error: {error}")
    else:
        sender.send("")
