"""OpenID Connect against a real, certified provider in a process of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from dev import openid
from dev.ports import free_port
from plugins.oidc import OpenId, create_plugin
from stacflask import BadCredentials, Principal, Request, Unavailable
from tests.conftest import ROOT

RUN = ROOT / ".run"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture
def provider(port: int) -> Iterator[str]:
    """Run a provider; give its issuer."""
    with openid.running(RUN, port, openid.made_keys("first")):
        yield f"http://127.0.0.1:{port}"


def plugin(issuer: str, **members: Any) -> OpenId:
    asking = {"client_id": "stacflask", "client_secret": "stacflask-secret", "cache": 0}
    said = {"issuer": issuer, "audience": "stacflask", "scopes_claim": "scope", "introspection": asking, **members}
    return create_plugin({"STACFLASK_OIDC_ISSUERS": json.dumps({"eo": said}), "STACFLASK_OIDC_CACHE": "0"})


def robots_token(issuer: str, resource: str) -> str:
    """Get an access token as a program does: by client credentials."""
    form = {"grant_type": "client_credentials", "resource": resource, "scope": "read download"}
    answer = requests.post(f"{issuer}/token", data=form, auth=("robot", "robot-secret"), timeout=60)
    assert answer.ok, answer.text
    return str(answer.json()["access_token"])


def who(made: OpenId, token: str) -> Principal | None:
    return made.authenticate(Request("GET", "/", {"Authorization": f"Bearer {token}"}, {}, ""))


@pytest.mark.parametrize("resource", ["urn:eo:RS256", "urn:eo:ES256", "urn:eo:opaque"])
def test_tokens_of_a_real_provider(provider: str, resource: str) -> None:
    """Signed and opaque tokens of a certified provider say the same: who it is, groups and scopes."""
    # An opaque token that a program got for itself has no subject: it is called by its client.
    claim = "client_id" if resource == "urn:eo:opaque" else "sub"
    principal = who(plugin(provider, id_claim=claim), robots_token(provider, resource))
    assert principal is not None
    assert (principal.id, principal.groups) == ("eo:robot", frozenset({"ingest"}))
    assert principal.scopes == frozenset({"read", "download"})


def test_an_ended_token_is_refused(provider: str) -> None:
    """A token that its holder gave back at the provider is known no more."""
    made, token = plugin(provider, id_claim="client_id"), robots_token(provider, "urn:eo:opaque")
    assert who(made, token) is not None
    ended = requests.post(
        f"{provider}/token/revocation", data={"token": token}, auth=("robot", "robot-secret"), timeout=60
    )
    assert ended.ok
    with pytest.raises(BadCredentials, match="not active"):
        who(made, token)


def test_a_token_for_another_is_refused(provider: str) -> None:
    """A token that the same provider made for another service is refused."""
    with pytest.raises(BadCredentials, match="not meant"):
        who(plugin(provider, audience="another"), robots_token(provider, "urn:eo:RS256"))


def test_keys_change_and_the_provider_goes_away(port: int) -> None:
    """The provider comes back with new keys: their tokens are taken. It goes away: known keys go on, others wait."""
    issuer = f"http://127.0.0.1:{port}"
    made = plugin(issuer)
    with openid.running(RUN, port, openid.made_keys("old")):
        old = robots_token(issuer, "urn:eo:RS256")
        assert who(made, old) is not None
    assert who(made, old) is not None
    keys = openid.made_keys("new")
    with openid.running(RUN, port, keys):
        new, opaque = robots_token(issuer, "urn:eo:RS256"), robots_token(issuer, "urn:eo:opaque")
        made.trusted[issuer].keys._tried = -1e9  # as if the last question were a while ago
        assert who(made, new) is not None
        with pytest.raises(BadCredentials, match="not signed with a key"):
            who(made, old)
    assert who(made, new) is not None
    with pytest.raises(Unavailable):
        who(made, opaque)
    with pytest.raises(Unavailable):
        who(plugin(issuer), new)


def test_its_packages_are_pinned() -> None:
    """The lock file pins each package by its checksum, and names no place to fetch it from."""
    lock = json.loads((Path(openid.__file__).parent / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
