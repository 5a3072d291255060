"""Errors of commands: one line on standard error, and an exit code."""

import os
import sys

import click

from stacflask.errors import StacflaskError

REFUSED, FAILED, INTERRUPTED = 1, 2, 130
"""Exit codes: some documents were refused; the command failed; Ctrl-C."""


def report_error(error: Exception) -> int:
    """Print an exception in one line and return the exit code."""
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
        case BrokenPipeError():  # for example `stacflask export | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        case OSError():
            message = f"{error.filename or 'file'}: {error.strerror or error}"
    return print_error(message, code)


def print_error(message: str, code: int = FAILED) -> int:
    """Print an error message in one line and return ``code``."""
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _with_reason(error: StacflaskError) -> str:
    """Return the description with details for operators only: the database's message and the notes of the error."""
    cause = error.__cause__
    database_error = getattr(cause, "orig", None) or (cause if hasattr(cause, "sqlstate") else None)
    reason = str(database_error or "").strip().partition("\n")[0]
    return " ".join([error.description, *([f"({reason})"] if reason else []), *getattr(error, "__notes__", ())])
