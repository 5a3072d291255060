"""Everybody may see and download everything. Changes are another matter: this plugin has no word on them."""

from __future__ import annotations

from stacflask import Decision, hookimpl

CONSENT = Decision.allow("open access")


@hookimpl
def authorize() -> Decision:
    """Consent, whoever asks for whatever."""
    return CONSENT
