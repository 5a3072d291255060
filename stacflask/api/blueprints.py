"""What all blueprints share: the parser that answers 400, and how an operation is described."""

from __future__ import annotations

from typing import Any

import flask_smorest

from stacflask.api.openapi import Schema, failures
from stacflask.api.schemas import Parser


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose wrong parameters are answered 400."""

    ARGUMENTS_PARSER = Parser()

    def describes(self, *statuses: int, **success: Schema) -> Any:
        """Describe an operation's answers: the successes as ``_200=answer(...)``, and the errors by their status."""
        answers = {name.removeprefix("_"): described for name, described in success.items()}
        return self.doc(responses={**answers, **failures(*statuses)})


