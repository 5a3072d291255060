"""What clients show of an error that read no JSON: the status line, and a body of plain text."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import request
from werkzeug.datastructures import MIMEAccept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

LONGEST = 150
"""Characters of a reason phrase."""

_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_NOT_SENT = re.compile(r"[^ -~]+")


def status_line(status: int, description: str) -> str:
    """Return a status with the first sentence of a description as its reason phrase (RFC 9112, 4)."""
    sentence = _SENTENCE_END.split(" ".join(description.split()), maxsplit=1)[0]
    phrase = _NOT_SENT.sub("?", sentence).strip()
    if len(phrase) > LONGEST:
        phrase = f"{phrase[: LONGEST - 3].rstrip()}..."
    return f"{status} {phrase or HTTPStatus(status).phrase}"


def wants_text() -> bool:
    """Whether the client takes plain text and no JSON."""
    # Of a media type, parameters such as charset do not count.
    accepted = MIMEAccept([(kind.partition(";")[0].strip(), quality) for kind, quality in request.accept_mimetypes])
    return bool(accepted) and not accepted.quality("application/json") and bool(accepted.quality("text/plain"))


def as_text(description: str, extra: Mapping[str, Any]) -> str:
    """Return an error as plain text: what is wrong, and the URLs of its links."""
    links: Iterable[Mapping[str, str]] = extra.get("links", ())
    return "\n".join([description, *(link["href"] for link in links), ""])
