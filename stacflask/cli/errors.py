"""What goes wrong is told in one line on standard error, with an exit code."""

from __future__ import annotations

import os
import sys

import click

from stacflask.errors import StacflaskError

REFUSED, FAILED, INTERRUPTED = 1, 2, 130
"""Exit codes: some documents were refused; the command could not do its work; Ctrl-C."""


def told(error: Exception) -> int:
    """Tell what went wrong in one line; give the exit code."""
    message, code = str(error), FAILED
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return FAILED
        case click.exceptions.Abort():
            message, code = "interrupted", INTERRUPTED
        case click.ClickException():
            message, code = error.format_message(), error.exit_code
        case StacflaskError():
            message = _with_reason(error)
        case BrokenPipeError():  # as with `stacflask export | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        case OSError():
            message = f"{error.filename or 'file'}: {error.strerror or error}"
    return failed(message, code)


def failed(message: str, code: int = FAILED) -> int:
    """Tell it; give the exit code."""
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _with_reason(error: StacflaskError) -> str:
    """Give the description with what clients are not told and operators are: the database's words, and whose it is."""
    cause = error.__cause__
    said = getattr(cause, "orig", None) or (cause if hasattr(cause, "sqlstate") else None)
    words = str(said or "").strip().partition("\n")[0]
    return " ".join([error.description, *([f"({words})"] if words else []), *getattr(error, "__notes__", ())])
