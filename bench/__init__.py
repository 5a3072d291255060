"""How fast this is, on this machine, beside what the machine can do: ``python -m bench``, or ``make bench``."""
