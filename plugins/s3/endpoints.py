"""Checks that the library sends requests for a store to the configured endpoint."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minio.helpers import BaseURL, check_bucket_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .settings import StoreSettings

    Fail = Callable[[str, str], NoReturn]

EXAMPLE = "https://s3.eu-central-1.amazonaws.com"
PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_AMAZON = re.compile(r"\.amazonaws\.com(\.cn)?$")
_AMAZON_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}")
_EVERYWHERE = "s3.amazonaws.com"
"""Amazon's endpoint without a region. It belongs to us-east-1."""


def read_endpoint(text: str) -> str:
    """Return an endpoint as in the Host header: in lower case, without a default port. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"expected scheme, host and port alone, such as {EXAMPLE}")
    if parts.path.strip("/") or "?" in text or "#" in text:
        raise ValueError(f"expected scheme, host and port alone, such as {EXAMPLE}")
    host = parts.hostname
    if not _HOST.fullmatch(host) and not is_address(host):
        raise ValueError(f"expected a host name in ASCII or an IP address, got {host!r}")
    port = _port(parts.netloc, lambda: parts.port)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port in (None, PORTS[parts.scheme]) else f':{port}'}"


def _port(netloc: str, read: Callable[[], int | None]) -> int | None:
    try:
        port = read()
    except ValueError:
        port = 0
    if port == 0 or netloc.endswith(":"):
        raise ValueError("invalid port: expected a number from 1 to 65535")
    return port


def is_address(host: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def check_endpoint(name: str, store: StoreSettings, fail: Fail) -> None:
    """Check that requests for the store are sent to the endpoint in the member ``name``, and to no other host.

    ``fail`` is called with the name of the wrong member and the problem.
    """
    url = getattr(store, name)
    host = urlsplit(url).netloc
    if _AMAZON.search(host.partition(":")[0]):
        _check_amazon(name, host, store.region, fail)
    elif store.virtual and is_address(urlsplit(url).hostname or ""):
        fail("addressing", f"expected path, because {host} is an IP address and virtual needs a host name")
    try:
        base = BaseURL(url, store.region)
    except ValueError as error:
        fail(name, str(error))
    base.virtual_style_flag = base.virtual_style_flag if store.virtual is None else store.virtual
    for bucket in {part.bucket for part in store.buckets}:
        _check_bucket(base, bucket, name, store, fail)


def _check_amazon(name: str, host: str, region: str, fail: Fail) -> None:
    if ":" in host:
        fail(name, "expected no port: endpoints of Amazon use the default port")
    if not _AMAZON_REGION.fullmatch(region) or host.endswith(".cn") != region.startswith("cn-"):
        fail("region", f"expected a region of Amazon, such as eu-central-1; {host} has no region {region!r}")


def _check_bucket(base: BaseURL, bucket: str, name: str, store: StoreSettings, fail: Fail) -> None:
    host = urlsplit(getattr(store, name)).netloc
    try:
        made = base.build(method="GET", region=store.region, bucket_name=bucket, object_name="x").netloc
    except ValueError as error:
        fail(name, str(error))
    in_host = made.startswith(f"{bucket}.") and made != host
    actual = made.removeprefix(f"{bucket}.") if in_host else made
    if actual != host and not (host == _EVERYWHERE and store.region == "us-east-1"):
        fail(
            name,
            f"expected the region {store.region!r}, as in region; requests would be sent to {actual}",
        )
    if store.virtual and not in_host:
        fail("addressing", f"expected path: no certificate of {host} is valid for the dot in bucket {bucket!r}")
    if in_host and not _is_strict(bucket):
        fail("addressing", f"expected path, because {bucket!r} cannot be part of a host name")


def _is_strict(bucket: str) -> bool:
    try:
        check_bucket_name(bucket, strict=True)
    except ValueError:
        return False
    return True
