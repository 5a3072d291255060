"""The page of a licence, for browsers."""

import html
from collections.abc import Mapping
from typing import Any

from stacflask import EndpointRequest, EndpointResponse

from .._common.pages import page
from .documents import BY_ACCEPT, timestamp


def licence_page(
    row: Mapping[str, Any], call: EndpointRequest, login: str, status: int = 200, note: str = ""
) -> EndpointResponse:
    """Return the page of a licence. ``login`` is the path of the login, or empty; ``note`` is a text before it."""
    body = f"<p>{html.escape(note)}</p>" if note else ""
    body += f"<p>Version {html.escape(row['version'])}</p>"
    if row["text"]:
        body += f"<pre>{html.escape(row['text'])}</pre>"
    if row["url"]:
        url = html.escape(row["url"])
        body += f'<p><a href="{url}" rel="noreferrer">{url}</a></p>'
    return page(row["title"], body + _acceptance(row, call, login), status, BY_ACCEPT)


def _acceptance(row: Mapping[str, Any], call: EndpointRequest, login: str) -> str:
    """Return the time of the acceptance, or the form to accept the licence."""
    if row["accepted"]:
        return f'<p id="accepted">You accepted it at {timestamp(row["accepted"])}.</p>'
    url = html.escape(f"{call.base_url}/licences/{row['id']}")
    version = html.escape(row["version"])
    identity = f"<p>You are logged in as {html.escape(call.principal.id)}.</p>"
    if call.principal.anonymous:
        login_url = html.escape(f"{call.base_url}{login}?next=/licences/{row['id']}")
        prefix = f'<a id="login" href="{login_url}">Log in</a> to accept it, or' if login else "To accept it,"
        identity = f"<p>{prefix} have your API key ready: the browser requests it as a password.</p>"
    return (
        f'{identity}<form method="post" action="{url}/acceptance"><input type="hidden" name="version" '
        f'value="{version}"><button>I accept version {version}</button></form>'
    )
