"""Exceptions of stacflask. The table in ``api/http/errors.py`` maps them to HTTP status codes."""

from __future__ import annotations

from stacflask.model.decision import Decision
from stacflask.model.delivery import Order


class StacflaskError(Exception):
    """Base class of all errors.

    Args:
        description: Text for the client or the operator.
        code: Stable error code for programs. The default is the code of the class.
    """

    code = "ServerError"

    def __init__(self, description: str, *, code: str | None = None) -> None:
        super().__init__(description)
        self.description = description
        self.code = code or type(self).code


class SettingError(StacflaskError):
    """A setting is missing or wrong. The process does not start.

    Args:
        name: Name of the setting, with which the description begins.
        description: What is wrong, and what is expected.
    """

    code = "SettingError"

    def __init__(self, name: str, description: str) -> None:
        super().__init__(f"{name}: {description}")


class NotFound(StacflaskError):
    """The resource does not exist, or the principal cannot see it. Both have the same response (404)."""

    code = "NotFound"


class Missing(StacflaskError):
    """The catalog has the asset, but its store does not have the object. The response is 404."""

    code = "ObjectMissing"


class BadQuery(StacflaskError):
    """A request parameter is wrong. The response is 400.

    Args:
        parameter: Name of the parameter, with which the description begins.
        description: What is wrong, and what is expected.
    """

    code = "InvalidParameterValue"

    def __init__(self, parameter: str, description: str) -> None:
        super().__init__(f"{parameter}: {description}")
        self.parameter = parameter


class BadValue(StacflaskError):
    """The database cannot process a value of a request, such as a number out of range or an unsupported character."""

    code = "InvalidParameterValue"


class BadDocument(StacflaskError):
    """A document is wrong. The response is 400.

    Args:
        pointer: JSON pointer (RFC 6901) to the wrong value; empty for the whole document.
        description: What is wrong, and what is expected.
    """

    code = "InvalidDocument"

    def __init__(self, pointer: str, description: str) -> None:
        super().__init__(f"{pointer or 'document'}: {description}")
        self.pointer = pointer
        self.problem = description

    def below(self, prefix: str) -> BadDocument:
        """Return the same error for a document that is part of a larger one.

        Args:
            prefix: JSON pointer to the part.
        """
        return BadDocument(prefix + self.pointer, self.problem)


class BadCredentials(StacflaskError):
    """The credentials are of a plugin's kind, and are wrong. No further plugin is called. The response is 401."""

    code = "InvalidCredentials"


class Refused(StacflaskError):
    """A download or change was denied. The response is 401, 403 or 429.

    Args:
        decision: The denial.
        anonymous: True for a 401, False for a 403 or 429. By default it is a 401 if the principal of the request is
            anonymous.
    """

    code = "Forbidden"

    def __init__(self, decision: Decision, *, anonymous: bool | None = None) -> None:
        super().__init__(decision.detail or "Access denied.", code=decision.code)
        self.decision = decision
        self.anonymous = anonymous


class Conflict(StacflaskError):
    """The request conflicts with the current state: a resource exists, or is in use. The response is 409."""

    code = "Conflict"


class PreconditionFailed(StacflaskError):
    """If-Match has an entity tag other than the current one (RFC 9110, 13.1.1)."""

    code = "PreconditionFailed"


class PreconditionRequired(StacflaskError):
    """A change without If-Match was sent, and this deployment requires it (RFC 6585, 3)."""

    code = "PreconditionRequired"


class TooManyItems(StacflaskError):
    """The response would have more items than allowed."""

    code = "TooManyItems"


class NoStore(StacflaskError):
    """No plugin resolves the asset's href: it is in no store of this deployment."""

    code = "NoStore"


class NoAnswer(StacflaskError):
    """No plugin delivers the asset, although one resolved it."""

    code = "NoPluginAnswers"


class NotStreamable(StacflaskError):
    """The store of the asset only redirects, but its bytes must pass this server. The response is 501."""

    code = "NotStreamable"


class Unavailable(StacflaskError):
    """A service that the request depends on cannot be reached or is too slow. The response is 503.

    Args:
        description: Text for the client.
        code: Stable error code for programs.
        retry_after: Seconds after which the client should retry.
    """

    code = "Unavailable"

    def __init__(self, description: str, *, code: str | None = None, retry_after: int = 5) -> None:
        super().__init__(description, code=code)
        self.retry_after = retry_after


class Offline(StacflaskError):
    """The data must be brought online first. The response is 202, or 503 if no plugin can order them.

    Args:
        description: Text for the client.
        order: State of the order. The default is that the plugin has ordered the data.
    """

    code = "Offline"

    def __init__(self, description: str = "The data must be brought online first.", order: Order | None = None) -> None:
        super().__init__(description)
        self.order = order or Order("ordered")
