"""The files for deployments name only settings that exist."""

import re

import pytest

from tests.conftest import ROOT

FILES = (
    "app.json",
    "compose.yaml",
    "deploy/helm/stacflask/values.yaml",
    "deploy/helm/stacflask/templates/_helpers.tpl",
    "deploy/systemd/environment",
)
NAME = re.compile(r"\bSTACFLASK_[A-Z0-9_]+")


@pytest.mark.parametrize("file", FILES)
def test_settings_exist(file: str) -> None:
    """Each variable of a file for deployments is a documented setting."""
    documented = set(NAME.findall((ROOT / "docs" / "settings.md").read_text()))
    named = set(NAME.findall((ROOT / file).read_text()))
    assert named
    assert named <= documented


@pytest.mark.parametrize("file", ["docs/how-to/deploy-vm.md", "docs/how-to/deploy-containers.md"])
def test_files_of_a_guide_exist(file: str) -> None:
    """Each file below ``deploy/`` that a guide names is in the repository."""
    named = set(re.findall(r"deploy/[\w./-]*\w", (ROOT / file).read_text()))
    assert named
    assert all((ROOT / name).exists() for name in named)
