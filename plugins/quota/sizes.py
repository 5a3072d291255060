"""Sizes in bytes with units, such as 500GB."""

import re

SIZES = {unit: 1000**power for power, unit in enumerate(("", "k", "M", "G", "T", "P"))}


def parse_size(text: str) -> int:
    """Parse a size such as ``500GB`` or ``1.5 TiB``, and return the bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgtp]?)(i?)b?", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"expected a size such as 500GB or 1.5TiB, got {text!r}")
    step = 1024.0 if match[3] else 1000.0
    return round(float(match[1]) * step ** " kmgtp".index(match[2].lower() or " "))


def format_size(number: int) -> str:
    """Return a number of bytes with a decimal unit."""
    unit = max((unit for unit in SIZES if number >= SIZES[unit]), key=SIZES.__getitem__, default="")
    return f"{number / SIZES[unit]:.4g} {unit}B"
