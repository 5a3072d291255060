"""Guards around plugins: every value that a hook returns is validated, and whatever it raises is one of ours.

pluggy collects values and not whose they are. So each function is called through a guard that knows the plugin's name.
A wrong value, or an exception that is none of ``stacflask.errors``, ends in an error that names the plugin.
"""

from __future__ import annotations

import copy
import dis
import inspect
import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from stacflask.errors import Refused, SettingError, StacflaskError
from stacflask.model.decision import Decision
from stacflask.model.delivery import Location, Order, Redirect, SignedQueries, Stream
from stacflask.model.endpoint import Endpoint, EndpointResponse
from stacflask.model.json_types import Condition
from stacflask.model.principal import Challenge, Principal
from stacflask.pluginmanager import result_checks
from stacflask.pluginmanager.result_checks import named

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from types import FrameType, TracebackType

    import pluggy

VARIABLE = "STACFLASK_PLUGINS"

ONE: dict[str, tuple[type, ...]] = {
    "authenticate": (Principal,),
    "refresh_principal": (Principal,),
    "restrict": (dict, bool),
    "authorize": (Decision,),
    "authorize_change": (Decision,),
    "charge": (Decision,),
    "charge_many": (Decision,),
    "resolve": (Location,),
    "deliver": (Redirect, Stream),
    "presign": (Redirect,),
    "sign_queries": (SignedQueries,),
    "order": (Order,),
    "order_states": (Mapping,),
    "storage_href": (str,),
}
"""Hooks that return one of these, or None."""

SEVERAL: dict[str, type] = {
    "extend_cli": click.Command,
    "extend_api": Endpoint,
    "check_setup": str,
    "challenge": Challenge,
    "authorize_many": Decision,
}
"""Hooks that return a list of these."""

AT_START = ("extend_cli", "extend_api", "challenge")
"""Hooks that are called at the start: what is wrong with them stops it."""

OBSERVERS = frozenset({"response_ready", "metric_recorded", "stream_finished", "order_changed"})
"""Hooks whose failures are logged and change nothing else."""

DECIDING = frozenset({"authorize", "authorize_many", "authorize_change", "charge", "charge_many"})
"""Hooks that return decisions."""

UNDECIDING = frozenset(
    {"restrict", "presign", "sign_queries", "download_decided", "order_states", "storage_href", "check_setup"}
)
"""Hooks in which a refusal is a mistake: it would be an answer that nobody records."""

NOTED = DECIDING | {"authenticate", "refresh_principal", "restrict"}
"""Hooks whose results are logged if a wrapper changes them."""

EACH_ASSET = {"authorize_many": "assets", "sign_queries": "assets"}
"""Hooks that return one element for each of an argument, whether or not the plugin takes that argument."""

EMPTY_PIECES = 1_000
"""Pieces of a stream on end that may be empty."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT)
"""Signals that end a process, by an exception if its handler raises one."""

RAISING = frozenset(dis.opmap[name] for name in ("RAISE_VARARGS", "RETURN_GENERATOR", "YIELD_VALUE"))
"""Instructions at which code raises by itself, or has something thrown into it."""

log = logging.getLogger(__name__)


def look_at(manager: pluggy.PluginManager, hooks: Iterable[str]) -> None:
    """Put a guard around each function of these hooks."""
    for hook in hooks:
        spec = getattr(manager.hook, hook).spec
        firstresult = bool(spec.opts["firstresult"])
        for impl in getattr(manager.hook, hook).get_hookimpls():
            guard = Guard(hook, impl.plugin_name, firstresult=firstresult)
            if impl.wrapper:
                impl.function = guard.around(impl.function)
            elif hook in EACH_ASSET:
                impl.function = guard.counting(impl.function, tuple(spec.argnames), tuple(impl.argnames))
                impl.argnames = tuple(spec.argnames)
            else:
                impl.function = guard.call(impl.function)


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x1f\x7f-\x9f]+").fullmatch


class Guard:
    """Calls one plugin's function of one hook, and validates what comes of it."""

    def __init__(self, hook: str, plugin: str, *, firstresult: bool = True) -> None:
        self.hook, self.plugin = hook, plugin
        self._firstresult = firstresult
        self._note = f"This was plugin {plugin}, asked by hook {hook}."
        self._last: tuple[Decision, Decision] | None = None
        self._checks: dict[str, Callable[[Any], Any]] = {
            "restrict": self._condition,
            "order_states": self._states,
            "storage_href": self._href,
            "deliver": self._delivery,
            **dict.fromkeys(DECIDING, self._decision),
        }

    def call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its guard."""
        check = self._check_of_hook()
        quick = self.hook in ONE

        def guarded(*args: Any) -> Any:
            try:
                given = function(*args)
                return given if given is None and quick else check(given)
            except BaseException as error:
                return self._failed(error)

        return guarded

    def counting(
        self, function: Callable[..., Any], known: tuple[str, ...], wanted: tuple[str, ...]
    ) -> Callable[..., Any]:
        """Do the same for a hook that returns as many elements as an argument has; it takes all arguments."""
        check = self._check_of_hook()
        places, counted = [known.index(name) for name in wanted], known.index(EACH_ASSET[self.hook])

        def guarded(*args: Any) -> Any:
            number = len(args[counted])
            try:
                return self._counted(check(function(*[args[place] for place in places])), number)
            except BaseException as error:
                return self._failed(error)

        return guarded

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper with its guard: it sees a copy of the result, and what it returns instead is validated."""
        check = self._check_of_result()

        def guarded(*args: Any) -> Generator[None, Any, Any]:
            wrapper = self._begun(function, args)
            raised: BaseException | None = None
            result: Any = None
            try:
                result = yield
            except BaseException as error:  # raised by what is wrapped
                raised = error
            resume = partial(wrapper.throw, raised) if raised else partial(wrapper.send, self._copied(result))
            return self._ended(resume, result, raised, check)

        return guarded

    # --- Wrappers ----------------------------------------------------------------------------------------------------

    def _begun(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run a wrapper as far as its ``yield``."""
        try:
            wrapper = function(*args)
            next(wrapper)
        except BaseException as error:
            self._failed(error)
            wrapper = _idle()
            next(wrapper)
        return wrapper

    def _ended(
        self, resume: Callable[[], Any], result: Any, raised: BaseException | None, check: Callable[[Any, Any], Any]
    ) -> Any:
        try:
            resume()
        except StopIteration as stop:
            if self.hook not in ONE and self.hook not in SEVERAL:
                return result
            try:
                return self._noted(check(stop.value, result), result, raised)
            except BaseException as error:
                return self._failed(error)
        except BaseException as error:
            if error is raised:
                raise
            self._failed(error)
            return result
        self._failed(TypeError(self._told("expected a wrapper to yield once")))
        return result

    def _noted(self, given: Any, result: Any, raised: BaseException | None) -> Any:
        """Log that a wrapper changed what others returned."""
        if self.hook in NOTED and (raised is not None or not _is_same(given, result)):
            before = type(raised).__name__ if raised is not None else _summary(result)
            log.warning(
                "hook result changed by wrapper",
                extra={"plugin": self.plugin, "hook": self.hook, "before": before, "after": _summary(given)},
            )
        return given

    def _check_of_result(self) -> Callable[[Any, Any], Any]:
        """Return what validates a wrapper's result: what others returned is passed on, all else is the wrapper's."""
        check = self._check_of_hook()

        def one(given: Any, result: Any) -> Any:
            return given if given is result else check(given)

        def several(given: Any, result: Any) -> Any:
            if type(given) is not list:
                raise self._wrong(f"expected a wrapper to return a list, got {named(given)}")
            known = self._known(given, result or [])
            checked = [check(element) if place is None else result[place] for element, place in known]
            return [element for element in checked if element is not None]

        return one if self._firstresult else several

    def _known(self, given: list[Any], result: list[Any]) -> list[tuple[Any, int | None]]:
        """Pair what a wrapper returns with its place among what others returned, if it is one of those."""
        if self.hook == "restrict":  # conditions can be changed, so that the wrapper got copies
            return [(element, result.index(element) if element in result else None) for element in given]
        places = {id(element): place for place, element in enumerate(result)}
        return [(element, places.get(id(element))) for element in given]

    def _copied(self, result: Any) -> Any:
        """Return a list of its own to a wrapper, so that a change of it is seen."""
        if self.hook == "restrict":
            return copy.deepcopy(result)
        return list(result) if type(result) is list else result

    # --- Values ------------------------------------------------------------------------------------------------------

    def _check_of_hook(self) -> Callable[[Any], Any]:
        if self.hook in SEVERAL:
            return self._each
        if self.hook not in ONE:
            return self._nothing
        return self._checks.get(self.hook, self._record)

    def _nothing(self, given: Any) -> None:
        if given is not None:
            _close(given)
            raise self._wrong(f"expected None, got {named(given)}")

    def _record(self, given: Any) -> Any:
        """Validate one of the values."""
        if given is None:
            return None
        kinds = ONE[self.hook]
        if type(given) not in kinds:
            _close(given)
            names = " or ".join(kind.__name__ for kind in kinds)
            raise self._wrong(f"expected {names} or None, got {named(given)}")
        self._hold(result_checks.problem(given))
        return given

    def _decision(self, given: Any) -> Decision | None:
        """Validate a decision, and sign it with the plugin's name."""
        # Many assets on end often get the very same decision.
        last = self._last
        if last is not None and last[0] is given:
            return last[1]
        if given is None:
            return None
        if type(given) is not Decision:
            _close(given)
            raise self._wrong(f"expected Decision or None, got {named(given)}")
        self._hold(result_checks.problem(given))
        if self.hook in ("charge", "charge_many") and given.allowed is not False:
            # It would keep the plugins further right from being called.
            raise self._wrong("expected None or a denial, got a consent or remark")
        signed = result_checks.signed(given, self.plugin)
        self._last = given, signed
        return signed

    def _href(self, given: Any) -> Any:
        """Validate an href, which becomes a part of a document."""
        if given is not None and (type(given) is not str or _ADDRESS(given) is None):
            _close(given)
            raise self._wrong(f"expected an address (str) or None, got {named(given)}")
        return given

    def _condition(self, given: Any) -> Any:
        if given is None or type(given) is bool:
            return given
        if type(given) is not dict:
            _close(given)
            raise self._wrong(f"expected dict or bool or None, got {named(given)}")
        self._hold(result_checks.condition_problem(given))
        return Condition(given, self.plugin)

    def _states(self, given: Any) -> Any:
        if given is None:
            return None
        if not isinstance(given, Mapping):
            _close(given)
            raise self._wrong(f"expected Mapping or None, got {named(given)}")
        states = dict(given)
        for key, state in states.items():
            if not result_checks.is_text(key) or not result_checks.STATE.check(state):
                raise self._wrong(f"expected {result_checks.STATE.expected} by asset key")
        return states

    def _delivery(self, given: Any) -> Any:
        checked = self._record(given)
        if type(checked) is Stream:
            return replace(checked, open=self._opening(checked.open))
        return checked

    def _each(self, given: Any) -> Any:
        kind = SEVERAL[self.hook]
        if not isinstance(given, list | tuple):
            _close(given)
            raise self._wrong(f"expected a list of {kind.__name__}, got {named(given)}")
        if kind is Decision:
            return [self._decision(one) for one in given]
        return [self._element(one, kind, given) for one in given]

    def _element(self, one: Any, kind: type, given: Any) -> Any:
        if kind is click.Command:
            return self._command(one, given)
        if type(one) is not kind:
            raise self._wrong(f"expected a list of {kind.__name__}, got {named(given)}")
        if kind is str and not result_checks.is_line(one):
            raise self._wrong("expected texts of one line without control characters")
        problem = None if kind is str else result_checks.problem(one)
        if problem and isinstance(one, Endpoint) and result_checks.is_text(one.path):
            problem = f"{one.path}: {problem}"
        self._hold(problem)
        return self._endpoint(one) if isinstance(one, Endpoint) else one

    def _command(self, command: Any, given: Any) -> click.Command:
        if not isinstance(command, click.Command):
            raise self._wrong(f"expected a list of Command, got {named(given)}")
        if type(command.name) is not str or not result_checks.COMMAND.fullmatch(command.name):
            raise self._wrong("expected a command's name to be letters, digits, - and _")
        if inspect.iscoroutinefunction(command.callback):
            raise self._wrong(f"the command {command.name} is an async function; expected a plain one")
        for part in command.commands.values() if isinstance(command, click.Group) else ():
            self._command(part, given)
        return command

    def _counted(self, given: Any, number: int) -> Any:
        elements = given.queries if isinstance(given, SignedQueries) else given
        if elements is not None and len(elements) != number:
            raise self._wrong(f"expected {number} elements, one for each asset, got {len(elements)}")
        return given

    # --- What is called later ----------------------------------------------------------------------------------------

    def _endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with a guard around its handler."""
        guard = Guard(f"{endpoint.method} {endpoint.path}", self.plugin)

        def handler(call: Any) -> EndpointResponse:
            try:
                given = endpoint.handler(call)
                return guard.answer(given)
            except BaseException as error:
                guard._failed(error)
                raise

        return replace(endpoint, handler=handler, by=self.plugin)

    def answer(self, given: Any) -> EndpointResponse:
        """Validate what an endpoint's handler returns."""
        if type(given) is not EndpointResponse:
            _close(given)
            raise self._wrong(f"expected Answer, got {named(given)}")
        self._hold(result_checks.problem(given))
        return given

    def _opening(self, opened: Callable[[int, int], Any]) -> Callable[[int, int], Iterator[bytes]]:
        """Return ``Stream.open`` with a guard around it and around what it yields."""

        def guarded(first: int, length: int) -> Iterator[bytes]:
            try:
                return Pieces(iter(opened(first, length)), self._failed)
            except BaseException as error:
                self._failed(error)
                raise

        return guarded

    # --- Errors ------------------------------------------------------------------------------------------------------

    def _told(self, text: str) -> str:
        return f"{self.plugin}: {self.hook}: {text}"

    def _wrong(self, text: str) -> Exception:
        told = self._told(text)
        return SettingError(VARIABLE, told) if self.hook in AT_START else TypeError(told)

    def _hold(self, problem: str | None) -> None:
        """Raise what is wrong with a value, if anything is."""
        if problem is not None:
            raise self._wrong(problem)

    def _failed(self, error: BaseException) -> None:
        """Raise what may be raised in place of this error; that of an observer is logged."""
        if is_signal(error):
            raise error
        if self.hook in OBSERVERS:
            log.error("observer failed", exc_info=error, extra={"plugin": self.plugin, "hook": self.hook})
            return
        told = self._error(error)
        if told is error:
            raise error
        raise told from error

    def _error(self, error: BaseException) -> BaseException:
        """Return the error itself if it is one of ours or any usual one, else what says whose it is."""
        problem: str | None = f"raised {type(error).__name__}"
        if isinstance(error, SettingError):
            # At the start it says what to mend; in a request it would show settings to clients.
            problem = None if self.hook in (*AT_START, "startup") else problem
        elif isinstance(error, StacflaskError):
            problem = result_checks.error_problem(error)
            if isinstance(error, Refused) and self.hook in UNDECIDING:
                problem = "raised Refused, but this hook decides nothing"
            elif isinstance(error, Refused) and problem is None:
                error.decision = replace(error.decision, by=self.plugin)
        elif isinstance(error, Exception) and not _is_answer(error):
            problem = None
        if problem is not None:
            return RuntimeError(self._told(problem))
        # The same error may be raised again and again.
        if self._note not in getattr(error, "__notes__", ()):
            error.add_note(self._note)
        return error


class Pieces:
    """The pieces of a plugin's stream, each of which is validated."""

    def __init__(self, pieces: Iterator[Any], failed: Callable[[BaseException], Any]) -> None:
        self._pieces = pieces
        self._failed = failed
        self._empty = 0

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next piece."""
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise
        except BaseException as error:
            self._fail(error)
        if type(piece) is not bytes:
            self._fail(TypeError(f"expected pieces of a stream to be bytes, got {named(piece)}"))
        self._empty = 0 if piece else self._empty + 1
        if self._empty > EMPTY_PIECES:
            self._fail(TypeError("expected pieces of a stream to have bytes, got empty ones only"))
        return piece

    def close(self) -> None:
        """Close the plugin's iterator, if it can be closed."""
        closing = getattr(self._pieces, "close", None)
        if closing is None:
            return
        try:
            closing()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        self._failed(error)
        raise error


def _idle() -> Generator[None, Any, Any]:
    """Wrap nothing: what stands in for an observer that failed."""
    return (yield)


def _is_same(given: Any, result: Any) -> bool:
    if type(given) is list and type(result) is list:
        return len(given) == len(result) and all(one is other for one, other in zip(given, result, strict=True))
    return given is result


def _summary(result: Any) -> str:
    """Describe a result for the log, without what may be secret."""
    if isinstance(result, list):
        return "; ".join(map(_summary, result[:10])) or "none"
    if isinstance(result, Decision):
        kind = {True: "consent", False: "denial", None: "remark"}[result.allowed]
        return f"{kind} by {result.by}: {result.reason}"
    if isinstance(result, Principal):
        return f"principal {result.id}"
    return type(result).__name__ if result is not None else "none"


def _close(given: Any) -> None:
    """Close a coroutine that nobody waits for, so that Python does not warn of it."""
    with suppress(Exception):
        if inspect.iscoroutine(given):
            given.close()


def _is_answer(error: Exception) -> bool:
    """Whether Flask would answer this by itself (``abort``, redirects), or Python take it for the end of a loop."""
    return isinstance(error, StopIteration | StopAsyncIteration) or hasattr(error, "get_response")


def is_signal(error: BaseException) -> bool:
    """Whether a signal to this process raised this: Python handles those in the main thread, anywhere in its code."""
    if isinstance(error, Exception) or threading.current_thread() is not threading.main_thread():
        return False
    frames = [(frame.f_code, place) for frame, place in _frames(error.__traceback__)]
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in SIGNALS}
    if any(code in handlers for code, _ in frames):
        return True
    code, place = frames[-1]
    return isinstance(error, KeyboardInterrupt) and code.co_code[place] not in RAISING


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lasti
        trace = trace.tb_next


def later(function: Callable[..., Any], *, wrapper: bool) -> str:
    """Say what makes a function one whose result comes later, if anything does: hooks are plain functions."""
    if inspect.iscoroutinefunction(function):
        return "an async function"
    if inspect.isasyncgenfunction(function):
        return "an async generator"
    return "a generator" if inspect.isgeneratorfunction(function) and not wrapper else ""
