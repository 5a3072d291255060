"""How much an expression may ask for. What asks for more is refused before any of it is worked on."""

from __future__ import annotations

from decimal import Decimal

MAXIMUM_LENGTH = 100_000
"""Characters of cql2-text."""
MAXIMUM_DEPTH = 60
"""Operators, intervals and lists within each other; some operators count as several. AND and OR of many are one."""
MAXIMUM_OPERATIONS = 1_000
MAXIMUM_VALUES = 20_000
"""Values of all kinds; a geometry is one."""
MAXIMUM_NAMES = 1_000
"""Names of properties. One with dots counts once for each way in which it can be read."""
MAXIMUM_POSITIONS = 10_000
"""Positions in all geometries together."""
MAXIMUM_DIGITS = 200
"""Digits of one number: so many lie between the smallest and the largest that take part in arithmetic."""
MAXIMUM_STEPS = 16
"""Parts of a property's name with dots between them."""
LARGEST = Decimal("1e100")
"""The largest number that takes part in arithmetic: so many operations on it stay within what PostgreSQL can hold."""
