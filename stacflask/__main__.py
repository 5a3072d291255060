"""``python -m stacflask`` is ``stacflask``."""

from stacflask.cli import main

if __name__ == "__main__":
    main()
