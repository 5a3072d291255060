"""Migrations of plugins: each plugin has its own chain, beside its code."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stacflask.pluginmanager.loading import migrations_of
from stacflask.settings import Settings
from tests.catalog.database.test_migrations import fresh
from tests.conftest import PLUGINS

__all__ = ["fresh"]

PLUGIN = """
from pathlib import Path

from stacflask import hookimpl

MIGRATIONS = Path(__file__).with_name("migrations")


@hookimpl
def authorize():
    return None
"""
FIRST = """
\"\"\"Create the table of terms.\"\"\"

from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE plugin_terms (principal text PRIMARY KEY)")


def downgrade():
    op.execute("DROP TABLE plugin_terms")
"""
SECOND = FIRST.replace('"0001"', '"0002"').replace("None", '"0001"').replace("plugin_terms", "plugin_terms_texts")

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Return the folder of a package with a plugin that has one migration."""
    folder = tmp_path / "rules"
    (folder / "migrations").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "terms.py").write_text(PLUGIN)
    (folder / "migrations" / "0001_first.py").write_text(FIRST)
    return folder


@pytest.fixture
def run(fresh: str, rules: Path) -> Run:
    """Return a function that runs a command with plugins, and returns its exit code and output."""

    def call(plugins: str, *arguments: str) -> tuple[int, str]:
        environ = {**os.environ, "DATABASE_URL": fresh, "STACFLASK_PLUGINS": plugins, "PYTHONPATH": str(rules.parent)}
        command = [sys.executable, "-m", "stacflask", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return call


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'plugin%'").fetchall()
    return {name for (name,) in names}


def test_migrate_runs_the_chains_of_enabled_plugins_only(run: Run, fresh: str) -> None:
    """The tables of a plugin are created when it is enabled, also those of a plugin of another author."""
    assert run("open_access", "migrate")[0] == 0
    assert tables(fresh) == set()
    assert run("quota,rules.terms", "migrate")[0] == 0
    assert tables(fresh) == {"plugin_quota_limits", "plugin_quota_usage", "plugin_quota_openings", "plugin_terms"}


def test_check_names_each_plugin_without_its_tables(run: Run, rules: Path) -> None:
    """``check`` fails if the tables of a plugin are missing or at an earlier revision."""
    run("rules.terms", "migrate")
    code, text = run("rules.terms,quota", "check")
    assert (code, "The database has no tables of the plugin quota. Run stacflask migrate." in text) == (2, True)
    (rules / "migrations" / "0002_second.py").write_text(SECOND)
    code, text = run("rules.terms", "check")
    assert (code, "The tables of the plugin rules_terms are at revision 0001, but 0002 is needed." in text) == (2, True)
    assert run("rules.terms", "migrate")[0] == 0
    code, text = run("rules.terms", "check")
    assert (code, "migrations: up to date, at 0001; rules_terms 0002" in text) == (0, True)


def test_a_plugin_that_is_no_longer_installed_changes_nothing(run: Run, fresh: str, rules: Path) -> None:
    """Without the plugin, ``migrate`` and ``check`` work, and its tables stay."""
    run("rules.terms", "migrate")
    (rules / "terms.py").unlink()
    assert [run("open_access", command)[0] for command in ("migrate", "check")] == [0, 0]
    assert tables(fresh) == {"plugin_terms"}


def test_a_later_revision_of_a_plugin_is_an_error_that_names_it(run: Run, rules: Path) -> None:
    """If a later release of a plugin migrated its tables, ``migrate`` states so and changes nothing."""
    second = rules / "migrations" / "0002_second.py"
    second.write_text(SECOND)
    run("rules.terms", "migrate")
    second.unlink()
    code, text = run("rules.terms", "migrate")
    assert code == 2
    assert "the plugin rules_terms are at revision 0002, which this release does not have" in text


def test_the_tables_of_a_plugin_can_be_removed(run: Run, fresh: str) -> None:
    """``migrate --remove`` drops the tables of one plugin. The next ``migrate`` creates them again."""
    run("quota,orders", "migrate")
    assert run("orders", "migrate", "--remove", "quota")[0] == 0
    assert tables(fresh) == {"plugin_orders"}
    run("quota,orders", "migrate")
    assert "plugin_quota_usage" in tables(fresh)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_shipped_chain_can_be_removed(run: Run, fresh: str, plugin: str) -> None:
    """The downgrade of each shipped plugin leaves none of its tables."""
    run(plugin, "migrate")
    assert tables(fresh) != set()
    run("", "migrate", "--remove", plugin)
    assert tables(fresh) == set()


@pytest.fixture
def client(fresh: str, rules: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of an application whose plugin has two revisions."""
    from stacflask.app import create_app

    (rules / "migrations" / "0002_second.py").write_text(SECOND)
    monkeypatch.syspath_prepend(str(rules.parent))
    settings = Settings.from_environ({"DATABASE_URL": fresh, "STACFLASK_PLUGINS": "rules.terms"})
    return create_app(settings).test_client()


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("DROP TABLE alembic_version_rules_terms", 503),
        ("DELETE FROM alembic_version_rules_terms", 503),
        ("UPDATE alembic_version_rules_terms SET version_num = '0001'", 503),
        ("UPDATE alembic_version_rules_terms SET version_num = '0003'", 200),
    ],
    ids=["no table", "removed", "earlier", "later"],
)
def test_a_server_is_ready_if_the_tables_of_its_plugins_are(
    run: Run, fresh: str, client: Any, statement: str, status: int
) -> None:
    """/health/ready is 503 NotMigrated while tables of a plugin are missing or at an earlier revision, not a later."""
    run("rules.terms", "migrate")
    assert client.get("/health/ready").status_code == 200
    with psycopg.connect(fresh) as connection:
        connection.execute(statement.encode())
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json.get("code")) == (status, "NotMigrated" if status == 503 else None)


def test_a_wrong_folder_of_migrations_is_reported(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin whose MIGRATIONS is no folder cannot be used."""
    from stacflask.errors import SettingError

    (rules / "wrong.py").write_text('MIGRATIONS = "migrations"\n')
    monkeypatch.syspath_prepend(str(rules.parent))
    with pytest.raises(SettingError, match=r"rules\.wrong: MIGRATIONS: expected the Path of a folder"):
        migrations_of(["rules.wrong"])


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    """Forget the package, of which each test has its own."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "rules"]:
        del sys.modules[name]
