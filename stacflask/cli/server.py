"""The command that serves: gunicorn with the shipped configuration."""

import os
import sys

import click

from stacflask.locations import CLONE, GUNICORN_CONFIG, IS_CLONE, WSGI


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[GUNICORN_OPTION]...")
def serve(options: tuple[str, ...]) -> None:
    """Serve the catalogue with gunicorn until SIGTERM or Ctrl-C.

    PORT is the port on all addresses; without it, the server listens on 127.0.0.1:8000. WEB_CONCURRENCY is the number
    of processes. Options such as --bind=127.0.0.1:8080 are passed to gunicorn.
    """
    path = [f"--pythonpath={CLONE}"] if IS_CLONE else []
    os.execv(  # noqa: S606 - the same interpreter, no shell
        sys.executable,
        [sys.executable, "-m", "gunicorn", f"--config={GUNICORN_CONFIG}", *path, *options, WSGI],
    )
