"""Let everybody see and download everything. The plugin does not allow or deny changes."""

from stacflask import Decision, hookimpl

ALLOWED = Decision.allow("open access")


@hookimpl
def authorize() -> Decision:
    """Allow every download."""
    return ALLOWED
