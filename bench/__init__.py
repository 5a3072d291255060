"""Benchmark of the server, compared with the limits of this machine: ``python -m bench``, or ``make bench``."""
