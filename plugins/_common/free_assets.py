"""Free assets: small files of known media types that show or describe the data.

The author of an item writes roles, media type and size. Only the size is compared with the stored object. The limit on
the size prevents an author from publishing the data themselves as a description.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stacflask import Asset, SettingError

MEDIA_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "application/json",
    "application/geo+json",
    "application/xml",
    "text/xml",
    "text/plain",
    "text/html",
)
DEFAULT_TYPES = ",".join(MEDIA_TYPES)
DEFAULT_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class FreeAssets:
    """The rule: only ``roles``, one of ``media_types``, at most ``max_bytes`` bytes."""

    roles: frozenset[str] = frozenset()
    media_types: frozenset[str] = frozenset(MEDIA_TYPES)
    max_bytes: int = DEFAULT_BYTES

    def includes(self, asset: Asset) -> bool:
        """Return whether an asset is free according to its document."""
        return (
            bool(asset.roles)
            and self.roles.issuperset(asset.roles)
            and not asset.path
            and essence(asset.media_type or "") in self.media_types
            and (asset.size is None or asset.size <= self.max_bytes)
        )

    def __str__(self) -> str:
        """Describe the rule for operators."""
        roles, types = ", ".join(sorted(self.roles)), ", ".join(sorted(self.media_types))
        return f"assets that have only the roles {roles}, a media type of {types}, and at most {self.max_bytes} bytes"


def free_assets(environ: Mapping[str, str], roles: frozenset[str], types: str, size: str) -> FreeAssets:
    """Read the rule from the variables ``types`` and ``size``. Raises SettingError."""
    words = environ.get(types, "").strip() or DEFAULT_TYPES
    media_types = frozenset(essence(word) for word in words.split(",") if word.strip())
    if wrong := sorted(word for word in media_types if word.count("/") != 1):
        raise SettingError(types, f"expected media types such as image/png, got {wrong[0]!r}")
    text = environ.get(size, "").strip() or str(DEFAULT_BYTES)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**63):
        raise SettingError(size, f"expected a number of bytes greater than 0, got {text!r}")
    return FreeAssets(roles, media_types, int(text))


def essence(media_type: str) -> str:
    """Return a media type without its parameters, in lower case (RFC 9110, section 8.3.1)."""
    return media_type.partition(";")[0].strip().lower()
