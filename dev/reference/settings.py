"""The lists of docs/settings.md: the settings that the code declares."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dev.reference import ROOT, item
from stacflask.pluginmanager.loading import settings_of
from stacflask.settings import Settings

PAGE = ROOT / "docs" / "settings.md"
PLUGINS = sorted(path.stem for path in (ROOT / "plugins").glob("[!_]*"))


def page() -> str:
    """Return the page with new text between each pair of markers."""
    text = PAGE.read_text("utf-8")
    for name, entries in {"application": application(), "plugins": plugins()}.items():
        before, start, rest = text.partition(f"<!-- generated: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{start}{entries}{end}{after}"
    return text


def application() -> str:
    """Return the list of the application's own settings."""
    settings = [(one.metadata, one.default) for one in fields(Settings)]
    return "".join(entry(one["name"], one["help"], default, required=one["required"]) for one, default in settings)


def plugins() -> str:
    """Return a list of settings for each shipped plugin that has any."""
    parts = []
    for plugin, settings in settings_of(PLUGINS):
        if settings:
            entries = (entry(one.name, one.help, one.default, required=one.required) for one in settings)
            parts.append(f"### {plugin}\n\n{''.join(entries)}\n")
    return "\n" + "".join(parts)


def entry(name: str, text: str, default: Any, *, required: bool) -> str:
    """Return the list item of a setting: its name, its default if it has one, and its help text."""
    note = " (required)" if required else _default(default)
    return item(f"`{name}`{note}: {text}")


def _default(value: Any) -> str:
    written = str(value).lower() if isinstance(value, bool) else str("" if value is None else value)
    written = ",".join(value) if isinstance(value, tuple) else written
    return f" (default `{written}`)" if written else ""
