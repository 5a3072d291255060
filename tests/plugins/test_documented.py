"""Settings, commands and endpoints of the policy plugins are in docs/plugins.md, docs/audit.md and docs/identity.md."""

import re
from datetime import timedelta
from pathlib import Path

import click
import pytest

from plugins.api_keys import ApiKeys
from plugins.audit import Audit
from plugins.collection_groups import CollectionGroups
from plugins.licence import Licences
from plugins.links import Links, create_plugin
from plugins.login import Logins
from plugins.oidc.settings import VARIABLE, Introspection, Issuer, Login
from plugins.quota import Quota

ROOT = Path(__file__).parents[2]
DOCS = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("plugins", "audit", "identity"))
PLUGINS = ("api_keys", "audit", "collection_groups", "licence", "links", "login", "oidc", "quota")
LOGINS = Logins({}, timedelta(hours=1))
LINKS: Links = create_plugin({"STACFLASK_LINKS_KEYS": f"test:{'x' * 32}"})
IDENTITY = (ROOT / "docs" / "identity.md").read_text()


def source_of(plugin: str) -> str:
    package = ROOT / "plugins" / plugin
    files = sorted(package.glob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
    return "".join(file.read_text() for file in files)


VARIABLES = [name for plugin in PLUGINS for name in re.findall(r'"(STACFLASK_\w+)"', source_of(plugin))]
VARIABLES.append(VARIABLE)
COMMANDS = [
    f"{group.name} {command}"
    for plugin in (ApiKeys(), Audit(), CollectionGroups(), Licences(), LINKS, LOGINS, Quota())
    for group in plugin.extend_cli()
    if isinstance(group, click.Group)
    for command in group.commands
]
ENDPOINTS = [f"{e.method} {e.path}" for plugin in (Licences(), LINKS, LOGINS, Quota()) for e in plugin.extend_api()]


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_setting_is_documented(variable: str) -> None:
    """The docs have every variable that a plugin reads."""
    assert f"`{variable}`" in DOCS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_shown(command: str) -> None:
    """The docs have every command as users type it."""
    assert f"    stacflask {command}" in DOCS


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_each_endpoint_is_documented(endpoint: str) -> None:
    """The docs have every endpoint that a plugin adds."""
    assert f"`{endpoint}`" in DOCS


@pytest.mark.parametrize("member", [name for kind in (Issuer, Introspection, Login) for name in kind.__struct_fields__])
def test_each_member_of_providers_is_documented(member: str) -> None:
    """The docs have every member of the setting that describes OpenID providers."""
    assert f"| `{member}` |" in IDENTITY
