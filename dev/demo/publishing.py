"""From the demo catalogue to a running house: objects into the bucket, documents through the command line."""

import json
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from minio import Minio

from dev.demo.catalogue import Catalogue, catalogue
from dev.stack import Stack


def publish(stack: Stack, environ: dict[str, str]) -> None:
    """Fill the stack's bucket and the house's catalogue; `environ` is what the house's commands run in.

    Can be repeated: what is there already is written again. Raises CalledProcessError when a command fails.
    """
    print("Drawing the demo catalogue (some ten seconds) ...", flush=True)
    made = catalogue(stack.bucket)
    client = Minio(stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key, secure=False, region=stack.s3_region)
    upload(made, client, stack.bucket)
    with tempfile.TemporaryDirectory() as folder:
        write(made, Path(folder))
        for name in ("collections.json", "items.ndjson"):
            _stacflask("load", str(Path(folder, name)), "--method", "upsert", environ=environ)


def upload(made: Catalogue, client: Minio, bucket: str) -> None:
    """Put every object into the bucket, with its media type; prints how far it is."""
    for number, (key, stored) in enumerate(made.objects.items(), 1):
        client.put_object(bucket, key, BytesIO(stored.data), len(stored.data), stored.media_type)
        print(f"\rUploading demo objects: {number} of {len(made.objects)}", end="", flush=True)
    print()


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


def _stacflask(*arguments: str, environ: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "stacflask", *arguments], env=environ, check=True)
