"""The passwords and keys of one stack: random, created once, stored in a file that only its owner can read."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def _random() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Secrets:
    """Credentials for the private servers."""

    admin_password: str = field(default_factory=_random, repr=False)
    database_password: str = field(default_factory=_random, repr=False)
    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    s3_secret_key: str = field(default_factory=_random, repr=False)
    store_signing_key: str = field(default_factory=_random, repr=False)


def load_or_create(path: Path) -> Secrets:
    """Return the secrets in a file, or create the file with new ones (mode 0600)."""
    if path.exists():
        return Secrets(**json.loads(path.read_text()))
    created = Secrets()
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(created), indent=2))
    unfinished.rename(path)
    return created
