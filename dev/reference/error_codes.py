"""The page of error codes: each code in the code, its status, when it occurs and what to do."""

from __future__ import annotations

import ast
import importlib
from typing import TYPE_CHECKING, Any

from dev.reference import GENERATED, item, sources
from stacflask import errors
from stacflask.api.http.errors import CODES, QUOTA_EXHAUSTED, STATUS
from stacflask.catalog.database.database_errors import _BY_KIND, _BY_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = f"""# Error codes

This page lists the codes in the responses of errors, with their status, when they occur, and what to do.
{GENERATED}

The body of an error is `{{"code", "description"}}`. The code is stable; the description names the value that is wrong.
`X-Request-ID` identifies the request in the log. A response with status 429 or 503 has `Retry-After`, in seconds. A
plugin can define further codes.

"""

MEANINGS = {
    "AuditUnavailable": "The download cannot be recorded, and the audit is required. Retry; operator: see the log.",
    "BadRequest": "The request is malformed. The description says how.",
    "Busy": "Other requests were changing the same records, or a database session ended. Retry.",
    "CollectionNotEmpty": "The collection has items. Delete them first, or send `force=true`.",
    "Conflict": "A resource exists already, or is in use. Read its current state, then decide.",
    "ContentTooLarge": "The body is too large. Send less; operator: `STACFLASK_MAX_BODY`, `STACFLASK_MAX_SEARCH_BODY`.",
    "CrossSite": "A page of another site sent a change with a cookie. Send it from a page of this API.",
    "DatabaseBusy": "No connection is free, here or in PostgreSQL. Retry; operator: fewer processes, or a pooler.",
    "DatabaseError": "The database refused a statement. Report the request id; operator: see the log.",
    "DatabaseFull": "The database has no disk space left. Operator: free disk space.",
    "DatabaseRefused": "A login, a parameter or a permission was refused. Operator: see the log and `stacflask check`.",
    "DatabaseResources": "Not enough memory, or too many temporary files. Request less.",
    "DatabaseRestarting": "PostgreSQL starts, stops or recovers. Retry.",
    "DatabaseUnavailable": "No connection can be made, or it was lost. Retry; operator: see the runbook.",
    "DeletionUnfinished": "Some items of the collection are left. Send the request again.",
    "DictionaryLost": "A compression dictionary is missing or damaged. Operator: restore the table `dictionaries`.",
    "DirectoryAsset": "The asset is a directory. Append the path of a file in it to the URL.",
    "DocumentDamaged": "A stored document cannot be read. Operator: `stacflask check --every-item`, then reload it.",
    "Forbidden": "A policy does not allow this. Ask the operator for access.",
    "IdentityProviderUnavailable": "The identity provider does not respond. Retry; operator: see the log.",
    "InsufficientScope": "The credential lacks a scope. Use one that has it.",
    "InvalidCredentials": "The credentials are wrong, expired or of an unknown kind. See `WWW-Authenticate`.",
    "InvalidDocument": "A document is not valid. The description begins with a JSON pointer to the wrong value.",
    "InvalidLink": "The download link does not exist, or was changed. Ask its creator for a new one.",
    "InvalidParameterValue": "A parameter or a value in the body is wrong. The description begins with its name.",
    "LicenceNotAccepted": "The data need the acceptance of a licence. Follow the link in the response.",
    "LinkElsewhere": "The link is valid for another URL, method or client address.",
    "LinkEnded": "The credentials that created the link are no longer valid. Create a new link.",
    "LinkExpired": "The link has expired. Create a new one.",
    "LinkRevoked": "The link was revoked. Ask its creator.",
    "LinkUsedUp": "All downloads of the link have been used. Create a new one.",
    "MethodNotAllowed": "The resource has no such method. See `Allow`.",
    "NoPluginAnswers": "No plugin delivers the asset. Operator: `STACFLASK_PLUGINS` lacks the plugin of its store.",
    "NoStore": "The asset is in no store of this server. Operator: see `href not resolved` in the log.",
    "NotAcceptable": "The resource has none of the media types in `Accept`.",
    "NotFound": "The resource does not exist, or you cannot see it.",
    "NotMigrated": "Tables of this release are missing. Operator: run `stacflask migrate`.",
    "NotStreamable": "The store of the asset only redirects. Request the asset by itself, without `delivery=stream`.",
    "ObjectMissing": "The store does not have the object. Report it to the publisher.",
    "Offline": "The data are brought online first (202), or cannot be ordered here (503). Retry later.",
    "PreconditionFailed": "The resource has changed since you read it. Read it again.",
    "PreconditionRequired": "Changes need `If-Match`. Send the `ETag` of the resource.",
    "QueryCancelled": "The operator cancelled the query. Request less.",
    "QueryTimeout": "The query took too long. Request less; operator: add an index.",
    "QuotaExceeded": "Your quota is used up. `/quota` returns when it begins again.",
    "RangeNotSatisfiable": "The range is outside of the object.",
    "ReadOnly": "The database is a standby or under maintenance. Read only, or retry.",
    "ResultTooLarge": "A transformed asset is too large to prepare. Operator: `STACFLASK_MAX_BUFFERED_BYTES`.",
    "ServerError": "An unexpected error. Report the request id to the operator, who finds it in the log.",
    "SettingError": "A setting is wrong. The response is `ServerError`; operator: see the log.",
    "TooLarge": "The permission covers smaller objects only.",
    "TooManyItems": "The response would have too many items. Narrow the search.",
    "TooManyStreams": "All streams of the process are in use. Retry; operator: `STACFLASK_MAX_STREAMS`.",
    "Unauthorized": "Authentication is required. See `WWW-Authenticate`.",
    "Unavailable": "A store or another service does not respond. Retry.",
    "UnsupportedMediaType": "The body has the wrong `Content-Type`, or is compressed.",
}


def page() -> str:
    """Return the page. Exits if a code has no text here."""
    if missing := sorted(codes().keys() - MEANINGS.keys()):
        raise SystemExit(f"dev/reference/error_codes.py: MEANINGS: expected a text for {', '.join(missing)}")
    entries = sorted((code, ", ".join(map(str, sorted(statuses)))) for code, statuses in codes().items())
    return INTRODUCTION + "".join(item(f"`{code}` ({status}): {MEANINGS[code]}") for code, status in entries)


def codes() -> dict[str, set[int]]:
    """Return the statuses of each code in the code."""
    found: dict[str, set[int]] = {"Offline": {503}}
    for code, status in [*_of_classes(), *_of_calls()]:
        found.setdefault(code, set()).add(status)
    return found


def _of_classes() -> Iterator[tuple[str, int]]:
    yield from ((kind.code, status) for kind, status in STATUS.items())
    yield from ((code, status) for status, code in CODES.items())
    yield from ((code, 503) for _, (code, _, _) in (*_BY_KIND, *_BY_TEXT))


def _of_calls() -> Iterator[tuple[str, int]]:
    """Return the codes that are passed as ``code=``, and those of ``error_response(status, code, ...)``."""
    for path, tree in sources():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            function = ast.unparse(call.func)
            code = next((_text(one.value, module) for one in call.keywords if one.arg == "code"), None)
            if function == "error_response" and isinstance(call.args[0], ast.Constant):
                yield str(_text(call.args[1], module)), int(str(call.args[0].value))
            elif code is not None and (status := _status(function, call)):
                yield code, status


def _text(value: ast.expr, module: str) -> str | None:
    """Return a literal, or the value of a constant of the module."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    constant: Any = getattr(importlib.import_module(module), value.id, None) if isinstance(value, ast.Name) else None
    return constant if isinstance(constant, str) else None


def _status(function: str, call: ast.Call) -> int | None:
    if function.endswith("Decision.deny"):
        return QUOTA_EXHAUSTED if "kind='exhausted'" in ast.unparse(call) else STATUS[errors.Refused]
    kind = getattr(errors, function.rpartition(".")[2], errors.Unavailable if function == "Bulkhead" else None)
    return STATUS.get(kind) if isinstance(kind, type) else None
