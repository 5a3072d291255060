"""`python -m dev.demo write FOLDER`: the demo catalogue as files, for people to look at."""

import argparse
from pathlib import Path

from dev.demo.catalogue import catalogue
from dev.demo.publishing import write, write_objects


def main() -> None:
    """Write documents and objects into a folder."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description="The demo catalogue of stacflask")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("write", help="write collections.json, items.ndjson and all objects into FOLDER")
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command.add_argument("--bucket", default="assets", help="the bucket that the hrefs name (default: assets)")
    chosen = parser.parse_args()
    made = catalogue(chosen.bucket)
    write(made, chosen.folder)
    write_objects(made, chosen.folder / "objects")
    print(
        f"{len(made.collections)} collections, {len(made.items)} items, {len(made.objects)} objects in {chosen.folder}"
    )


if __name__ == "__main__":
    main()
