"""Every field of every value that a plugin returns is validated: what is wrong opens nothing and names the plugin."""
# mypy: disable-error-code="arg-type,list-item,misc,var-annotated"

import copy
import json
from collections import OrderedDict, UserList, deque, namedtuple
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import abort, redirect
from werkzeug.routing import RequestRedirect

from stacflask import (
    ANONYMOUS,
    Asset,
    Challenge,
    Cookie,
    Decision,
    DownloadDecision,
    Endpoint,
    EndpointResponse,
    Location,
    Missing,
    Offline,
    Order,
    Principal,
    Redirect,
    Refused,
    Request,
    SettingError,
    SignedQueries,
    Stream,
    Unavailable,
    hookimpl,
)
from stacflask.gate import Gate
from stacflask.pluginmanager import loading, result_checks
from stacflask.testing import Plug, Publish, an_item

DOWNLOAD = "/collections/collection/items/item/download/data"
ITEM = "/collections/collection/items/item"
SOON = timedelta(minutes=5)
ME = Principal("me", scheme="test")
WRONG: Any = object()


class Answers:
    """Answers one hook with ``given``, which may be called for it."""

    given: Any = None

    def answer(self) -> Any:
        return self.given() if callable(self.given) and not isinstance(self.given, type) else self.given


def answering(hook: str) -> Answers:
    """Make a plugin that implements one hook."""
    mine: Answers = type("Mine", (Answers,), {hook: hookimpl(lambda self: self.answer())})()
    return mine


class Store:
    """Finds and delivers whatever it is asked for."""

    @hookimpl
    def resolve(self, asset: Asset) -> Location:
        return Location("test", asset.href)

    @hookimpl
    def deliver(self, streamed: bool) -> Redirect | Stream:
        return Stream(lambda _first, length: iter([b"x" * length]), 10) if streamed else Redirect("https://s/", SOON)


class Consents:
    """Consents to every download."""

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("anybody")


@pytest.fixture
def asks(plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """See that each of these answers of a hook ends in a 500 that shows nothing and is logged by the plugin's name."""
    publish(an_item())

    def ask(hook: str, wrong: list[Any], path: str = DOWNLOAD, *others: object, **more: Any) -> None:
        plugin = answering(hook)
        client = plug(plugin, *(others or (Consents(), Store())))
        for given in wrong:
            plugin.given = given
            answer = client.open(path, **more)
            assert (answer.status_code, answer.json["code"]) == (500, "ServerError"), given
            assert f"Mine: {hook}: " in capfd.readouterr().err, given

    return ask


# --- Fields ----------------------------------------------------------------------------------------------------------


def test_every_field_of_every_value_has_a_check() -> None:
    """A field that is added to a value must be validated, too."""
    for kind, checks in result_checks.FIELDS.items():
        assert list(checks) == [field.name for field in fields(kind)]


PRINCIPAL: Any = Principal
LOCATION: Any = Location


def decision(**members: Any) -> Any:
    return Decision(**{"allowed": True, "reason": "mine", **members})


def test_wrong_decisions_open_nothing(asks: Any) -> None:
    """A decision with a field that is not what it should be is an error, and no consent beside another."""
    inner = type("Inner", (Decision,), {})
    wrong = [
        *[decision(allowed=value) for value in (0, 1, "no", "", 0.0, [], "False", object())],
        *[decision(reason=value) for value in (None, b"x", 3, "\ud800", "x" * 20_000)],
        *[decision(detail=value) for value in (3, b"x", ["x"], "\udfff")],
        *[decision(kind=value) for value in (None, "teapot", 403, [])],
        *[decision(code=value) for value in (3, "", "a b", 'a"b', "a\r\nb")],
        *[
            decision(link=value)
            for value in ("https://elsewhere.org/", "//elsewhere.org", "/\\e", "/a b", "/a\r\nb", 3)
        ],
        *[decision(retry_after=value) for value in (-1, True, 1.5, "5", float("nan"), 10**400)],
        *[decision(counted=value) for value in (0, 1, None, "yes")],
        *[decision(scope=value) for value in (3, 'a"b', "a\nb")],
        *[decision(extra=value) for value in (None, [], {"code": "Mine"}, {"a": {1}}, {1: 2}, {"a": "x" * 100_000})],
        lambda: inner(True, "mine"),
    ]
    asks("authorize", wrong)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "0"},
        {"content-type": "text/html"},
        {"Cache-Control": "public"},
        {"Set-Cookie": "a=b"},
        {"Location": "https://elsewhere.org"},
        {"X-Accel-Redirect": "/secret"},
        {"X-Sendfile": "/etc/passwd"},
        {"X-Content-Type-Options": ""},
        {"X-Request-ID": "mine"},
        {"Access-Control-Allow-Origin": "*"},
        {"Transfer-Encoding": "chunked"},
        {"WWW-Authenticate": "Basic"},
        {"ETag": '"x"'},
        {"Vary": "*"},
        {"X-Mine": "a\r\nSet-Cookie: b=c"},
        {"X-Mine\r\nSet-Cookie": "b=c"},
        {"X-Mine": 3},
        {"X-Mine": None},
        {"X-Mine": b"x"},
        {"X-Mine": "€"},
        {"X-Mine": ["a", "b"]},
        {"X-Mine": "a", "x-mine": "b"},
        {3: "a"},
        {"": "a"},
        [("X-Mine", "a")],
        None,
    ],
)
def test_decisions_add_no_header_fields_that_are_not_theirs(headers: Any) -> None:
    """A decision adds rate limits, links and X- fields of its own, with clean values, and nothing else."""
    for given in (decision(headers=headers), Decision(False, "no", headers=headers)):
        plugin = answering("authorize")
        plugin.given = given
        with pytest.raises(TypeError, match="Mine: authorize: expected headers to be"):
            Gate(loading.manage({"Mine": plugin})).authorize(ME, Asset("c", "i", "k", "s3://b/k"))


def test_wrong_principals_open_nothing(asks: Any) -> None:
    """Whoever a plugin recognises has a name, groups and scopes as they should be."""
    wrong = [
        *[PRINCIPAL(value, scheme="x") for value in (None, "", 3, b"me", "a\nb", "a\0", "\ud800")],
        *[PRINCIPAL("me", value, "x") for value in (["a"], {"a"}, "a", None, frozenset({1}), frozenset({""}))],
        *[PRINCIPAL("me", scheme=value) for value in (None, 3, "a\r\n")],
        *[PRINCIPAL("me", scheme="x", scopes=value) for value in ("read", ["read"], frozenset({1}), ())],
        *[PRINCIPAL("me", scheme="x", claims=value) for value in (None, [], "a", {1: 2})],
        *[PRINCIPAL("me", scheme="x", reference=value) for value in (None, 3, "a\0")],
        *[PRINCIPAL("me", scheme="x", until=value) for value in (3, "2030-01-01", datetime(2030, 1, 1))],  # noqa: DTZ001
        type("Me", (Principal,), {"may": lambda self, scope: True})("me", scheme="x"),
        Principal,
        "me",
    ]
    asks("authenticate", [lambda given=given: given for given in wrong])


def test_wrong_conditions_show_nothing(asks: Any) -> None:
    """A restriction is a condition in JSON, or True or False; what is none shows nothing."""
    deep: Any = {"op": "not", "args": []}
    for _ in range(100):
        deep = {"op": "not", "args": [deep]}
    wrong = [
        *("id = 'x'", 0, 1, b"x", [], {}, {"args": []}, {"op": 1, "args": []}, deep, 1.0, {"op": {"a"}}),
        {"op": "=", "args": [{"property": "a"}, float("nan")]},
        {"op": "in", "args": [{"property": "id"}, {"a", "b"}]},
        {"op": "=", "args": [{"property": "a"}, b"x"]},
        {"op": "=", "args": [{"property": "a"}, datetime.now(UTC)]},
        {1: 2, "op": "not", "args": [True]},
        OrderedDict(op="=", args=["a", "a"]),
        (one for one in ()),
    ]
    asks("restrict", wrong, ITEM)


@pytest.mark.parametrize("condition", [{"op": "nope", "args": [1, 2]}, {"op": "=", "args": [{"property": "a"}]}])
def test_conditions_that_mean_nothing_name_the_plugin(
    condition: Any, plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A condition of the right form with an unknown operator is told by the plugin's name, too."""
    publish(an_item())
    plugin = answering("restrict")
    plugin.given = condition
    client = plug(plugin)
    assert [client.get(path).status_code for path in (ITEM, "/search", "/collections")] == [500] * 3
    assert "plugin Mine, hook restrict" in capfd.readouterr().err


def test_wrong_locations_open_nothing(asks: Any) -> None:
    """Where the bytes are has a store and a path, both of them text."""
    wrong = [
        # What stands for a field without a default is no value that needs no check.
        *[LOCATION(value, "p") for value in (None, 3, "", "a\n", b"s3", MISSING)],
        *[LOCATION("s", value) for value in (None, 3, b"x", "\ud800")],
        *[LOCATION("s", "p", value) for value in (None, [], {1: 2})],
        *("s3://b/k", ("s", "p"), Location),
    ]
    asks("resolve", wrong)


BAD_URLS = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "ftp://h/x",
    "//h/x",
    "/x",
    "",
    "https://",
    "https:///x",
    "https://user:password@h/x",
    "https://s3.example.org@evil.org/x",
    "https://h/a b",
    "https://h/\r\nSet-Cookie: a=b",
    "https://h/x\n  out=../../.bashrc",
    "https://h\\@evil.org/",
    "https://h/x#y",
    "https://h/ä",
    'https://h/"x',
    "https://h/<x>",
    "https://h:port/",
    "https://h:65536/",
    "https://h/\0",
    "https://h/" + "x" * 20_000,
    b"https://h/x",
    None,
    3,
]
LIFETIMES = [None, 300, 5.0, "5m", timedelta(seconds=-1), timedelta.max]


def test_wrong_redirects_leave_nothing(asks: Any) -> None:
    """A client is led to an absolute http or https URL and nowhere else, and for a time that can be reckoned with."""
    asks("deliver", [*(Redirect(url, SOON) for url in BAD_URLS), *(Redirect("https://h/", one) for one in LIFETIMES)])


def test_wrong_presigned_urls_are_not_shown(asks: Any) -> None:
    """What is presigned for pages and manifests is validated like what is delivered."""
    wrong = [*(Redirect(url, SOON) for url in BAD_URLS), *(Redirect("https://h/", one) for one in LIFETIMES)]
    asks("presign", [*wrong, "https://h/x"], "/search?hrefs=signed")


@pytest.mark.parametrize("form", ["json", "aria2", "list", "metalink"])
def test_manifests_hold_no_line_of_a_plugins_making(form: str, plug: Plug, publish: Publish) -> None:
    """A line break in a presigned URL writes nothing into a manifest."""
    publish(an_item())
    plugin = answering("presign")
    plugin.given = Redirect("https://h/x\n  out=../../.bashrc", SOON)
    answer = plug(plugin, Consents(), Store()).post(
        f"/downloads?f={form}&hrefs=signed", json={"search": {"ids": ["item"]}}
    )
    assert (answer.status_code, b"bashrc" in answer.data) == (500, False)


def test_wrong_queries_are_not_lent(asks: Any) -> None:
    """What is lent is one query for each asset, in characters of URLs."""

    class Counts:
        @hookimpl
        def authorize(self) -> Decision:
            return Decision.allow("counted", counted=True)

    queries: list[Any] = [
        "",
        "x",
        "a=b c",
        "a=b#c",
        "a=b\r\nX: y",
        "https://evil.org/",
        "a=ä",
        None,
        b"a=b",
        3,
        "a\n=b",
    ]
    wrong = [
        *(SignedQueries([query], SOON) for query in queries),
        *(SignedQueries(several, SOON) for several in ([], ["a=b", "a=c"], "a", None, {"a=b"})),
        *(SignedQueries(["a=b"], one) for one in LIFETIMES),
        ["a=b"],
    ]
    asks("sign_queries", wrong, "/search?hrefs=signed", Counts(), Store())


def stream(**members: Any) -> Any:
    return Stream(**{"open": lambda _first, _length: iter([b"x"]), "length": 1, **members})


def test_wrong_streams_send_nothing(asks: Any) -> None:
    """A stream has a length, a strong validator and a time with its zone."""
    wrong = [
        *[stream(open=value) for value in (None, b"x", iter([b"x"]))],
        *[stream(length=value) for value in (None, -1, True, 1.0, "1", 1 << 63, float("inf"))],
        *[stream(etag=value) for value in ("x", 'W/"x"', '"a"b"', '"x"\r\n', b'"x"', 3, '"€"')],
        *[stream(last_modified=value) for value in (3, "today", datetime(2024, 1, 1))],  # noqa: DTZ001
        type("Mine", (Stream,), {})(lambda _first, _length: iter([b"x"]), 1),
    ]
    asks("deliver", [lambda given=given: given for given in wrong], f"{DOWNLOAD}?delivery=stream")


@pytest.mark.parametrize(
    "given",
    [
        lambda: None,
        lambda: b"0123456789",
        lambda: ["0123456789"],
        lambda: [bytearray(b"0123456789")],
        lambda: [None],
        lambda: iter([b""] * 2_000),
        lambda: abort(404),
        lambda: (_ for _ in ()).throw(SystemExit(3)),
        lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
        lambda: (_ for _ in ()).throw(GeneratorExit()),
    ],
)
def test_wrong_pieces_break_a_stream(given: Any) -> None:
    """What a stream yields is bytes; anything else, and whatever it raises, is an error of the plugin."""
    plugin = answering("deliver")
    plugin.given = lambda: Stream(lambda _first, _length: given(), 10)
    gate = Gate(loading.manage({"Mine": plugin, "consents": Consents()}))
    grant = gate.authorize(ME, Asset("c", "i", "k", "s3://b/k"))
    delivery: Any = gate.deliver(grant, Location("s", "p"), streamed=True)
    with pytest.raises((TypeError, RuntimeError)) as raised:
        list(delivery.open(0, 10))
    assert "Mine" in f"{raised.value} {getattr(raised.value, '__notes__', '')}"


def test_wrong_orders_are_not_told(asks: Any) -> None:
    """How an order stands is one of five words, and a number of seconds."""

    class Tape:
        @hookimpl
        def resolve(self, asset: Asset) -> Location:
            raise Offline(order=Order("orderable"))

    wrong = [
        *[Order(value) for value in ("lost", None, 3, "")],
        *[Order("ordered", value) for value in (-1, True, "5", 1.5, 10**400, None)],
        "ordered",
    ]
    asks("order", wrong, DOWNLOAD, Consents(), Tape())


def test_wrong_states_of_orders_are_not_shown(asks: Any) -> None:
    """An item shows no state of an order that is none."""
    asks("order_states", [{"data": "lost"}, {"data": None}, {3: "ordered"}, ["data"], "x", {"data": {}}], ITEM)


def test_wrong_charges_let_nothing_pass(asks: Any) -> None:
    """A charge is refused or booked: consents and remarks are neither."""
    wrong = [Decision.allow("x"), Decision.abstain("x"), True, False, Decision(0, "x"), Decision("no", "x")]
    asks("charge", wrong)


@pytest.mark.parametrize(
    "given",
    [[], [None, None], (Decision.allow("x"),) * 3, [True], {Decision: 1}, iter([None]), None, [decision(allowed=1)]],
)
def test_answers_for_many_are_one_for_each(given: Any) -> None:
    """Too many answers, too few, and none at all are the plugin's mistake."""

    class Many(Answers):
        @hookimpl
        def authorize(self) -> None:
            return None

        @hookimpl
        def authorize_many(self) -> Any:
            return self.given

    many = Many()
    many.given = given
    gate = Gate(loading.manage({"Mine": many, "consents": Consents()}))
    with pytest.raises(TypeError, match="Mine: authorize_many: "):
        gate.authorize_each(ME, [Asset("c", "i", "k", "s3://b/k")])


@pytest.mark.parametrize(
    ("hook", "given"),
    [
        ("challenge", Challenge("Mine\r\nX: y", "mine", {"type": "http"})),
        ("challenge", Challenge("Mine", "a b", {"type": "http"})),
        ("challenge", Challenge("Mine", "mine", {})),
        ("challenge", Challenge("", "mine", {"type": "apiKey", "in": "header", "name": "X\r\nY"})),
        ("challenge", Challenge("Mine", "mine", {"type": "http"}, "x")),
        ("extend_api", Endpoint("PATCH", "/mine", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/<path:x>", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/{x:path}", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/{x}/{x}", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine/../search", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "//mine", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine%2f", lambda _: EndpointResponse({}), "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine", None, "Mine.", {})),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), None, {})),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), "Mine.", {}, scope="all")),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), "Mine.", {}, for_anybody=1)),
        ("extend_api", Endpoint("GET", "/mine", lambda _: EndpointResponse({}), "Mine.", {}, status="200")),
    ],
)
def test_wrong_values_at_the_start_stop_it(hook: str, given: Any) -> None:
    """What is returned at the start is validated there."""
    plugin = answering(hook)
    plugin.given = [given]
    with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: mine: {hook}: ") as told:
        loading.hear(loading.manage({"mine": plugin}))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        EndpointResponse({1, 2}),
        EndpointResponse(object()),
        EndpointResponse("\ud800"),
        EndpointResponse(b"x", media_type="text/plain"),
        EndpointResponse(None, media_type="text/html"),
        EndpointResponse({}, media_type="text/html\r\nX: y"),
        EndpointResponse({}, 99),
        EndpointResponse({}, True),
        EndpointResponse({}, "200"),
        EndpointResponse({}, 1000),
        EndpointResponse({}, headers={"Content-Length": "3"}),
        EndpointResponse({}, headers={"Set-Cookie": "a=b"}),
        EndpointResponse({}, headers={"X-Mine": "a\r\nb"}),
        EndpointResponse({}, headers={"X Mine": "a"}),
        EndpointResponse({}, cookies=[Cookie("a b", "c", 1)]),
        EndpointResponse({}, cookies=[Cookie("a", "b; Domain=example.org", 1)]),
        EndpointResponse({}, cookies=[Cookie("a", "b", -1)]),
        EndpointResponse({}, cookies=[Cookie("a", "b", 1, "/; Domain=example.org")]),
        EndpointResponse({}, cookies=["a=b"]),
        EndpointResponse.redirect("https://h/\r\nX: y"),
        {"a": 1},
        None,
        ("", 204),
        EndpointResponse,
    ],
)
def test_wrong_answers_of_endpoints_are_not_sent(given: Any, plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    """What an endpoint's handler returns is validated like all else."""
    plugin = answering("extend_api")
    plugin.given = [Endpoint("GET", "/mine", lambda _: given, "Mine.", {})]
    assert plug(plugin).get("/mine").status_code == 500
    assert "Mine: GET /mine: expected" in capfd.readouterr().err


# --- What is raised --------------------------------------------------------------------------------------------------

RAISED: list[Callable[[], BaseException]] = [
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    lambda: RequestRedirect("https://elsewhere.org/"),
    lambda: SettingError("DATABASE_URL", "postgresql://u:secret@h/d"),
    lambda: BaseException("mine"),
    lambda: Unavailable("x", retry_after="5\r\nX: y"),
    lambda: Unavailable(None),
    lambda: Missing("x", code="a b\r\n"),
    lambda: Missing("\ud800"),
    lambda: Offline("x", order="soon"),
    lambda: Refused(Decision.allow("x"), anonymous=False),
    lambda: Refused(Decision.deny("x", headers={"Set-Cookie": "a=b"}), anonymous=False),
]


def raising(make: Callable[[], BaseException]) -> Callable[[], Any]:
    def fails() -> Any:
        raise make()

    return fails


@pytest.mark.parametrize(
    "hook", ["authenticate", "restrict", "authorize", "resolve", "deliver", "charge", "download_decided"]
)
def test_whatever_a_hook_raises_is_one_of_ours_or_a_500(hook: str, asks: Any) -> None:
    """No exception ends a worker, shows a setting, or answers in the server's stead."""
    asks(hook, [lambda: abort(404), lambda: abort(redirect("/search")), *map(raising, RAISED)])


def test_whatever_an_endpoint_raises_is_one_of_ours_or_a_500(plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    """The handler of an endpoint is held to the same."""
    for fails in (lambda: abort(404), *map(raising, RAISED)):
        plugin = answering("extend_api")
        plugin.given = [Endpoint("GET", "/mine", lambda _, fails=fails: fails(), "Mine.", {})]
        answer = plug(plugin).get("/mine")
        assert (answer.status_code, answer.json["code"]) == (500, "ServerError")
        assert "secret" not in answer.text
        assert "Mine: GET /mine: " in capfd.readouterr().err


def test_a_signal_ends_the_process_all_the_same() -> None:
    """Ctrl-C while a plugin is called interrupts the program: that is not the plugin's doing."""
    import signal

    plugin = answering("startup")
    plugin.given = lambda: signal.raise_signal(signal.SIGINT)
    manager = loading.manage({"Mine": plugin})
    with pytest.raises(KeyboardInterrupt):
        manager.hook.startup(services=None)


@pytest.mark.parametrize("hook", ["authorize", "charge", "resolve", "deliver"])
def test_a_refusal_that_is_raised_is_recorded(hook: str, plug: Plug, publish: Publish) -> None:
    """A plugin that raises Refused denies, and whoever keeps records is told."""
    publish(an_item())
    told: list[DownloadDecision] = []

    class Records:
        @hookimpl
        def download_decided(self, download_decision: DownloadDecision) -> None:
            told.append(download_decision)

    plugin = answering(hook)
    plugin.given = raising(lambda: Refused(Decision.deny("mine", code="Mine"), anonymous=False))
    client = plug(plugin, Consents(), Store(), Records())
    assert client.get(DOWNLOAD).status_code == 401
    assert [(one.decision.code, one.decision.by) for one in told] == [("Mine", "Mine")]


def test_one_refused_asset_leaves_others_signed(plug: Plug, publish: Publish) -> None:
    """A refusal in `resolve` on a page of signed hrefs is recorded, and the other assets are signed."""
    publish(an_item(assets={"data": {"href": "s3://b/closed"}, "more": {"href": "s3://b/open"}}))
    told: list[DownloadDecision] = []

    class Signs:
        @hookimpl
        def resolve(self, asset: Asset) -> Location:
            if asset.key == "data":
                raise Refused(Decision.deny("mine"), anonymous=False)
            return Location("test", asset.href)

        @hookimpl
        def presign(self) -> Redirect:
            return Redirect("https://s/signed", SOON)

        @hookimpl
        def download_decided(self, download_decision: DownloadDecision) -> None:
            told.append(download_decision)

    assets = plug(Signs(), Consents()).get("/collections/collection/items/item?hrefs=signed").json["assets"]
    assert assets["more"]["href"] == "https://s/signed"
    assert "/download/data" in assets["data"]["href"]
    assert [(one.asset.key, one.decision.allowed) for one in told] == [("data", False), ("more", True)]


@pytest.mark.parametrize("hook", ["restrict", "presign", "sign_queries", "download_decided"])
def test_hooks_that_decide_nothing_refuse_nothing(hook: str, asks: Any) -> None:
    """A refusal where nobody records one is a 500 that names the plugin, and no 403."""
    path = f"{DOWNLOAD.partition('/download/')[0]}?hrefs=signed" if hook in ("presign", "sign_queries") else DOWNLOAD
    asks(hook, [raising(lambda: Refused(Decision.deny("mine"), anonymous=False))], path)


@pytest.mark.parametrize("note", ["two\nlines", "", "bell\a", 5, b"bytes"])
def test_notes_on_the_setup_are_lines(note: Any) -> None:
    """What `stacflask check` prints of a plugin is text of one line."""
    plugin = answering("check_setup")
    plugin.given = [note]
    with pytest.raises(TypeError, match="mine: check_setup: expected"):
        loading.manage({"mine": plugin}).hook.check_setup()


@pytest.mark.parametrize("hook", ["response_ready", "metric_recorded", "stream_finished"])
def test_observers_that_break_change_no_answer(
    hook: str, plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a plugin that only watches raises is logged by its name, and the others are called all the same."""
    publish(an_item())
    heard: list[str] = []
    watches = type("Watches", (), {hook: hookimpl(lambda self: heard.append(hook))})()
    for fails in (lambda: abort(404), lambda: True, *map(raising, RAISED)):
        plugin = answering(hook)
        plugin.given = fails
        answer = plug(plugin, watches, Consents(), Store()).get(f"{DOWNLOAD}?delivery=stream", buffered=True)
        assert (answer.status_code, answer.data) == (200, b"x" * 10)
        assert heard
        assert f"plugin=Mine hook={hook}" in capfd.readouterr().err


# --- What is given ---------------------------------------------------------------------------------------------------

CHANGES: list[Callable[[Any], Any]] = [
    lambda one: one.pop("embargoed"),
    lambda one: one.clear(),
    lambda one: one.update(embargoed=False),
    lambda one: one.__setitem__("embargoed", False),
    lambda one: one.setdefault("new", 1),
    lambda one: one.popitem(),
    lambda one: one.__delitem__("embargoed"),
    lambda one: one.__ior__({"embargoed": False}),
    lambda one: one.__init__({"embargoed": False}),
    lambda one: one["deep"].clear(),
    lambda one: one["deep"]["er"].append(1),
    lambda one: one["deep"]["er"][0].update(a=2),
    lambda one: one["list"].sort(),
    lambda one: one["list"].__iadd__([4]),
    lambda one: one["list"].__setitem__(0, 4),
    lambda one: dict(one)["deep"].clear(),
    lambda one: next(part for part in one.values() if isinstance(part, dict)).clear(),
    lambda one: dict(one.items())["deep"].clear(),
    lambda one: {**one}["deep"].clear(),
    lambda one: (one | {})["deep"].clear(),
    lambda one: copy.copy(one)["deep"].clear(),
]
HELD: dict[str, Any] = {"embargoed": True, "deep": {"er": [{"a": 1}]}, "list": [1, 2, 3]}


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_what_a_plugin_is_given_cannot_be_changed(change: int, plug: Plug, publish: Publish) -> None:
    """One plugin cannot take away from an asset what the next would deny by."""
    publish(an_item(properties={"datetime": "2024-06-01T12:00:00Z", **HELD}))

    class Changes:
        @hookimpl
        def authorize(self, asset: Asset) -> None:
            with pytest.raises(TypeError):
                CHANGES[change](asset.properties)

    class Denies:
        @hookimpl
        def authorize(self, asset: Asset) -> Decision | None:
            held = {name: asset.properties[name] for name in HELD}
            return Decision.deny("embargoed") if held == HELD else None

    assert plug(Changes(), Denies(), Consents(), Store()).get(DOWNLOAD).status_code == 401


def test_claims_cannot_be_changed() -> None:
    """Claims are one plugin's word on somebody; those of nobody are the same object for the whole process."""
    claims = {"tier": {"name": "gold"}}
    me = Principal("me", scheme="test", claims=claims)
    claims["tier"]["name"] = "lead"
    claims["more"] = {}
    assert "more" not in me.claims
    for one in (me.claims, me.claims["tier"], ANONYMOUS.claims):
        with pytest.raises(TypeError, match="read-only"):
            one["a"] = "b"


def test_sequences_of_other_classes_cannot_be_changed() -> None:
    """Claims may hold more than JSON: a queue, a named tuple, a list of one's own. No part of them can be changed."""
    pair = namedtuple("pair", "first second")  # noqa: PYI024 - without types, as plugins write it
    given = {"queue": deque([1]), "own": UserList([1]), "pair": pair([1], {}), "set": {1}}
    claims = Principal("me", scheme="test", claims=given).claims
    assert claims["pair"].first == [1]
    changes: list[Callable[[], Any]] = [
        lambda: claims["queue"].append(2),
        lambda: claims["own"].append(2),
        lambda: claims["pair"].first.append(2),
        lambda: claims["pair"].second.update(a=1),
        lambda: claims["set"].add(2),
    ]
    for change in changes:
        with pytest.raises((TypeError, AttributeError)):
            change()


def test_what_a_plugin_is_given_is_json() -> None:
    """Views are dicts and lists: they are written as JSON, compared, and copied into what can be changed."""
    properties = Asset("c", "i", "k", "s3://b/k", properties=HELD).properties
    assert json.loads(json.dumps(properties)) == properties == HELD
    assert isinstance(properties["deep"], dict)
    assert isinstance(properties["list"], list)
    mine = copy.deepcopy(properties)
    mine["deep"]["er"].append({"b": 2})
    assert properties == HELD


def test_requests_cannot_be_changed(plug: Plug) -> None:
    """The header fields that a plugin reads lead to nothing that others read."""
    seen: list[Request] = []

    class Reads:
        @hookimpl
        def authenticate(self, request: Request) -> None:
            seen.append(request)
            assert (request.headers["x-mine"], request.headers.get("X-Other")) == ("a", None)
            assert "X-MINE" in request.headers
            with pytest.raises(KeyError):
                request.headers["X-Other"]
            for name in ("headers", "query", "cookies"):
                with pytest.raises(TypeError):
                    getattr(request, name)["X-Mine"] = "b"

    assert plug(Reads()).get("/collections?a=b", headers={"X-Mine": "a"}).status_code == 200
    assert not hasattr(seen[0].headers, "environ")


def test_assets_of_a_page_cannot_be_taken_away() -> None:
    """The many assets that are asked about at once are the same for every plugin."""

    class Takes:
        @hookimpl
        def authorize(self) -> None:
            return None

        @hookimpl
        def authorize_many(self, assets: Any) -> list[None]:
            assert isinstance(assets, tuple)
            return [None] * len(assets)

    gate = Gate(loading.manage({"takes": Takes(), "consents": Consents()}))
    assert len(gate.authorize_each(ME, [Asset("c", "i", "k", "s3://b/k")])) == 1


# --- Wrappers --------------------------------------------------------------------------------------------------------


class Denies:
    """Denies every download."""

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.deny("never")


def wrapping(hook: str, change: Callable[[Any], Any]) -> object:
    """Make a plugin that wraps a hook."""

    def wraps(self: object) -> Any:
        result = yield
        return change(result)

    return type("Wraps", (), {hook: hookimpl(wrapper=True)(wraps)})()


def test_a_wrapper_that_overrules_is_named_in_the_log(
    plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrapper may overrule what others say, but not unseen."""
    publish(an_item())
    changes: list[Callable[[Any], Any]] = [lambda _: [Decision.allow("mine")], lambda result: result[1:]]
    for change in changes:
        client = plug(wrapping("authorize", change), Denies(), Consents(), Store())
        assert client.get(DOWNLOAD).status_code == 307
        line = next(line for line in capfd.readouterr().err.splitlines() if "changed by wrapper" in line)
        assert "plugin=Wraps hook=authorize before=denial by Denies: never; consent by Consents: anybody" in line
    assert "by=Wraps" not in line


def test_a_wrapper_that_only_looks_is_not_logged(
    plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is passed on as it is needs no line."""
    publish(an_item())
    assert plug(wrapping("authorize", lambda result: result), Consents(), Store()).get(DOWNLOAD).status_code == 307
    assert "changed by wrapper" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("hook", "change"),
    [
        ("authorize", lambda _: [decision(allowed=1)]),
        ("authorize", lambda _: Decision.allow("x")),
        ("authorize", lambda _: [True]),
        ("authorize", lambda _: None),
        ("resolve", lambda _: "x"),
        ("deliver", lambda _: Redirect("file:///etc/passwd", SOON)),
        ("charge", lambda _: Decision.allow("x")),
        ("restrict", lambda _: [1]),
        ("authenticate", lambda _: "me"),
    ],
)
def test_what_a_wrapper_returns_is_validated(
    hook: str, change: Callable[[Any], Any], plug: Plug, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrapper is held to what the hook returns."""
    publish(an_item())
    client = plug(wrapping(hook, change), Consents(), Store())
    assert client.get(DOWNLOAD).status_code == 500
    assert f"Wraps: {hook}: expected" in capfd.readouterr().err


def test_a_wrapper_cannot_change_what_it_sees(plug: Plug, publish: Publish) -> None:
    """A restriction that a wrapper changes in place holds as it was given."""
    publish(an_item())

    def change(result: list[Any]) -> list[Any]:
        result[0]["args"].clear()
        result[0]["op"] = "or"
        return []

    hides = answering("restrict")
    hides.given = {"op": "=", "args": [{"property": "id"}, "nothing"]}
    client = plug(hides, wrapping("restrict", lambda result: [*map(copy.copy, result)]))
    assert client.get(ITEM).status_code == 404
    plug(hides, wrapping("restrict", change)).get(ITEM)
    assert hides.given == {"op": "=", "args": [{"property": "id"}, "nothing"]}


# --- Told at the start -----------------------------------------------------------------------------------------------


async def _later(self: object) -> None:
    return None


async def _several(self: object) -> Any:
    yield None


def _generator(self: object) -> Any:
    yield None


@pytest.mark.parametrize("hook", ["authorize", "download_decided", "startup", "response_ready", "extend_api"])
def test_hooks_are_plain_functions(hook: str) -> None:
    """A hook whose result would come later is told at the start, also one that returns nothing."""
    for function, kind in (
        (_later, "an async function"),
        (_several, "an async generator"),
        (_generator, "a generator"),
    ):
        plugin = type("Plugin", (), {hook: hookimpl(function)})()
        with pytest.raises(SettingError, match=f"STACFLASK_PLUGINS: mine: {hook} is {kind}; expected a plain function"):
            loading.manage({"mine": plugin})


@pytest.mark.parametrize("hook", ["authorize", "download_decided"])
def test_coroutines_of_plain_functions_open_nothing(hook: str, asks: Any) -> None:
    """A plain function that returns a coroutine, or anything where nothing is expected, has not done its work."""
    asks(hook, [lambda: _later(None), lambda: _several(None), lambda: _generator(None), lambda: True])


def test_endpoints_and_commands_are_plain_functions() -> None:
    """A handler or a command that is an async function is told at the start."""
    import click

    async def handler(_: Any) -> EndpointResponse:
        return EndpointResponse({})

    for hook, given in (
        ("extend_api", Endpoint("GET", "/mine", handler, "Mine.", {})),
        ("extend_cli", click.Command("mine", callback=_later)),
        ("extend_cli", click.Group("mine", commands=[click.Command("part", callback=_later)])),
    ):
        plugin = answering(hook)
        plugin.given = [given]
        with pytest.raises(SettingError, match=f"mine: {hook}: .*plain"):
            loading.hear(loading.manage({"mine": plugin}))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/{anything}"),
        ("GET", "/{anything}"),
        ("POST", "/collections"),
        ("PUT", "/search"),
        ("GET", "/search/"),
        ("GET", "/collections/{a}/items/{b}/download/{c}"),
        ("GET", "/collections/{a}/items/{b}/{c}/{d}"),
        ("POST", "/collections/{a}/{b}"),
        ("GET", "/{a}/{b}/items"),
        ("GET", "/co{x}"),
        ("GET", "/signed/mine"),
        ("POST", "/signed/{a}/{b}"),
    ],
)
def test_addresses_of_core_are_not_taken(method: Any, path: str, plug: Plug) -> None:
    """No path of core leads to a plugin, by whatever method or variable."""
    plugin = answering("extend_api")
    plugin.given = [Endpoint(method, path, lambda _: EndpointResponse({}), "Mine.", {})]
    with pytest.raises(SettingError, match=r"Mine: extend_api: .* the path is already used by /") as told:
        plug(plugin)
    assert "\n" not in str(told.value)


def test_addresses_of_other_plugins_are_not_taken(plug: Plug) -> None:
    """One plugin's variable does not catch another's address; its own may overlap."""
    first, second = answering("extend_api"), type("Other", (type(answering("extend_api")),), {})()
    first.given = [
        Endpoint("GET", f"/mine/{one}", lambda _: EndpointResponse({}), "Mine.", {}) for one in ("{x}", "fixed")
    ]
    assert plug(first).get("/mine/fixed").status_code == 200
    second.given = [Endpoint("GET", "/mine/other", lambda _: EndpointResponse({}), "Mine.", {})]
    with pytest.raises(SettingError, match=r"the path is already used by /mine/\{x\} of Mine"):
        plug(first, second)
