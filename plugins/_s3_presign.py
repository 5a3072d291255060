"""Addresses for GET signed by the hundred (AWS Signature Version 4 in the query), without asking anybody.

What is the same for all is worked out once: the key of the day, and where a bucket is.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minio.credentials.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"


class Bucket(NamedTuple):
    """Where a bucket's objects are: ``path`` comes before each key."""

    scheme: str
    host: str
    path: str
    region: str


def presigned(
    bucket: Bucket, key: str, fields: Mapping[str, str], credentials: Credentials, stamp: str, seconds: int
) -> str:
    """Sign an address for GET of one object that answers with these fields, good for so many seconds from ``stamp``.

    The names of fields sort after those that begin with a capital X, and are plain.
    """
    scope, head = _head(bucket.region, credentials.access_key, credentials.session_token, stamp, seconds)
    query = "&".join([head, *[f"{name}={_quoted(value)}" for name, value in sorted(fields.items())]])
    path = bucket.path + quote(key)
    asked = f"GET\n{path}\n{query}\nhost:{bucket.host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    signature = _sign(_key(credentials.secret_key, stamp[:8], bucket.region), text).hex()
    return f"{bucket.scheme}://{bucket.host}{path}?{query}&X-Amz-Signature={signature}"


@lru_cache(maxsize=64)
def _head(region: str, access_key: str, token: str | None, stamp: str, seconds: int) -> tuple[str, str]:
    """Give the scope of signatures in one second, and the query as far as it is the same for all of them."""
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        **({"X-Amz-Security-Token": token} if token else {}),
        "X-Amz-SignedHeaders": "host",
    }
    return scope, "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def _quoted(value: str) -> str:
    # The name of a grant is another each time, and plain.
    return value if value.isascii() and value.isalnum() else _remembered(value)


@lru_cache(maxsize=4096)
def _remembered(value: str) -> str:
    return quote(value, safe="")


@lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str) -> bytes:
    """Give the key that signs during one day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = _sign(key, part)
    return key


def _sign(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)
