"""OpenID Connect with a real, certified provider in its own process."""

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
    """Run a provider, and return its issuer."""
    with openid.running(RUN, port, openid.made_keys("first")):
        yield f"http://127.0.0.1:{port}"


def plugin(issuer: str, **members: Any) -> OpenId:
    client = {"client_id": "stacflask", "client_secret": "stacflask-secret", "cache": 0}
    settings = {"issuer": issuer, "audience": "stacflask", "scopes_claim": "scope", "introspection": client, **members}
    return create_plugin({"STACFLASK_OIDC_ISSUERS": json.dumps({"eo": settings}), "STACFLASK_OIDC_CACHE": "0"})


def robots_token(issuer: str, resource: str) -> str:
    """Return an access token by the client credentials grant."""
    form = {"grant_type": "client_credentials", "resource": resource, "scope": "read download"}
    response = requests.post(f"{issuer}/token", data=form, auth=("robot", "robot-secret"), timeout=60)
    assert response.ok, response.text
    return str(response.json()["access_token"])


def authenticate(made: OpenId, token: str) -> Principal | None:
    return made.authenticate(Request("GET", "/", {"Authorization": f"Bearer {token}"}, {}, ""))


@pytest.mark.parametrize("resource", ["urn:eo:RS256", "urn:eo:ES256", "urn:eo:opaque"])
def test_tokens_of_a_real_provider(provider: str, resource: str) -> None:
    """Signed and opaque tokens of a certified provider give the same principal, groups and scopes."""
    # An opaque token by client credentials has no subject, so the client id is used.
    claim = "client_id" if resource == "urn:eo:opaque" else "sub"
    principal = authenticate(plugin(provider, id_claim=claim), robots_token(provider, resource))
    assert principal is not None
    assert (principal.id, principal.groups) == ("eo:robot", frozenset({"ingest"}))
    assert principal.scopes == frozenset({"read", "download"})


def test_a_revoked_token_is_refused(provider: str) -> None:
    """A token that was revoked at the provider is refused."""
    made, token = plugin(provider, id_claim="client_id"), robots_token(provider, "urn:eo:opaque")
    assert authenticate(made, token) is not None
    revoked = requests.post(
        f"{provider}/token/revocation", data={"token": token}, auth=("robot", "robot-secret"), timeout=60
    )
    assert revoked.ok
    with pytest.raises(BadCredentials, match="not active"):
        authenticate(made, token)


def test_a_token_for_another_service_is_refused(provider: str) -> None:
    """A token of the same provider for another audience is refused."""
    with pytest.raises(BadCredentials, match="not for this service"):
        authenticate(plugin(provider, audience="another"), robots_token(provider, "urn:eo:RS256"))


def test_key_changes_and_outages(port: int) -> None:
    """New keys are accepted after a restart of the provider; during an outage cached keys verify tokens."""
    issuer = f"http://127.0.0.1:{port}"
    made = plugin(issuer)
    with openid.running(RUN, port, openid.made_keys("old")):
        old = robots_token(issuer, "urn:eo:RS256")
        assert authenticate(made, old) is not None
    assert authenticate(made, old) is not None
    keys = openid.made_keys("new")
    with openid.running(RUN, port, keys):
        new, opaque = robots_token(issuer, "urn:eo:RS256"), robots_token(issuer, "urn:eo:opaque")
        made.trusted[issuer].keys._tried = -1e9  # the last request was long ago
        assert authenticate(made, new) is not None
        with pytest.raises(BadCredentials, match="not signed with a published key"):
            authenticate(made, old)
    assert authenticate(made, new) is not None
    with pytest.raises(Unavailable):
        authenticate(made, opaque)
    with pytest.raises(Unavailable):
        authenticate(plugin(issuer), new)


def test_its_packages_are_pinned() -> None:
    """The lock file has the checksum of each package and no URL of a registry."""
    lock = json.loads((Path(openid.__file__).parent / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
