"""How much an expression may ask for. Beyond these it is refused with a message, before any of it is worked on."""

from decimal import Decimal

MAXIMUM_LENGTH = 100_000
"""Characters of cql2-text."""
MAXIMUM_DEPTH = 60
"""Operators, intervals and lists within each other. AND, OR and lists of them are one level, however long."""
MAXIMUM_OPERATIONS = 2_000
MAXIMUM_VALUES = 50_000
"""Values of all kinds, coordinates not counted."""
MAXIMUM_POSITIONS = 10_000
"""Positions in one geometry."""
LARGEST = Decimal("1e300")
"""The largest number that takes part in arithmetic; what exceeds it is unknown."""
