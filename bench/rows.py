"""The limit of the database: one client reads rows by key with a prepared statement, as fast as it can.

This is a separate program, so that several clients do not share one interpreter. It prints its rate.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import psycopg

from bench.catalogue import Scene
from bench.client import ROOT, BenchError

CLIENTS = 2
STATEMENT = "SELECT body FROM items WHERE collection = %s AND id = %s"


def rate(database_url: str, items: int, seconds: float) -> float:
    """Read rows with two clients and return rows per second. Raises BenchError."""
    command = [sys.executable, "-m", "bench.rows", str(items), str(seconds)]
    environ = {**os.environ, "DATABASE_URL": database_url}
    pipe = subprocess.PIPE
    clients = [subprocess.Popen(command, cwd=ROOT, env=environ, stdout=pipe, stderr=pipe) for _ in range(CLIENTS)]
    outputs = [client.communicate() for client in clients]
    for client, (_, error) in zip(clients, outputs, strict=True):
        if client.returncode:
            raise BenchError(f"bench.rows failed: {error.decode().strip().splitlines()[-1]}")
    return sum(float(number) for number, _ in outputs)


def main(items: int, seconds: float) -> None:
    """Read rows for some seconds and print the rows per second."""
    scenes = [Scene(random.randrange(items)) for _ in range(2000)]
    keys = [(scene.collection, scene.item) for scene in scenes]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        _read(cursor, keys, time.perf_counter() + seconds / 10)
        began = time.perf_counter()
        number = _read(cursor, keys, began + seconds)
        print(number / (time.perf_counter() - began))


def _read(cursor: psycopg.Cursor, keys: list[tuple[str, str]], end: float) -> int:
    number = 0
    while time.perf_counter() < end:
        if cursor.execute(STATEMENT, keys[number % len(keys)], prepare=True).fetchone() is None:
            raise BenchError("a row is missing")
        number += 1
    return number


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
