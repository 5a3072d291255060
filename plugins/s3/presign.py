"""Presigned URLs for GET (AWS Signature Version 4 in the query), computed without requests.

A response can need thousands of them. The parts that are the same for all URLs of one second are computed once.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import NamedTuple, Self
from urllib.parse import quote

from minio.credentials.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
SHA256 = partial(hashlib.sha256)
"""With the name, or with the function itself, ``hmac`` uses OpenSSL's HMAC, which takes twice as long to copy."""
UNRESERVED = re.compile(r"[A-Za-z0-9_.~/-]*")
"""Keys that ``quote`` does not change. ``quote`` takes several times as long as this match."""


class Bucket(NamedTuple):
    """The URL of a bucket: ``path`` precedes each key."""

    scheme: str
    host: str
    path: str


@dataclass(frozen=True, slots=True, repr=False)
class Presigner:
    """Presigns URLs that are valid for ``lifetime`` from one second on.

    ``head`` is the common start of all queries. ``common_hmac`` has hashed the common start of all strings to sign;
    each signature continues with a copy of it.
    """

    lifetime: timedelta
    head: str
    common_hmac: hmac.HMAC

    @classmethod
    def of(cls, credentials: Credentials, region: str, second: int, lifetime: timedelta) -> Self:
        """Return the presigner for credentials and one second, counted from 1970."""
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
        """Return a presigned URL for GET of one object, with these ``encoded`` query fields, sorted by name.

        All names must sort after those that begin with a capital X.
        """
        path = bucket.path + (key if UNRESERVED.fullmatch(key) else quote(key))
        query = f"{self.head}&{fields}"
        canonical_request = f"GET\n{path}\n{query}\nhost:{bucket.host}\n\nhost\nUNSIGNED-PAYLOAD"
        signature = self.common_hmac.copy()
        signature.update(hashlib.sha256(canonical_request.encode()).hexdigest().encode())
        return f"{bucket.scheme}://{bucket.host}{path}?{query}&X-Amz-Signature={signature.hexdigest()}"


def encoded(fields: Mapping[str, str]) -> str:
    """Return query fields in the encoding of the signature, sorted by name."""
    return "&".join([f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(fields.items())])
