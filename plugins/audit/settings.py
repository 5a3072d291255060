"""The settings of the audit."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plugins._common.spans import span
from stacflask import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


WRITE = "STACFLASK_AUDIT_WRITE"
FAILURE = "STACFLASK_AUDIT_ON_FAILURE"
SPOOL = "STACFLASK_AUDIT_SPOOL"
ADDRESS = "STACFLASK_AUDIT_ADDRESS"
AGENT = "STACFLASK_AUDIT_AGENT"
INTERVAL = "STACFLASK_AUDIT_INTERVAL"
QUEUE = "STACFLASK_AUDIT_QUEUE"
PATIENCE = "STACFLASK_AUDIT_PATIENCE"
KEEP = "STACFLASK_AUDIT_KEEP_PERSONAL"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What an operator says. Times are in seconds."""

    batched: bool = True
    refuse: bool = True
    spool: Path | None = None
    address: str = "network"
    agent: bool = False
    interval: float = 0.5
    queue: int = 10_000
    patience: float = 10.0
    keep: timedelta | None = None


def read_choice(environ: Mapping[str, str], name: str, *choices: str) -> str:
    """Read one of several words, the first unless set."""
    word = environ.get(name, "").strip() or choices[0]
    if word not in choices:
        raise SettingError(name, f"expected one of {', '.join(choices)}, not {word!r}")
    return word


def read_number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    """Read a number between two bounds. Raises SettingError."""
    text = environ.get(name, "").strip() or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise SettingError(name, f"expected a number from {least} to {most}, not {text!r}")
    return number


def read_folder(environ: Mapping[str, str]) -> Path | None:
    """Read the folder for records that the database could not take. Raises SettingError."""
    text = environ.get(SPOOL, "").strip()
    if not text:
        return None
    if not (Path(text).is_absolute() and Path(text).is_dir() and os.access(text, os.W_OK)):
        raise SettingError(SPOOL, f"{text} is not the absolute path of a folder that can be written to")
    return Path(text)


def keep_personal(environ: Mapping[str, str]) -> timedelta | None:
    """Read for how long it is remembered whose the records are; None: for as long as the records."""
    text = environ.get(KEEP, "").strip()
    try:
        return span(text) if text else None
    except ValueError as error:
        raise SettingError(KEEP, str(error)) from None
