"""All generated pages by path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.reference import ROOT, error_codes, http_api, log_events, metrics, settings

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "docs" / "reference"


def pages() -> dict[Path, str]:
    """Return the text of each generated page."""
    return {
        settings.PAGE: settings.page(),
        FOLDER / "http-api.md": http_api.page(),
        FOLDER / "error-codes.md": error_codes.page(),
        FOLDER / "metrics.md": metrics.page(),
        FOLDER / "log.md": log_events.page(),
    }
