"""The command line. Errors are one line on standard error. Plugins can add commands.

Only the commands that need the catalogue import it, so that ``stacflask --help`` is fast.
Start with ``session.py``.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from stacflask import __version__
from stacflask.cli import database, documents, server, setup
from stacflask.cli.errors import report_error
from stacflask.cli.session import Program, Session
from stacflask.errors import StacflaskError
from stacflask.locations import PLUGINS


def main() -> NoReturn:
    """Run the command of the program's arguments and exit with its code."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command of ``arguments`` and return its exit code."""
    # This function reports each error in one line. The log would report it a second time.
    for name in ("stacflask", PLUGINS):
        logging.getLogger(name).addHandler(logging.NullHandler())
    session = Session(environ, program.commands)
    try:
        result = program.main(list(arguments), "stacflask", standalone_mode=False, obj=session)
        if session.problem is not None:
            raise session.problem
    except (click.exceptions.Abort, click.ClickException, StacflaskError, OSError) as error:
        return report_error(error)
    finally:
        session.close()
    return result if isinstance(result, int) else 0


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(version)s")
def program() -> None:
    """Load, export and maintain a stacflask catalogue.

    The catalogue is the PostGIS database that DATABASE_URL names.
    """


for command in (
    *(database.migrate, database.extents, database.queryables, database.index),
    *(setup.check, setup.hooks, setup.settings, server.serve),
    *(documents.load, documents.export, documents.delete),
):
    program.add_command(command)
