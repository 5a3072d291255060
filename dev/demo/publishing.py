"""From the demo catalogue to a running house: objects into the bucket, documents through the command line."""

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
    """Fill the stack's bucket and the house's catalogue; `environ` is what the house's commands run in.

    Raises StackError when a command fails, as it does where the demo was published before.
    """
    print("Drawing the demo catalogue (some ten seconds) ...", flush=True)
    made = catalogue(stack.bucket)
    client = Minio(stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key, secure=False, region=stack.s3_region)
    upload(made, client, stack.bucket)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(made, folder)
        files = [str(folder / "collections.json"), str(folder / "items.ndjson")]
        _stacflask(["load", *files, "--method", "upsert"], environ)
        print("Giving out keys, rights, a licence and a quota ...", flush=True)
        for command in commands(folder / "licence.txt"):
            _stacflask(command, environ)


def upload(made: Catalogue, client: Minio, bucket: str) -> None:
    """Put every object into the bucket, with its media type; prints how far it is."""
    for number, (key, stored) in enumerate(made.objects.items(), 1):
        client.put_object(bucket, key, BytesIO(stored.data), len(stored.data), stored.media_type)
        # On a terminal the line is written over; in a file, each would stand there.
        if sys.stdout.isatty() or number % 50 == 0 or number == len(made.objects):
            end = "\r" if sys.stdout.isatty() and number < len(made.objects) else "\n"
            print(f"Uploading demo objects: {number} of {len(made.objects)}", end=end, flush=True)


def write(made: Catalogue, folder: Path) -> None:
    """Write collections.json (an array) and items.ndjson (one item a line) into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collections.json").write_text(json.dumps(made.collections, ensure_ascii=False, indent=1), "utf-8")
    lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in made.items)
    (folder / "items.ndjson").write_text("".join(lines), "utf-8")


def write_objects(made: Catalogue, folder: Path) -> None:
    """Write every object as a file, its key as the path below the folder."""
    for key, stored in made.objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored.data)


def _stacflask(arguments: list[str], environ: dict[str, str]) -> None:
    """Run one command of the house in this process: two dozen processes would take longer than the work."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
        code = run(arguments, environ)
    if code:
        raise StackError(f"stacflask {' '.join(arguments)} failed: {errors.getvalue() or out.getvalue()}")
