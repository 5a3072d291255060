"""Values that observers receive after a decision or a stream."""

from dataclasses import dataclass

from stacflask.model.asset import Asset
from stacflask.model.decision import Decision
from stacflask.model.delivery import ByteRange
from stacflask.model.principal import Principal


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The request of a decision. All fields are empty outside of a request, such as in a command.

    If a download link is used, it is the request of the client that uses the link, not of the user who made it.

    Attributes:
        request_id: Identifier of the request.
        method: HTTP method.
        address: IP address of the client, as text. Forwarding headers are used only from trusted proxies. A rule by
            address should deny if it is empty or not an IP address.
        agent: User-Agent of the client.
    """

    request_id: str = ""
    method: str = ""
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class DownloadDecision:
    """A decision on a download, and what is about to be sent.

    Attributes:
        id: Identifier of the grant.
        principal: The principal of the request.
        asset: The asset.
        decision: The combined decision, with its reason and plugin.
        others: Denials of other plugins.
        request_info: The request.
        delivery: ``redirect`` or ``stream``; None for a refusal.
        byte_range: The bytes to be sent; None for a refusal.
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
    """The result of a stream that has ended.

    Attributes:
        download_decision: The decision on the download.
        sent: Number of bytes that were passed to the connection, in whole chunks.
        complete: True if all announced bytes were sent.
        seconds: Seconds since the decision.
    """

    download_decision: DownloadDecision
    sent: int
    complete: bool
    seconds: float
