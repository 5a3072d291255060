"""The folder in which the processes of a server share their metrics (prometheus_client's multiprocess mode)."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - mkdtemp makes a private folder in it
FOLDER_PREFIX = "stacflask-metrics-"
METRICS_FOLDER, FOLDER_IS_OURS = "PROMETHEUS_MULTIPROC_DIR", "STACFLASK_METRICS_FOLDER_IS_OURS"


def prepare() -> None:
    """Create a metrics folder that the workers share, if the plugin is loaded. Remove files of earlier servers."""
    if "metrics" not in os.environ.get("STACFLASK_PLUGINS", "").replace(" ", "").split(","):
        return
    if METRICS_FOLDER not in os.environ:
        # The files are mapped into memory. A process that writes to such a file on a full disk is killed.
        memory = None if os.environ.get("TMPDIR") or not os.access(MEMORY_FOLDER, os.W_OK) else MEMORY_FOLDER
        parent = Path(memory or tempfile.gettempdir())
        _remove_abandoned(parent)
        os.environ[METRICS_FOLDER], os.environ[FOLDER_IS_OURS] = str(_new_folder(parent)), "1"
    for file in Path(os.environ[METRICS_FOLDER]).glob("*.db"):
        file.unlink()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers that were killed: those that no process has locked."""
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            file = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(file)


def _new_folder(parent: Path) -> Path:
    """Create and lock a folder.

    It gets its final name once it is locked, so that another server never takes it for abandoned.
    """
    new = Path(tempfile.mkdtemp(prefix="stacflask-new-", dir=parent))
    with suppress(OSError):  # If folders cannot be locked, no server can lock one, and none is removed.
        _lock(new)
    return new.rename(parent / new.name.replace("stacflask-new-", FOLDER_PREFIX))


def _lock(folder: Path) -> int:
    """Lock a folder of this user until this process and its children have exited. Raises OSError.

    A process id would not do: the system can reuse it, and other containers number their processes themselves.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(file).st_uid != os.geteuid():
            raise PermissionError(folder)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def mark_exited(pid: int) -> None:
    """Remove the gauges of a process that has exited."""
    if METRICS_FOLDER in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def remove() -> None:
    """Remove the folder if this server created it."""
    if os.environ.get(FOLDER_IS_OURS) == "1":
        shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True)
