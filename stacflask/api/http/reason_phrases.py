"""Error texts for clients that do not read JSON: the status line, and a plain text body."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from flask import request
from werkzeug.datastructures import MIMEAccept

MAX_PHRASE_CHARACTERS = 150

_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_NOT_PRINTABLE = re.compile(r"[^ -~]+")


def status_line(status: int, description: str) -> str:
    """Return a status with the first sentence of a description as its reason phrase (RFC 9112, 4)."""
    sentence = _SENTENCE_END.split(" ".join(description.split()), maxsplit=1)[0]
    phrase = _NOT_PRINTABLE.sub("?", sentence).strip()
    if len(phrase) > MAX_PHRASE_CHARACTERS:
        phrase = f"{phrase[: MAX_PHRASE_CHARACTERS - 3].rstrip()}..."
    return f"{status} {phrase or HTTPStatus(status).phrase}"


def wants_text() -> bool:
    """Return whether the client accepts plain text and not JSON."""
    # Parameters of a media type, such as charset, are ignored.
    accepted = MIMEAccept([(kind.partition(";")[0].strip(), quality) for kind, quality in request.accept_mimetypes])
    return bool(accepted) and not accepted.quality("application/json") and bool(accepted.quality("text/plain"))


def as_text(description: str, extra: Mapping[str, Any]) -> str:
    """Return an error as plain text: its description and the URLs of its links."""
    links: Iterable[Mapping[str, str]] = extra.get("links", ())
    return "\n".join([description, *(link["href"] for link in links), ""])
