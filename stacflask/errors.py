"""The exceptions of stacflask. ``api/http/errors.py`` has the one table from exception to HTTP status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask.model.delivery import Order

if TYPE_CHECKING:
    from stacflask.model.decision import Decision


class StacflaskError(Exception):
    """Base of all. ``description`` is for whoever asked; ``code`` is a stable word for programs."""

    code = "ServerError"

    def __init__(self, description: str, *, code: str | None = None) -> None:
        super().__init__(description)
        self.description = description
        self.code = code or type(self).code


class SettingError(StacflaskError):
    """A setting is missing or wrong; its name begins the description. The program does not start."""

    code = "SettingError"

    def __init__(self, name: str, description: str) -> None:
        super().__init__(f"{name}: {description}")


class NotFound(StacflaskError):
    """There is no such thing, or none that may be seen: the two look the same."""

    code = "NotFound"


class Missing(StacflaskError):
    """The catalogue knows the asset, but its store does not have the object."""

    code = "ObjectMissing"


class BadQuery(StacflaskError):
    """A parameter is wrong; ``parameter`` is its name."""

    code = "InvalidParameterValue"

    def __init__(self, parameter: str, description: str) -> None:
        super().__init__(f"{parameter}: {description}")
        self.parameter = parameter


class BadValue(StacflaskError):
    """The database cannot compute what a request asks to read: a number out of its range, a character it has not."""

    code = "InvalidParameterValue"


class BadDocument(StacflaskError):
    """A document is wrong; ``pointer`` (RFC 6901) says where, and is empty for the whole."""

    code = "InvalidDocument"

    def __init__(self, pointer: str, description: str) -> None:
        super().__init__(f"{pointer or 'document'}: {description}")
        self.pointer = pointer
        self.problem = description

    def below(self, prefix: str) -> BadDocument:
        """The same error for a document that is part of a larger one."""
        return BadDocument(prefix + self.pointer, self.problem)


class BadCredentials(StacflaskError):
    """Credentials were recognised and are wrong: the round ends, nobody else is asked."""

    code = "InvalidCredentials"


class Refused(StacflaskError):
    """A denial, with the decision that made it. ``anonymous``: nobody had said who they are."""

    code = "Forbidden"

    def __init__(self, decision: Decision, *, anonymous: bool) -> None:
        super().__init__(decision.detail or "You may not do this.", code=decision.code)
        self.decision = decision
        self.anonymous = anonymous


class Conflict(StacflaskError):
    """What is asked cannot be done as things stand: it exists already, or is still in use."""

    code = "Conflict"


class PreconditionFailed(StacflaskError):
    """If-Match names another state than the present one."""

    code = "PreconditionFailed"


class PreconditionRequired(StacflaskError):
    """This deployment asks for If-Match with every change, and none came."""

    code = "PreconditionRequired"


class TooManyItems(StacflaskError):
    """More items than one answer may hold."""

    code = "TooManyItems"


class NoStore(StacflaskError):
    """No plugin resolves the asset's href: it leads to no store of this deployment."""

    code = "NoStore"


class NoAnswer(StacflaskError):
    """No plugin delivers this asset, though one has found it."""

    code = "NoPluginAnswers"


class Unavailable(StacflaskError):
    """Something we depend on is away or too slow; ``retry_after`` is in seconds."""

    code = "Unavailable"

    def __init__(self, description: str, *, code: str | None = None, retry_after: int = 5) -> None:
        super().__init__(description, code=code)
        self.retry_after = retry_after


class Offline(StacflaskError):
    """The data must be brought online first. ``order`` says how that stands."""

    code = "Offline"

    def __init__(self, description: str = "The data must be brought online first.", order: Order | None = None) -> None:
        super().__init__(description)
        self.order = order or Order("ordered")
