"""Read-only views of JSON values that several plugins share.

A view is a ``dict`` or a ``list``, so that ``json.dumps``, ``isinstance`` and comparisons work as usual. Only the outer
level is copied when a view is made; members become views when they are read.
"""

from collections.abc import ItemsView, Iterator, Mapping, MutableSequence, MutableSet, ValuesView
from typing import Any, NoReturn

MESSAGE = "read-only, because other plugins use the same value. Change a copy (copy.deepcopy)"


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError(MESSAGE)


class ReadOnlyDict(dict[str, Any]):
    """A ``dict`` that cannot be changed; made by ``read_only``."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    __init__ = clear = pop = popitem = setdefault = update = _refuse

    def __getitem__(self, key: str) -> Any:
        """Return a member, itself read-only."""
        return read_only(dict.__getitem__(self, key))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names. Without this method, ``dict(view)`` would copy members that can be changed."""
        return dict.__iter__(self)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a member, itself read-only, or the default."""
        return read_only(dict.get(self, key, default))

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return the pairs of names and members."""
        return dict.items(self) if SCALARS.issuperset(map(type, dict.values(self))) else ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the members."""
        return dict.values(self) if SCALARS.issuperset(map(type, dict.values(self))) else ValuesView(self)

    def copy(self) -> dict[str, Any]:
        """Return a dict that can be changed; its members are read-only."""
        return dict(self)

    __copy__ = copy

    def __or__(self, other: Any) -> Any:
        """Merge with another mapping into a new dict."""
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        """Merge another mapping with this one into a new dict."""
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented

    def __reduce_ex__(self, _: Any) -> tuple[type, tuple[dict[str, Any]]]:
        """Return a plain dict for pickle and deepcopy."""
        return dict, (dict(self),)


class ReadOnlyList(list[Any]):
    """A ``list`` that cannot be changed; made by ``read_only``."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    __init__ = append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __getitem__(self, index: Any) -> Any:
        """Return an element or a part, itself read-only."""
        return read_only(list.__getitem__(self, index))

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the elements, each read-only."""
        return map(read_only, list.__iter__(self))

    def __reversed__(self) -> Iterator[Any]:
        """Iterate from the end."""
        return map(read_only, list.__reversed__(self))

    def copy(self) -> list[Any]:
        """Return a list that can be changed; its elements are read-only."""
        return list(self)

    __copy__ = copy

    def __add__(self, other: Any) -> Any:
        """Concatenate with another list into a new list."""
        return [*self, *other] if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        """Concatenate another list with this one into a new list."""
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __mul__(self, times: Any) -> Any:
        """Return a new list with the elements repeated."""
        return list(self) * times

    __rmul__ = __mul__

    def __reduce_ex__(self, _: Any) -> tuple[type, tuple[list[Any]]]:
        """Return a plain list for pickle and deepcopy."""
        return list, (list(self),)


SCALARS = frozenset({str, int, float, bool, bytes, type(None), ReadOnlyDict, ReadOnlyList})


def read_only(value: Any) -> Any:
    """Return a read-only view of a mapping, sequence or set, and any other value unchanged."""
    if type(value) in SCALARS:
        return value
    if type(value) is dict or isinstance(value, Mapping):
        view = dict.__new__(ReadOnlyDict)
        dict.update(view, value)
        return view
    if isinstance(value, list):
        elements = list.__new__(ReadOnlyList)
        list.extend(elements, value)
        return elements
    return _frozen(value)


def _frozen(value: Any) -> Any:
    if type(value) is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return tuple.__new__(type(value), map(read_only, value))
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, MutableSequence):  # a deque, a UserList
        return read_only(list(value))
    return frozenset(value) if isinstance(value, MutableSet) else value


EMPTY: Mapping[str, Any] = read_only({})
