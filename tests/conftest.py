"""Fixtures for all tests: a private PostGIS and a private S3 store, which are started for the run."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import minio
import pytest
from hypothesis import HealthCheck, settings

from dev.stack import Stack, running, scratch_folder

pytest_plugins = ["stacflask.testing"]

ROOT = Path(__file__).parent.parent
PLUGINS = [path.parent.name for path in sorted(ROOT.glob("plugins/*/migrations"))]
"""The shipped plugins with tables."""

# The examples are the same in each run, on any machine, so that a failure comes from a change and not from chance.
# For other examples: make test ARGS="--hypothesis-profile=default"
settings.register_profile(
    "steady", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for more schemathesis examples: make test ARGS="-k schemathesis --examples 50"."""
    parser.addoption("--examples", type=int, help="number of valid and invalid examples of each operation")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what tests print and UTF-8 does not have. pytest-xdist cannot send it from one process to another."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the skipped tests with their reasons, because pytest prints them like passed tests, and all counts."""
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties:
            terminalreporter.write_line(f"{number} {name}")
    reports = terminalreporter.getreports("skipped")
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in reports if isinstance(report.longrepr, tuple)
    )
    for reason, number in reasons.items():
        terminalreporter.write_line(f"NOT TESTED: {number} of the tests. {reason}", bold=True, yellow=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Run PostGIS and SeaweedFS for the session."""
    with running(scratch_folder(ROOT / ".run"), keep=False) as servers:
        yield servers


@pytest.fixture(scope="session")
def database_url(stack: Stack) -> str:
    """Migrate the private database, and return its URL."""
    migrate(stack.database_url)
    return stack.database_url


def migrate(database_url: str, *arguments: str) -> None:
    """Migrate stacflask and all plugins, or run alembic with these arguments."""
    command = [sys.executable, "-m", *(("alembic", *arguments) if arguments else ("stacflask", "migrate"))]
    environ = {**os.environ, "DATABASE_URL": database_url, "STACFLASK_PLUGINS": ",".join(PLUGINS)}
    subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def s3(stack: Stack) -> minio.Minio:
    """Return a client of the private store with all rights."""
    return minio.Minio(
        stack.s3_endpoint, stack.s3_access_key, stack.s3_secret_key, region=stack.s3_region, secure=False
    )
