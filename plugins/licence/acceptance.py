"""Checks of an acceptance: which version it names, and whether another site made the browser send it."""

from typing import Any

from stacflask import BadDocument, Decision, EndpointRequest, Refused

from .._common.pages import is_same_origin


def accepted_version(body: Any) -> str:
    """Return the version in the body of an acceptance. Raises BadDocument."""
    version = body.get("version") if isinstance(body, dict) else None
    if not isinstance(version, str):
        raise BadDocument("/version", "expected the version that you accept, as a string")
    return version


def check_origin(call: EndpointRequest) -> None:
    """Raise Refused for an acceptance that another site made the browser send.

    Any site can send a form, and a browser adds Basic credentials that it has stored.
    """
    sent_by_browser = call.form or call.request.credentials("Basic") is not None
    has_origin = call.form or any(name in call.request.headers for name in ("Sec-Fetch-Site", "Origin"))
    if sent_by_browser and has_origin and not is_same_origin(call.request):
        detail = "Accept a licence on a page of this server, or by a program."
        raise Refused(Decision.deny("another site's form", detail=detail, code="CrossSite"), anonymous=False)
