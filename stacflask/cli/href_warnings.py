"""Warnings about hrefs that no plugin resolves."""

from collections import Counter

import click

from stacflask.catalog.bulk.href_survey import RELATIVE, HrefCounts, HrefGroup, scheme
from stacflask.cli.session import Session
from stacflask.errors import SettingError, StacflaskError
from stacflask.gate import Gate
from stacflask.model.asset import Asset
from stacflask.settings import masked


def warn(session: Session, counts: HrefCounts) -> None:
    """Resolve one href of each group, and print warnings, by scheme, about groups that no plugin resolves.

    Without plugins no href is resolved, because a load can run on a machine that has none configured.
    """
    groups = [group for beginning, group in counts.groups.items() if beginning != RELATIVE]
    try:
        unresolved = [group for group in groups if session.plugin_names and not _is_resolved(session, group)]
    except SettingError as error:
        click.echo(f"warning: hrefs are not checked: {error}", err=True)
        return
    numbers: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for group in unresolved:
        numbers[scheme(group.href)] += group.count
        examples.setdefault(scheme(group.href), masked(group.href))
    for name, number in sorted(numbers.items()):
        click.echo(
            f"warning: {_hrefs(number)} with the scheme {name}: no plugin resolves them, such as {examples[name]}. "
            "Downloads of them return 404. If they are public, add their prefix to STACFLASK_PUBLIC_HREFS and load "
            "them again",
            err=True,
        )
    if RELATIVE in counts.groups:
        group = counts.groups[RELATIVE]
        click.echo(
            f"warning: {_hrefs(group.count)} without a scheme, such as {group.href}. Clients resolve them against the "
            "URL of the item, where there is no file",
            err=True,
        )


def _hrefs(number: int) -> str:
    return f"{number:,} href{'' if number == 1 else 's'}"


def _is_resolved(session: Session, group: HrefGroup) -> bool:
    """Return whether a plugin resolves an href. A plugin that raises a reason for a missing file resolves it, too."""
    asset = Asset(group.collection, "", "asset", group.href)
    try:
        return Gate(session.started).resolves(asset)
    except SettingError:
        raise
    except StacflaskError:
        return True
    except Exception as error:  # noqa: BLE001 - an error in a plugin is reported and does not stop the load
        click.echo(f"warning: {group.href} cannot be checked: {type(error).__name__}: {error}", err=True)
        return True
