"""Code that several shipped plugins share.

It imports only ``stacflask``.
Start with ``durations.py``.
"""
