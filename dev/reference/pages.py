"""All generated pages by path, each with the function that returns its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.reference import ROOT, error_codes, http_api, log_events, metrics, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = ROOT / "docs" / "reference"
PAGES: dict[Path, Callable[[], str]] = {
    settings.PAGE: settings.page,
    FOLDER / "http-api.md": http_api.page,
    FOLDER / "error-codes.md": error_codes.page,
    FOLDER / "metrics.md": metrics.page,
    FOLDER / "log.md": log_events.page,
}
