"""The conformance classes: each is declared only where all of it works."""

from __future__ import annotations

STAC = "https://api.stacspec.org/v1.0.0"
FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"

ALWAYS = (
    f"{STAC}/core",
    f"{STAC}/collections",
    f"{STAC}/ogcapi-features",
    f"{STAC}/item-search",
    f"{STAC}/download",
    f"{FEATURES}/core",
    f"{FEATURES}/geojson",
    f"{FEATURES}/oas30",
)
WRITABLE = (
    f"{STAC}/ogcapi-features/extensions/transaction",
    f"{STAC}/collections/extensions/transaction",
)


def classes(*, writable: bool) -> list[str]:
    """Give the classes that this deployment holds to."""
    return sorted(ALWAYS + (WRITABLE if writable else ()))
