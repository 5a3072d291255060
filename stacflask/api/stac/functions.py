"""The functions that filters can call."""

from flask import Response

from stacflask.api.http import responses
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.catalog.cql2 import FUNCTIONS

bp = Blueprint("filter", __name__, description="Functions of filters")


@bp.route("/functions")
@bp.describes(412, parameters=[IF_NONE_MATCH], _200=response_object("The functions.", "Functions"), _304=NOT_MODIFIED)
def list_functions() -> Response:
    """List the functions of CQL2 expressions, with the types of their arguments and results."""
    return responses.document({"functions": [function.document() for function in FUNCTIONS.values()]})
