"""Publish the demo catalogue: upload objects to the bucket, and load documents with the command line."""

import json
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path

from minio import Minio

from dev.demo.catalogue import Catalogue, catalogue
from dev.demo.policies import commands
from dev.stack import Stack, StackError
from stacflask.cli import run


def publish(stack: Stack, environ: dict[str, str]) -> None:
    """Fill the bucket of the stack and the catalogue. `environ` is the environment of stacflask commands.

    Raises StackError if a command fails, for example because the demo is already published.
    """
    print("Creating the demo catalogue, only at the first start (about ten seconds) ...", flush=True)
    demo = catalogue(stack.bucket)
    client = Minio(stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key, secure=False, region=stack.s3_region)
    upload(demo, client, stack.bucket)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(demo, folder)
        files = [str(folder / "collections.json"), str(folder / "items.ndjson")]
        _stacflask(["load", *files, "--method", "upsert"], environ)
        print("Creating keys, rights, a licence and a quota ...", flush=True)
        for command in commands(folder / "licence.txt"):
            _stacflask(command, environ)


def upload(demo: Catalogue, client: Minio, bucket: str) -> None:
    """Upload every object with its media type, and print the progress."""
    for number, (key, stored) in enumerate(demo.objects.items(), 1):
        client.put_object(bucket, key, BytesIO(stored.data), len(stored.data), stored.media_type)
        # A terminal overwrites the line. In a file, one line per object would be too many.
        if sys.stdout.isatty() or number % 50 == 0 or number == len(demo.objects):
            end = "\r" if sys.stdout.isatty() and number < len(demo.objects) else "\n"
            print(f"Uploading demo objects: {number} of {len(demo.objects)}", end=end, flush=True)


def write(demo: Catalogue, folder: Path) -> None:
    """Write collections.json (an array) and items.ndjson (one item per line) to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collections.json").write_text(json.dumps(demo.collections, ensure_ascii=False, indent=1), "utf-8")
    lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in demo.items)
    (folder / "items.ndjson").write_text("".join(lines), "utf-8")


def write_objects(demo: Catalogue, folder: Path) -> None:
    """Write every object to a file. Its key is the path in the folder."""
    for key, stored in demo.objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored.data)


def _stacflask(arguments: list[str], environ: dict[str, str]) -> None:
    """Run a command of stacflask in this process. Two dozen processes would take longer than their work."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
        code = run(arguments, environ)
    if code:
        raise StackError(f"stacflask {' '.join(arguments)} failed: {errors.getvalue() or out.getvalue()}")
