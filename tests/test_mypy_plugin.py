"""mypy finds wrong signatures of hooks in modules and classes of plugins."""

import ast
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.documented import GUIDES, TUTORIALS, write_files

SPECIFICATIONS = (ROOT / "stacflask" / "hookspecs.py").read_text()

RIGHT = """
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any

from stacflask import Asset, Decision, Principal, Request, Stream, hookimpl


@hookimpl
def authorize(asset: Asset) -> Decision:
    return Decision.allow("a function takes the arguments that it needs, and can return less")


@hookimpl(specname="restrict")
def hide(of: str) -> bool:
    return False


class Plugin:
    @hookimpl(trylast=True)
    def authenticate(self, request: Request, extra: int = 0) -> Principal | None:
        return None

    @hookimpl(wrapper=True)
    def authorize(self) -> Generator[None, Any, Any]:
        return (yield)

"""
UNANNOTATED = """
# mypy: allow-untyped-defs, no-check-untyped-defs
from stacflask import hookimpl


@hookimpl
def authorise(principal):  # there is no hook "authorise"; did you mean "authorize"?
    pass


@hookimpl(trylast=True)
def authenticate(user):  # hook "authenticate" has no argument "user"; expected request
    pass


class Plugin:
    @hookimpl
    def startup(self, services):
        return services

    @staticmethod
    @hookimpl
    def resolve(path):  # hook "resolve" has no argument "path"; expected asset
        return path

    @hookimpl(wrapper=True)
    def authorize(self, user):  # hook "authorize" has no argument "user"; expected principal, asset, request_info
        return (yield)
"""
WRONG = """
from stacflask import Principal, hookimpl


@hookimpl
def authorise(principal: Principal) -> None:  # there is no hook "authorise"; did you mean "authorize"?
    pass


@hookimpl
def authenticate(user: Principal) -> None:  # hook "authenticate" has no argument "user"; expected request
    pass


class Plugin:
    @hookimpl
    def resolve(self, asset: str) -> None:  # hook "resolve" passes "Asset" as "asset"; the function accepts "str"
        pass

    @hookimpl(tryfirst=True)
    def authorize(self) -> bool:  # hook "authorize" expects "Decision | None"; the function returns "bool"
        return True

    @hookimpl(specname="restrict")
    def hide(self) -> str:  # hook "restrict" expects "dict[str, Any] | bool | Only | None"; the function returns "str"
        return ""
"""


def copies(suffix: str = "") -> str:
    """Return each hook as a function of a plugin, with the imports of the specifications."""
    functions = [node for node in ast.parse(SPECIFICATIONS).body if isinstance(node, ast.FunctionDef)]
    imports = re.findall(r"^    ((?:import|from) .*)$", SPECIFICATIONS, re.MULTILINE)
    text = [
        "from __future__ import annotations",
        "from typing import Literal",
        *imports,
        "from stacflask import hookimpl",
    ]
    for node in functions:
        node.decorator_list = [ast.Name("hookimpl")]
        node.body = [ast.Raise(ast.Name("NotImplementedError"))]
        node.args.args += [ast.arg("unknown", ast.Name("int"))] if suffix else []
        text.append(ast.unparse(node))
    return "\n".join(text) + "\n"


def expected(sample: str) -> list[str]:
    """Return the errors that a sample has in its comments."""
    lines = enumerate(sample.splitlines(), 1)
    return sorted(f"{number}: {line.partition('  # ')[2]}" for number, line in lines if "  # " in line)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the errors of mypy in each sample, with the number of their line."""
    folder = tmp_path_factory.mktemp("samples")
    samples = {
        "right": RIGHT,
        "wrong": WRONG,
        "unannotated": UNANNOTATED,
        "copies": copies(),
        "longer": copies("unknown"),
    }
    paths = [folder / f"{name}_plugin.py" for name in samples]
    for path, text in zip(paths, samples.values(), strict=True):
        path.write_text(text)
    for page in (*GUIDES.glob("*.md"), TUTORIALS / "first-plugin.md"):
        write_files(page, folder)
    paths += [*folder.glob("rules/*.py"), *folder.glob("stacflask_*.py")]
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--show-error-codes", *map(str, paths)]
    environ = {**os.environ, "MYPYPATH": str(folder)}  # a plugin of a guide can import that of another one
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    errors: dict[str, list[str]] = {name: [] for name in (*samples, "documented")}
    pattern = re.compile(r"^.*?(\w+?)(?:_plugin)?\.py:(\d+): error: (.*?)(?:  \[[\w-]+\])?$", re.MULTILINE)
    for name, line, message in pattern.findall(done.stdout):
        errors[name if name in samples else "documented"].append(f"{line}: {message}")
    return errors


def test_right_signatures_are_accepted(report: dict[str, list[str]]) -> None:
    """Fewer arguments, wider arguments, narrower results and wrappers are right."""
    assert report["right"] == []


def test_wrong_signatures_are_found(report: dict[str, list[str]]) -> None:
    """A wrong name, argument, type of an argument and type of a result are errors at the line of the function."""
    assert sorted(report["wrong"]) == expected(WRONG)


def test_wrong_names_without_annotations_are_found(report: dict[str, list[str]]) -> None:
    """The names of a function and of its arguments are checked if it has no annotations, too."""
    assert sorted(report["unannotated"]) == expected(UNANNOTATED)


def test_each_hook_is_checked(report: dict[str, list[str]]) -> None:
    """Copies of all specifications are accepted, and each with a further argument is an error."""
    hooks = re.findall(r"^def (\w+)\(", SPECIFICATIONS, re.MULTILINE)
    assert report["copies"] == []
    assert [re.findall(r'hook "(\w+)" has no argument "unknown"', error) for error in report["longer"]] == [
        [hook] for hook in hooks
    ]


def test_documented_plugins_are_right(report: dict[str, list[str]]) -> None:
    """The plugins in the tutorial and in the guides pass mypy in strict mode."""
    assert report["documented"] == []
