"""Guards around the functions of plugins: they validate every result, and convert exceptions.

pluggy collects results without the names of their plugins, so each function has a guard with the name of its plugin.
For a wrong result, or an exception that is not in ``stacflask.errors``, the guard raises an error with that name.
"""

from __future__ import annotations

import copy
import dis
import inspect
import logging
import re
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import FrameType, TracebackType
from typing import Any, NoReturn

import click
import pluggy

from stacflask.errors import Refused, SettingError, StacflaskError
from stacflask.model.decision import Decision, Only
from stacflask.model.delivery import Location, Order, Redirect, SignedQueries, Stream
from stacflask.model.endpoint import Endpoint, EndpointResponse
from stacflask.model.json_types import Condition
from stacflask.model.principal import Challenge, Principal
from stacflask.pluginmanager import result_checks
from stacflask.pluginmanager.result_checks import describe

VARIABLE = "STACFLASK_PLUGINS"

SINGLE_RESULTS: dict[str, tuple[type, ...]] = {
    "authenticate": (Principal,),
    "refresh_principal": (Principal,),
    "principal_groups": (frozenset,),
    "restrict": (dict, bool, Only),
    "authorize": (Decision,),
    "authorize_change": (Decision,),
    "charge": (Decision,),
    "charge_many": (Decision,),
    "resolve": (Location,),
    "deliver": (Redirect, Stream),
    "transform": (Stream,),
    "sign_queries": (SignedQueries,),
    "order": (Order,),
    "order_states": (Mapping,),
    "storage_href": (str,),
}
"""Hooks that return one value or None, with its classes."""

LIST_RESULTS: dict[str, type] = {
    "extend_cli": click.Command,
    "extend_api": Endpoint,
    "check_setup": str,
    "challenge": Challenge,
    "authorize_many": Decision,
    "presign": Redirect,
}
"""Hooks that return a list, with the class of its elements."""

AT_START = ("extend_cli", "extend_api", "challenge")
"""Hooks whose errors stop the start of a server."""

OBSERVERS = frozenset(
    {"response_ready", "metric_recorded", "stream_finished", "order_changed", "changes_committed", "shutdown"}
)
"""Hooks whose errors are logged and have no further effect."""

DECIDING = frozenset({"authorize", "authorize_many", "authorize_change", "charge", "charge_many"})
"""Hooks that return decisions."""

UNDECIDING = frozenset(
    {
        *("principal_groups", "restrict", "presign", "sign_queries", "download_decided", "order_states"),
        *("storage_href", "check_setup"),
    }
)
"""Hooks that must not raise Refused, because their refusals are not recorded."""

LOGGED_CHANGES = DECIDING | {"authenticate", "refresh_principal", "principal_groups", "restrict"}
"""Hooks whose results are logged if a wrapper changes them."""

PER_ASSET_ARGUMENTS = {"authorize_many": "assets", "presign": "assets", "sign_queries": "assets"}
"""Hooks that return one element for each element of this argument, even if the plugin does not take it."""

MAX_EMPTY_CHUNKS = 1_000
"""Maximum number of successive empty chunks of a stream."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT)
"""Signals that end a process. Their handlers can raise exceptions."""

RAISING = frozenset(dis.opmap[name] for name in ("RAISE_VARARGS", "RETURN_GENERATOR", "YIELD_VALUE"))
"""Instructions that raise an exception themselves, or into which one is thrown."""

SUSPENDING = frozenset(dis.opmap[name] for name in ("RETURN_GENERATOR", "YIELD_VALUE"))
"""Instructions behind which Python 3.13 throws an exception into a generator."""

log = logging.getLogger(__name__)


def install(manager: pluggy.PluginManager, hooks: Iterable[str]) -> None:
    """Install a guard around each function of these hooks."""
    for hook in hooks:
        spec = getattr(manager.hook, hook).spec
        firstresult = bool(spec.opts["firstresult"])
        for impl in getattr(manager.hook, hook).get_hookimpls():
            guard = Guard(hook, impl.plugin_name, firstresult=firstresult)
            if impl.wrapper:
                impl.function = guard.around(impl.function)
            elif hook in PER_ASSET_ARGUMENTS:
                impl.function = guard.call_per_asset(impl.function, tuple(spec.argnames), tuple(impl.argnames))
                impl.argnames = tuple(spec.argnames)
            else:
                impl.function = guard.call(impl.function)


_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x1f\x7f-\x9f]+").fullmatch


class Guard:
    """Calls the function of one plugin for one hook, and validates its result."""

    def __init__(self, hook: str, plugin: str, *, firstresult: bool = True) -> None:
        self.hook, self.plugin = hook, plugin
        self._firstresult = firstresult
        self._note = f"Raised by plugin {plugin} in hook {hook}."
        self._last: tuple[Decision, Decision] | None = None
        self._checks: dict[str, Callable[[Any], Any]] = {
            "restrict": self._condition,
            "principal_groups": self._groups,
            "order_states": self._states,
            "storage_href": self._href,
            "deliver": self._delivery,
            "transform": self._delivery,
            **dict.fromkeys(DECIDING, self._decision),
        }

    def call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function with its guard."""
        check = self._check_of_hook()
        quick = self.hook in SINGLE_RESULTS

        def guarded(*args: Any) -> Any:
            try:
                result = function(*args)
                return result if result is None and quick else check(result)
            except BaseException as error:
                return self._failed(error)

        return guarded

    def call_per_asset(
        self, function: Callable[..., Any], arguments: tuple[str, ...], own: tuple[str, ...]
    ) -> Callable[..., Any]:
        """Return a function with its guard, for a hook in ``PER_ASSET_ARGUMENTS``. It takes all arguments."""
        check = self._check_of_hook()
        places, counted = [arguments.index(name) for name in own], arguments.index(PER_ASSET_ARGUMENTS[self.hook])

        def guarded(*args: Any) -> Any:
            number = len(args[counted])
            try:
                return self._check_length(check(function(*[args[place] for place in places])), number)
            except BaseException as error:
                return self._failed(error)

        return guarded

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper with its guard. It receives a copy of the result, and its own result is validated."""
        check = self._check_of_result()

        def guarded(*args: Any) -> Generator[None, Any, Any]:
            wrapper = self._start(function, args)
            raised: BaseException | None = None
            result: Any = None
            try:
                result = yield
            except BaseException as error:  # raised by the wrapped functions
                raised = error
            resume = partial(wrapper.throw, raised) if raised else partial(wrapper.send, self._copied(result))
            return self._finish(resume, result, raised, check)

        return guarded

    # --- Wrappers ----------------------------------------------------------------------------------------------------

    def _start(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run a wrapper up to its ``yield``."""
        try:
            wrapper = function(*args)
            next(wrapper)
        except BaseException as error:
            self._failed(error)
            wrapper = _empty_wrapper()
            next(wrapper)
        return wrapper

    def _finish(
        self, resume: Callable[[], Any], result: Any, raised: BaseException | None, check: Callable[[Any, Any], Any]
    ) -> Any:
        try:
            resume()
        except StopIteration as stop:
            if self.hook not in SINGLE_RESULTS and self.hook not in LIST_RESULTS:
                return result
            try:
                return self._log_change(check(stop.value, result), result, raised)
            except BaseException as error:
                return self._failed(error)
        except BaseException as error:
            if error is raised:
                raise
            self._failed(error)
            return result
        self._failed(TypeError(self._message("expected a wrapper to yield once")))
        return result

    def _log_change(self, value: Any, result: Any, raised: BaseException | None) -> Any:
        """Log a result that a wrapper changed."""
        if self.hook in LOGGED_CHANGES and (raised is not None or not _is_same(value, result)):
            before = type(raised).__name__ if raised is not None else _summary(result)
            log.warning(
                "hook result changed by wrapper",
                extra={"plugin": self.plugin, "hook": self.hook, "before": before, "after": _summary(value)},
            )
        return value

    def _check_of_result(self) -> Callable[[Any, Any], Any]:
        """Return a function that validates the result of a wrapper. Results of other plugins are valid already."""
        check = self._check_of_hook()

        def single(value: Any, result: Any) -> Any:
            return value if value is result else check(value)

        def several(value: Any, result: Any) -> Any:
            if type(value) is not list:
                raise self._wrong(f"expected a wrapper to return a list, got {describe(value)}")
            placed = self._places(value, result or [])
            checked = [check(element) if place is None else result[place] for element, place in placed]
            return [element for element in checked if element is not None]

        return single if self._firstresult else several

    def _places(self, value: list[Any], result: list[Any]) -> list[tuple[Any, int | None]]:
        """Return each element of a wrapper's result with its place in the wrapped result, or None if it is new."""
        if self.hook == "restrict":  # The wrapper got copies, because conditions can be changed.
            return [(element, result.index(element) if element in result else None) for element in value]
        places = {id(element): place for place, element in enumerate(result)}
        return [(element, places.get(id(element))) for element in value]

    def _copied(self, result: Any) -> Any:
        """Return a copy of a result for a wrapper, so that a change of it can be detected."""
        if self.hook == "restrict":
            return copy.deepcopy(result)
        return list(result) if type(result) is list else result

    # --- Results ------------------------------------------------------------------------------------------------------

    def _check_of_hook(self) -> Callable[[Any], Any]:
        if self.hook in LIST_RESULTS:
            return self._list
        if self.hook not in SINGLE_RESULTS:
            return self._no_result
        return self._checks.get(self.hook, self._record)

    def _no_result(self, value: Any) -> None:
        if value is not None:
            _close(value)
            raise self._wrong(f"expected None, got {describe(value)}")

    def _record(self, value: Any) -> Any:
        """Validate a single value."""
        if value is None:
            return None
        kinds = SINGLE_RESULTS[self.hook]
        if type(value) not in kinds:
            _close(value)
            names = " or ".join(kind.__name__ for kind in kinds)
            raise self._wrong(f"expected {names} or None, got {describe(value)}")
        self._check(result_checks.problem(value))
        return value

    def _decision(self, value: Any) -> Decision | None:
        """Validate a decision, and set the name of the plugin."""
        # Successive assets often have the same decision.
        last = self._last
        if last is not None and last[0] is value:
            return last[1]
        if value is None:
            return None
        if type(value) is not Decision:
            _close(value)
            raise self._wrong(f"expected Decision or None, got {describe(value)}")
        self._check(result_checks.problem(value))
        if self.hook in ("charge", "charge_many") and value.allowed is not False:
            # Another result would prevent the calls of plugins further right.
            raise self._wrong("expected None or a denial, got a consent or an abstention")
        signed = result_checks.signed(value, self.plugin)
        self._last = value, signed
        return signed

    def _href(self, value: Any) -> Any:
        """Validate an href, which becomes part of a document."""
        if value is not None and (type(value) is not str or _ABSOLUTE_URI(value) is None):
            _close(value)
            raise self._wrong(f"expected an absolute URL (str) or None, got {describe(value)}")
        return value

    def _groups(self, value: Any) -> Any:
        if value is not None and not result_checks.GROUP_NAMES.check(value):
            _close(value)
            raise self._wrong(f"expected {result_checks.GROUP_NAMES.expected} or None, got {describe(value)}")
        return value

    def _condition(self, value: Any) -> Any:
        if value is None or type(value) is bool or type(value) is Only:
            return value
        if type(value) is not dict:
            _close(value)
            raise self._wrong(f"expected dict or bool or Only or None, got {describe(value)}")
        self._check(result_checks.condition_problem(value))
        return Condition(value, self.plugin)

    def _states(self, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            _close(value)
            raise self._wrong(f"expected Mapping or None, got {describe(value)}")
        states = dict(value)
        for key, state in states.items():
            if not result_checks.is_text(key) or not result_checks.STATE.check(state):
                raise self._wrong(f"expected {result_checks.STATE.expected} by asset key")
        return states

    def _delivery(self, value: Any) -> Any:
        checked = self._record(value)
        if type(checked) is Stream:
            return replace(checked, open=self._guarded_open(checked.open))
        return checked

    def _list(self, value: Any) -> Any:
        kind = LIST_RESULTS[self.hook]
        if not isinstance(value, list | tuple):
            _close(value)
            raise self._wrong(f"expected a list of {kind.__name__}, got {describe(value)}")
        if kind is Decision:
            return [self._decision(one) for one in value]
        return [self._element(one, kind, value) for one in value]

    def _element(self, one: Any, kind: type, value: Any) -> Any:
        if one is None and kind is Redirect:
            return None
        if kind is click.Command:
            return self._command(one, value)
        if type(one) is not kind:
            raise self._wrong(f"expected a list of {kind.__name__}, got {describe(value)}")
        if kind is str and not result_checks.is_line(one):
            raise self._wrong("expected text of one line without control characters")
        problem = None if kind is str else result_checks.problem(one)
        if problem and isinstance(one, Endpoint) and result_checks.is_text(one.path):
            problem = f"{one.path}: {problem}"
        self._check(problem)
        return self._endpoint(one) if isinstance(one, Endpoint) else one

    def _command(self, command: Any, value: Any) -> click.Command:
        if not isinstance(command, click.Command):
            raise self._wrong(f"expected a list of Command, got {describe(value)}")
        if type(command.name) is not str or not result_checks.COMMAND.fullmatch(command.name):
            raise self._wrong("expected the name of a command to have only letters, digits, - and _")
        if inspect.iscoroutinefunction(command.callback):
            raise self._wrong(f"the command {command.name} is an async function; expected a plain function")
        for part in command.commands.values() if isinstance(command, click.Group) else ():
            self._command(part, value)
        return command

    def _check_length(self, value: Any, number: int) -> Any:
        elements = value.queries if isinstance(value, SignedQueries) else value
        if elements is not None and len(elements) != number:
            raise self._wrong(f"expected {number} elements, one for each asset, got {len(elements)}")
        return value

    # --- Handlers and streams ----------------------------------------------------------------------------------------

    def _endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with a guard around its handler."""
        guard = Guard(f"{endpoint.method} {endpoint.path}", self.plugin)

        def handler(request: Any) -> EndpointResponse:
            try:
                result = endpoint.handler(request)
                return guard.response(result)
            except BaseException as error:
                guard._failed(error)
                raise

        return replace(endpoint, handler=handler, by=self.plugin)

    def response(self, value: Any) -> EndpointResponse:
        """Validate the result of an endpoint's handler."""
        if type(value) is not EndpointResponse:
            _close(value)
            raise self._wrong(f"expected EndpointResponse, got {describe(value)}")
        self._check(result_checks.problem(value))
        return value

    def _guarded_open(self, function: Callable[[int, int], Any]) -> Callable[[int, int], Iterator[bytes]]:
        """Return ``Stream.open`` with a guard around it and around its chunks."""

        def guarded(first: int, length: int) -> Iterator[bytes]:
            try:
                return Chunks(iter(function(first, length)), self._failed)
            except BaseException as error:
                self._failed(error)
                raise

        return guarded

    # --- Errors ------------------------------------------------------------------------------------------------------

    def _message(self, text: str) -> str:
        return f"{self.plugin}: {self.hook}: {text}"

    def _wrong(self, text: str) -> Exception:
        message = self._message(text)
        return SettingError(VARIABLE, message) if self.hook in AT_START else TypeError(message)

    def _check(self, problem: str | None) -> None:
        """Raise an error if there is a problem."""
        if problem is not None:
            raise self._wrong(problem)

    def _failed(self, error: BaseException) -> None:
        """Raise an error that may leave the hook. An error of an observer is logged instead."""
        if is_signal(error):
            raise error
        if self.hook in OBSERVERS:
            log.error("observer failed", exc_info=error, extra={"plugin": self.plugin, "hook": self.hook})
            return
        converted = self._converted(error)
        if converted is error:
            raise error
        raise converted from error

    def _converted(self, error: BaseException) -> BaseException:
        """Return the error itself if it may leave the hook, else an error that names the plugin."""
        problem: str | None = f"raised {type(error).__name__}"
        if isinstance(error, SettingError):
            # At the start it is for the operator. In a request it would show settings to clients.
            problem = None if self.hook in (*AT_START, "startup") else problem
        elif isinstance(error, StacflaskError):
            problem = result_checks.error_problem(error)
            if isinstance(error, Refused) and self.hook in UNDECIDING:
                problem = "raised Refused, which this hook must not raise"
            elif isinstance(error, Refused) and problem is None:
                error.decision = replace(error.decision, by=self.plugin)
        elif isinstance(error, Exception) and not _has_response(error):
            problem = None
        if problem is not None:
            return RuntimeError(self._message(problem))
        # The same error can be raised several times.
        if self._note not in getattr(error, "__notes__", ()):
            error.add_note(self._note)
        return error


class Chunks:
    """The chunks of a plugin's stream. Each chunk is validated."""

    def __init__(self, chunks: Iterator[Any], failed: Callable[[BaseException], Any]) -> None:
        self._chunks = chunks
        self._failed = failed
        self._empty = 0

    def __iter__(self) -> Iterator[bytes]:
        """Return the iterator itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next chunk."""
        try:
            chunk = next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self._fail(error)
        if type(chunk) is not bytes:
            self._fail(TypeError(f"expected chunks of a stream to be bytes, got {describe(chunk)}"))
        self._empty = 0 if chunk else self._empty + 1
        if self._empty > MAX_EMPTY_CHUNKS:
            self._fail(TypeError("expected chunks of a stream to have bytes, got only empty ones"))
        return chunk

    def close(self) -> None:
        """Close the plugin's iterator, if it can be closed."""
        close = getattr(self._chunks, "close", None)
        if close is None:
            return
        try:
            close()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        self._failed(error)
        raise error


def _empty_wrapper() -> Generator[None, Any, Any]:
    """Return the wrapped result unchanged. Replaces the wrapper of an observer that failed."""
    return (yield)


def _is_same(value: Any, result: Any) -> bool:
    if type(value) is list and type(result) is list:
        return len(value) == len(result) and all(one is other for one, other in zip(value, result, strict=True))
    return value is result


def _summary(result: Any) -> str:
    """Describe a result for the log, without values that can be secret."""
    if isinstance(result, list):
        return "; ".join(map(_summary, result[:10])) or "none"
    if isinstance(result, Decision):
        kind = {True: "consent", False: "denial", None: "abstention"}[result.allowed]
        return f"{kind} by {result.by}: {result.reason}"
    if isinstance(result, Principal):
        return f"principal {result.id}"
    return type(result).__name__ if result is not None else "none"


def _close(value: Any) -> None:
    """Close a coroutine that is never awaited, because Python would warn about it."""
    with suppress(Exception):
        if inspect.iscoroutine(value):
            value.close()


def _has_response(error: Exception) -> bool:
    """Return whether Flask converts an error to a response (``abort``, redirects), or Python to the end of a loop."""
    return isinstance(error, StopIteration | StopAsyncIteration) or hasattr(error, "get_response")


def is_signal(error: BaseException) -> bool:
    """Return whether a signal handler raised an error. Python runs handlers in the main thread, at any place."""
    if isinstance(error, Exception) or threading.current_thread() is not threading.main_thread():
        return False
    frames = [(frame.f_code, place) for frame, place in _frames(error.__traceback__)]
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in SIGNALS}
    if any(code in handlers for code, _ in frames):
        return True
    code, place = frames[-1]
    raised = code.co_code[place] in RAISING or (place > 0 and code.co_code[place - 2] in SUSPENDING)
    return isinstance(error, KeyboardInterrupt) and not raised


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lasti
        trace = trace.tb_next


def asynchronous_kind(function: Callable[..., Any], *, wrapper: bool) -> str:
    """Return the kind of an async function or a generator; empty for a plain function, which hooks must be."""
    if inspect.iscoroutinefunction(function):
        return "an async function"
    if inspect.isasyncgenfunction(function):
        return "an async generator"
    return "a generator" if inspect.isgeneratorfunction(function) and not wrapper else ""
