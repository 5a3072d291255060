"""Addresses for GET, signed (AWS Signature Version 4 in the query) without asking anybody.

Whoever signs does so by the thousand: what is the same for all that a store signs in one second is worked out once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from minio.credentials.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
SHA256 = partial(hashlib.sha256)
"""Given by name, or as it is, ``hmac`` uses OpenSSL's HMAC instead, which takes twice as long to copy."""
PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
"""Keys that are not changed by ``quote``, which takes several times as long."""


class Bucket(NamedTuple):
    """Where a bucket's objects are: ``path`` comes before each key."""

    scheme: str
    host: str
    path: str


@dataclass(frozen=True, slots=True, repr=False)
class Pen:
    """Signs addresses that are good for ``lifetime`` from the second on for which it was made.

    ``head`` is what all their queries begin with. ``begun`` has signed as much as is the same for all, and is never
    written to: each signature goes on from there in a copy.
    """

    lifetime: timedelta
    head: str
    begun: hmac.HMAC

    @classmethod
    def of(cls, credentials: Credentials, region: str, second: int, lifetime: timedelta) -> Self:
        """Make what signs with these credentials in one second of the epoch."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{stamp[:8]}/{region}/s3/aws4_request"
        token = credentials.session_token
        fields = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(int(lifetime.total_seconds())),
            **({"X-Amz-Security-Token": token} if token else {}),
            "X-Amz-SignedHeaders": "host",
        }
        key = f"AWS4{credentials.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return cls(lifetime, encoded(fields), hmac.new(key, f"{ALGORITHM}\n{stamp}\n{scope}\n".encode(), SHA256))

    def signed(self, bucket: Bucket, key: str, fields: str) -> str:
        """Sign an address for GET of one object with these ``encoded`` fields, in the order of their names.

        All of the names sort after those that begin with a capital X.
        """
        path = bucket.path + (key if PLAIN.fullmatch(key) else quote(key))
        query = f"{self.head}&{fields}"
        asked = f"GET\n{path}\n{query}\nhost:{bucket.host}\n\nhost\nUNSIGNED-PAYLOAD"
        signature = self.begun.copy()
        signature.update(hashlib.sha256(asked.encode()).hexdigest().encode())
        return f"{bucket.scheme}://{bucket.host}{path}?{query}&X-Amz-Signature={signature.hexdigest()}"


def encoded(fields: Mapping[str, str]) -> str:
    """Write fields of a query as they are signed."""
    return "&".join([f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(fields.items())])
