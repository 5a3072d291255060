"""Requests of tests as a user, without a credential and an identity plugin."""

from stacflask import Decision, Principal, hookimpl
from stacflask.testing import FakeIdentity, MemoryStore, Plug, Publish, an_asset, an_item, as_user

DOWNLOAD = "/collections/collection/items/item/download/data"


class StaffOnly:
    """Hides everything from anonymous clients, and lets one group download."""

    @hookimpl
    def restrict(self, principal: Principal) -> bool | None:
        return None if principal.groups else False

    @hookimpl
    def authorize(self, principal: Principal) -> Decision:
        return Decision.allow("staff") if "staff" in principal.groups else Decision.deny("not staff")


def test_a_request_is_made_as_a_user(plug: Plug, publish: Publish) -> None:
    """Visibility and downloads are those of the user of each request."""
    publish(an_item())
    client = plug(StaffOnly(), MemoryStore({an_asset().href: b"0123"}))
    users = [as_user("ann", groups=["staff"]), as_user("bob", groups=["guests"]), None]
    assert [client.get(DOWNLOAD, user=user).status_code for user in users] == [200, 403, 404]


def test_a_memory_store_presigns(plug: Plug, publish: Publish) -> None:
    """With ``redirects``, a page with signed hrefs has URLs of the store, so that a test finds one that it must not."""
    publish(an_item())
    for redirects in (True, False):
        store = MemoryStore({an_asset().href: b"0123"}, redirects=redirects)
        page = plug(store, "open_access").get("/search?hrefs=signed")
        assert ("https://store.example/" in page.text) is redirects


def test_a_fake_identity_is_used_over_http(plug: Plug, publish: Publish) -> None:
    """A client sends the name of a user as the bearer token, and a 401 has the challenge."""
    publish(an_item())
    client = plug(FakeIdentity({"ann": ["staff"]}), StaffOnly(), MemoryStore({an_asset().href: b"0123"}))
    assert client.get(DOWNLOAD, headers={"Authorization": "Bearer ann"}).data == b"0123"
    wrong = client.get(DOWNLOAD, headers={"Authorization": "Bearer bob"})
    assert (wrong.status_code, wrong.headers["WWW-Authenticate"].split(" ")[0]) == (401, "Bearer")
