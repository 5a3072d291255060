"""Limits of an expression. An expression that exceeds one is refused before it is compiled."""

from decimal import Decimal

MAXIMUM_LENGTH = 100_000
"""Characters of cql2-text."""
MAXIMUM_DEPTH = 60
"""Nested operators, intervals and lists. Some operators count as several; AND and OR of many operands count as one."""
MAXIMUM_OPERATIONS = 1_000
MAXIMUM_VALUES = 20_000
"""Values of all types. A geometry is one value."""
MAXIMUM_NAMES = 1_000
"""Names of properties. A name with dots counts once for each way in which it can be read."""
MAXIMUM_POSITIONS = 10_000
"""Positions in all geometries."""
MAXIMUM_DIGITS = 200
"""Digits of one number: the digits between the smallest and the largest number of the arithmetic."""
MAXIMUM_STEPS = 16
"""Parts of a property name, separated by dots."""
LARGEST = Decimal("1e100")
"""The largest number of the arithmetic. ``MAXIMUM_OPERATIONS`` operations on it stay within the range of PostgreSQL."""
