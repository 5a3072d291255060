"""What several shipped plugins share.

Imports ``stacflask`` alone.
Start with ``spans.py``.
"""
