"""The page of the HTTP API: the OpenAPI document of an application with all plugins that have endpoints."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

from dev.reference import GENERATED, item, wrapped
from stacflask import logs
from stacflask.app import create_app
from stacflask.pluginmanager.loading import load_plugins
from stacflask.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDER = {"issuer": "https://id.example.org", "audience": "stac", "login": {"client_id": "id", "client_secret": "s"}}
ENVIRON = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",  # the document needs no database
    "STACFLASK_LOG_LEVEL": "error",
    "STACFLASK_PLUGINS": "api_keys,collection_groups,metrics,links,licence,quota,login",
    "STACFLASK_METRICS_NETWORKS": "127.0.0.1",
    "STACFLASK_LINKS_KEYS": f"one:{'0' * 64}",
    "STACFLASK_OIDC_ISSUERS": json.dumps({"idp": PROVIDER}),
}
METHODS = ("get", "post", "put", "patch", "delete")
COMMON = ("400", "401", "500", "503")
INTRODUCTION = f"""# HTTP API

This page lists the operations of the API, with the endpoints of the included plugins.
{GENERATED}

A server returns the same as an OpenAPI document at `/api`, with the schemas of all bodies, and as an HTML page at
`/api.html`.

Every error has the body `{{"code", "description"}}`; [Error codes](error-codes.md) lists the codes. Every operation can
return these:

"""


def document() -> dict[str, Any]:
    """Return the OpenAPI document. Operations of plugins have the name of the plugin in their description."""
    settings = Settings.from_environ(ENVIRON)
    manager = load_plugins(settings.plugins, ENVIRON)
    app = create_app(settings, manager)
    described: dict[str, Any] = app.test_client().get("/api").get_json()
    logs.close()
    for endpoint in chain(*manager.hook.extend_api()):
        operation = described["paths"][endpoint.path][endpoint.method.lower()]
        operation["description"] = f"Added by `{endpoint.by}`. {operation.get('description', '')}"
    return described


def page() -> str:
    """Return the page: common responses, common parameters, then the operations by tag."""
    api = document()
    operations = list(_operations(api))
    parameters = [parameter for *_, operation in operations for parameter in operation["parameters"]]
    repeated = {text for text, number in Counter(map(_parameter, parameters)).items() if number > 1}
    responses = operations[0][2]["responses"]
    return "".join(
        [
            INTRODUCTION,
            *(_response(status, responses[status]) for status in COMMON),
            "\n## Parameters of several operations\n\n",
            *sorted(repeated),
            *(
                _section(tag, [one for one in operations if tag["name"] in one[2]["tags"]], repeated)
                for tag in api["tags"]
            ),
        ]
    )


def _operations(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return path, method and description of each operation, with the parameters of its path."""
    for path, described in api["paths"].items():
        for method in filter(described.get, METHODS):
            operation = described[method]
            given = [*described.get("parameters", ()), *operation.get("parameters", ())]
            yield path, method, {**operation, "parameters": [_resolved(api, one) for one in given]}


def _resolved(api: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    name = described.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = api["components"]["parameters"][name] if name else described
    return found


def _section(tag: dict[str, Any], operations: list[tuple[str, str, dict[str, Any]]], repeated: set[str]) -> str:
    return f"\n## {tag['description']}\n" + "".join(_operation(*one, repeated) for one in operations)


def _operation(path: str, method: str, operation: dict[str, Any], repeated: set[str]) -> str:
    listed = [_parameter(one) for one in operation["parameters"] if _parameter(one) not in repeated]
    others = [f"`{one['name']}`" for one in operation["parameters"] if _parameter(one) in repeated]
    parts = [f"\n### `{method.upper()} {path}`\n\n{wrapped(_plain(operation['summary']))}\n"]
    if operation.get("description"):
        parts.append(f"\n{wrapped(_plain(operation['description']))}\n")
    if listed or others:
        common = item(f"As above: {', '.join(others)}") if others else ""
        parts.append(f"\nParameters:\n\n{''.join(listed)}{common}")
    if "requestBody" in operation:
        parts.append("\nBody: " + ", ".join(_content(operation["requestBody"])) + "\n")
        parts.append(_members(operation["requestBody"]))
    responses = {status: one for status, one in operation["responses"].items() if status not in COMMON}
    parts.append("\nResponses:\n\n" + "".join(_response(status, one) for status, one in responses.items()))
    return "".join(parts)


def _members(body: dict[str, Any]) -> str:
    """Return a list of the members of a body whose schema is not one of the components."""
    schema: dict[str, Any] = next(iter(body["content"].values())).get("schema", {})
    described = schema.get("properties", {}).items()
    required = schema.get("required", ())
    members = [_member(name, one, ["required"] if name in required else []) for name, one in described]
    text = f"\n{wrapped(_plain(schema['description']))}\n" if members and "description" in schema else ""
    return text + ("\n" if members else "") + "".join(members)


def _member(name: str, schema: dict[str, Any], facts: list[str]) -> str:
    text = schema.get("description") or schema.get("items", {}).get("description", "")
    listed = ", ".join([*facts, *_facts(schema)])
    return item(f"`{name}`{f' ({listed})' if listed else ''}{': ' if text else ''}{_plain(text)}")


def _parameter(parameter: dict[str, Any]) -> str:
    """Return the list item of a parameter."""
    schema = parameter.get("schema") or next(iter(parameter.get("content", {"": {}}).values())).get("schema", {})
    facts = [parameter["in"], *(["required"] if parameter.get("required") else []), *_facts(schema)]
    description = parameter.get("description") or schema.get("description", "")
    return item(f"`{parameter['name']}` ({', '.join(facts)}){': ' if description else ''}{_plain(description)}")


def _facts(schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield f"JSON `{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        yield "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    elif "type" in schema:
        yield str(schema["type"])
    for name, text in (("default", "default"), ("minimum", "at least"), ("maximum", "at most")):
        if schema.get(name) is not None:
            yield f"{text} {schema[name]}"


def _content(described: dict[str, Any]) -> Iterator[str]:
    for media_type, content in described.get("content", {}).items():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        yield f"`{media_type}`" + (f" (`{name}`)" if name else "")


def _response(status: str, response: dict[str, Any]) -> str:
    media_types = [one for one in _content(response) if "`Exception`" not in one]
    types = f" {', '.join(media_types)}." if media_types else ""
    return item(f"{status}: {_plain(response['description']).rstrip('.')}.{types}")


def _plain(text: str) -> str:
    return text.replace("``", "`")
