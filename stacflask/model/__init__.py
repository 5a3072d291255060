"""Values that plugins and all packages share, as small frozen records.

Imports nothing of stacflask outside of itself.
Start with ``principal.py``, ``asset.py``, ``decision.py``.
"""
