"""Publish the demo catalogue: upload objects to the bucket, and load documents with the command line."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import NamedTuple

from minio import Minio

from dev.demo import elevation, names, optical, radar
from dev.demo.documents import Bucket, Document, collection_document
from dev.demo.policies import commands
from dev.stack import Stack, StackError
from stacflask.cli import run

PARTS = {
    names.OPEN: (optical.fenlark_items, optical.FENLARK),
    names.MEMBERS: (radar.items, radar.HALYARD),
    names.HIDDEN: (optical.quickwater_items, optical.QUICKWATER),
    names.EDGES: (elevation.items, elevation.PLUMBLINE),
}


class Catalogue(NamedTuple):
    """The documents and objects of the demo."""

    collections: list[Document]
    items: list[Document]
    objects: dict[str, tuple[bytes, str]]
    """Bytes and media type of the objects in the bucket, by key."""


def catalogue(bucket_name: str) -> Catalogue:
    """Return the demo catalogue. It is the same on every call. It takes some seconds and writes nothing."""
    bucket, collections, items = Bucket(bucket_name), [], []
    for name, (items_of, fields) in PARTS.items():
        own = list(items_of(bucket))
        items += own
        collections.append(collection_document(name, own, bucket.overview(name), *fields))
    return Catalogue(collections, items, bucket.objects)


def publish(stack: Stack, environ: dict[str, str]) -> None:
    """Fill the bucket of the stack and the catalogue. `environ` is the environment of stacflask commands.

    Raises StackError if a command fails, for example because the demo is already published.
    """
    demo = catalogue(stack.bucket)
    client = Minio(stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key, secure=False, region=stack.s3_region)

    def upload(key: str) -> None:
        data, media_type = demo.objects[key]
        client.put_object(stack.bucket, key, BytesIO(data), len(data), media_type)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(upload, demo.objects))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (json.dumps(document, ensure_ascii=False) for document in [*demo.collections, *demo.items])
        (folder / "demo.ndjson").write_text("\n".join(lines), "utf-8")
        _stacflask(["load", str(folder / "demo.ndjson"), "--method", "upsert"], environ)
        for command in commands(folder / "licence.txt"):
            _stacflask(command, environ)


def _stacflask(arguments: list[str], environ: dict[str, str]) -> None:
    """Run a command of stacflask in this process. Two dozen processes would take longer than their work."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
        code = run(arguments, environ)
    if code:
        raise StackError(f"stacflask {' '.join(arguments)} failed: {errors.getvalue() or out.getvalue()}")
