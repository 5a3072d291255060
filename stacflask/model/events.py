"""What observing plugins receive after a decision or a transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacflask.model.asset import Asset
    from stacflask.model.decision import Decision
    from stacflask.model.delivery import ByteRange
    from stacflask.model.principal import Principal


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The request behind a decision, as far as a record of it may tell. All is empty outside of a request.

    ``address`` is the client's as far as it can be trusted, ``agent`` what it calls itself.
    """

    request_id: str = ""
    method: str = ""
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class DownloadDecision:
    """A decision on a download: principal, asset, the decision with its reason, and what is about to be sent.

    ``others`` are the denials besides the one that decided. ``delivery`` (``redirect``, ``stream``) and ``byte_range``
    are None for a refusal. ``id`` is the grant's.
    """

    id: str
    principal: Principal
    asset: Asset
    decision: Decision
    others: tuple[Decision, ...]
    request_info: RequestInfo
    delivery: str | None = None
    byte_range: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class StreamResult:
    """A stream that has ended. ``sent`` are the bytes handed to the connection, in whole pieces.

    ``complete``: all that was announced. ``seconds``: since it was decided.
    """

    download_decision: DownloadDecision
    sent: int
    complete: bool
    seconds: float
