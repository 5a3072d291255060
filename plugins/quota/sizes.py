"""Numbers of bytes, as people write them."""

from __future__ import annotations

import re

SIZES = {unit: 1000**power for power, unit in enumerate(("", "k", "M", "G", "T", "P"))}


def size(text: str) -> int:
    """Read a number of bytes, such as ``500GB`` or ``1.5 TiB``. Raises ValueError."""
    form = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgtp]?)(i?)b?", text.strip(), re.IGNORECASE | re.ASCII)
    if form is None or (form[3] and not form[2]):
        raise ValueError(f"expected a size such as 500GB or 1.5TiB, not {text!r}")
    step = 1024.0 if form[3] else 1000.0
    return round(float(form[1]) * step ** " kmgtp".index(form[2].lower() or " "))


def spelled(number: int) -> str:
    """Write a number of bytes for people."""
    unit = max((unit for unit in SIZES if number >= SIZES[unit]), key=SIZES.__getitem__, default="")
    return f"{number / SIZES[unit]:.4g} {unit}B"
