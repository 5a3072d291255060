"""`python -m dev.demo write FOLDER`: write the demo catalogue to files."""

import argparse
from pathlib import Path

from dev.demo.catalogue import catalogue
from dev.demo.publishing import write, write_objects


def main() -> None:
    """Write documents and objects to a folder."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description="The demo catalogue of stacflask")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("write", help="write collections.json, items.ndjson and all objects to FOLDER")
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command.add_argument("--bucket", default="assets", help="the bucket in the hrefs (default: assets)")
    options = parser.parse_args()
    demo = catalogue(options.bucket)
    write(demo, options.folder)
    write_objects(demo, options.folder / "objects")
    print(
        f"{len(demo.collections)} collections, {len(demo.items)} items, {len(demo.objects)} objects in {options.folder}"
    )


if __name__ == "__main__":
    main()
