"""Reads the settings of the audit."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from stacflask import SettingError

from .._common.durations import parse_duration

WRITE = "STACFLASK_AUDIT_WRITE"
FAILURE = "STACFLASK_AUDIT_ON_FAILURE"
SPOOL = "STACFLASK_AUDIT_SPOOL"
ADDRESS = "STACFLASK_AUDIT_ADDRESS"
AGENT = "STACFLASK_AUDIT_AGENT"
INTERVAL = "STACFLASK_AUDIT_INTERVAL"
QUEUE = "STACFLASK_AUDIT_QUEUE"
MAX_WAIT = "STACFLASK_AUDIT_MAX_WAIT"
KEEP = "STACFLASK_AUDIT_KEEP_PERSONAL"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The settings. Times are in seconds."""

    batched: bool = True
    refuse: bool = True
    spool: Path | None = None
    address: str = "network"
    agent: bool = False
    interval: float = 0.5
    queue: int = 10_000
    max_wait: float = 10.0
    keep: timedelta | None = None


def read_choice(environ: Mapping[str, str], name: str, *choices: str) -> str:
    """Return the setting ``name``, one of ``choices``; the first is the default. Raises SettingError."""
    word = environ.get(name, "").strip() or choices[0]
    if word not in choices:
        raise SettingError(name, f"expected one of {', '.join(choices)}, got {word!r}")
    return word


def read_number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    """Return the setting ``name``, a number from ``least`` to ``most``. Raises SettingError."""
    text = environ.get(name, "").strip() or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SettingError(name, f"expected a number from {least} to {most}, got {text!r}")
    return number


def read_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the spool folder; None if there is none. Raises SettingError."""
    text = environ.get(SPOOL, "").strip()
    if not text:
        return None
    if not (Path(text).is_absolute() and Path(text).is_dir() and os.access(text, os.W_OK)):
        raise SettingError(SPOOL, f"expected the absolute path of a writable folder, got {text!r}")
    return Path(text)


def keep_personal(environ: Mapping[str, str]) -> timedelta | None:
    """Return how long records keep personal data; None: as long as they exist. Raises SettingError."""
    text = environ.get(KEEP, "").strip()
    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        raise SettingError(KEEP, str(error)) from None
