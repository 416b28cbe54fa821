"""The doors over a real server on loopback."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from regulars.core.errors import ModelError, RegularsError, StorageError
from regulars.core.settings import Settings
from regulars.serve.problems import status_of
from serve.parts import Doors, Parts, open_parts

EVENT = {"user_id": "ann", "event_type": "view", "item_id": "i001"}
FIELDS = {"title", "status", "type", "detail", "where", "got", "wanted", "remedy"}

# method, path, body, what the admin key gets, what the browser key gets
ROUTES = [
    ("POST", "/v1/events", EVENT, 200, 200),
    ("GET", "/v1/recommend/user-1", None, 200, 403),
    ("GET", "/v1/recommend?session=s1", None, 200, 200),
    ("GET", "/v1/recommend?anonymous_id=a1", None, 200, 200),
    ("POST", "/v1/recommend/user-1", {}, 200, 403),
    ("POST", "/v1/recommend?session=s1", {}, 200, 403),
    ("POST", "/v1/recommend?anonymous_id=a1", {}, 200, 403),
    ("GET", "/v1/questions?n=3", None, 200, 200),
    ("PUT", "/v1/items/i001", {"title": "Tea"}, 200, 403),
    ("GET", "/v1/items/i001", None, 200, 403),
    ("DELETE", "/v1/items/i002", None, 204, 403),
    ("PUT", "/v1/users/user-1", {"attributes": {"a": 1}}, 200, 403),
    ("GET", "/v1/users/user-1", None, 200, 403),
    ("GET", "/v1/users/user-1/profile", None, 200, 403),
    ("DELETE", "/v1/users/user-2", None, 204, 403),
    ("GET", "/metrics", None, 200, 403),
]


@pytest.mark.parametrize("wrong", ["", "Bearer", "Bearer wrong", "Basic {admin}", "{admin}", "Bearer {admin}x"])
def test_wrong_keys_get_one_and_the_same_answer_everywhere(doors: Doors, wrong: str) -> None:
    headers = {"Authorization": wrong.format(admin=doors.parts.keys.admin)} if wrong else {}
    answers = [doors.nobody.request(method, path, json=body, headers=headers) for method, path, body, *_ in ROUTES]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers)


def test_each_key_opens_its_own_doors(doors: Doors) -> None:
    for method, path, body, admin, browser in ROUTES:
        assert doors.browser.request(method, path, json=body).status_code == browser, path
        assert doors.admin.request(method, path, json=body).status_code == admin, path


def test_every_closed_route_is_in_the_table_above(doors: Doors) -> None:
    schema = doors.nobody.get("/openapi.json").json()
    closed = {
        (method.upper(), path.split("{")[0].rstrip("/"), path.endswith("profile"))
        for path, methods in schema["paths"].items()
        for method, spec in methods.items()
        if spec.get("security")
    }
    tried = {
        (method, path.split("?")[0].replace("/user-1", "").replace("/user-2", "").replace("/i001", "")
         .replace("/i002", "").replace("/profile", ""), path.endswith("profile"))
        for method, path, *_ in ROUTES
    }  # fmt: skip
    assert closed == tried


def test_health_is_open(doors: Doors) -> None:
    assert doors.nobody.get("/health/live").json()["status"] == "live"
    ready = doors.nobody.get("/health/ready").json()
    assert (ready["status"], ready["model_version"]) == ("ready", "v1")


def test_the_answer_of_recommend(doors: Doors) -> None:
    answer = doors.admin.get("/v1/recommend/user-1", params={"slot": "home", "limit": 3, "exclude": ["i000", "i001"]})
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"recommendation_id", "model_version", "policy", "items", "took_ms"}
    assert [item["position"] for item in body["items"]] == [0, 1, 2]
    for item in body["items"]:
        assert set(item) == {"item_id", "score", "position", "propensity", "source", "reason"}
        assert 0 < item["propensity"] <= 1
        assert item["reason"]["text"]
        assert item["item_id"] not in ("i000", "i001")


def test_get_and_post_take_the_same_wishes(doors: Doors) -> None:
    wishes: dict[str, Any] = {"limit": 4, "item": "i003"}
    filters: dict[str, Any] = {"category": "Tea", "price_min": 6, "price_max": 9}
    got = doors.admin.get("/v1/recommend/user-5", params={**wishes, **filters}).json()
    posted = doors.admin.post("/v1/recommend/user-5", json={**wishes, "filters": filters}).json()
    assert got["items"]
    shown = [doors.parts.service.item(item["item_id"]) for item in got["items"] + posted["items"]]
    assert all(item.category == ("Tea",) and 600 <= (item.price or 0) <= 900 for item in shown)


def test_get_takes_kind_and_stock(doors: Doors) -> None:
    doors.admin.put("/v1/items/i001", json={"title": "Sold out", "available": False})
    doors.admin.put("/v1/items/i002", json={"title": "How to brew", "kind": "article"})

    def shown(**params: str) -> set[str]:
        answer = doors.admin.get("/v1/recommend/new", params={"limit": "60", **params}).json()
        return {item["item_id"] for item in answer["items"]}

    assert "i001" not in shown()
    assert "i001" in shown(in_stock="false")
    assert shown(kind="article") == {"i002"}


def test_the_next_slate_after_an_acknowledged_event_differs(doors: Doors) -> None:
    first = doors.browser.get("/v1/recommend?session=new&limit=5").json()
    event = {"session_id": "new", "event_type": "click", "item_id": first["items"][0]["item_id"],
             "recommendation_id": first["recommendation_id"], "slot": "home", "position": 0}  # fmt: skip
    assert doors.browser.post("/v1/events", json=event).json()["accepted"] == 1
    second = doors.browser.get("/v1/recommend?session=new&limit=5").json()
    assert [item["item_id"] for item in second["items"]] != [item["item_id"] for item in first["items"]]


@pytest.mark.parametrize("name", ["session", "anonymous_id"])
def test_questions_are_answered_by_events_and_not_asked_twice(doors: Doors, name: str) -> None:
    def asked(**params: Any) -> list[str]:
        answer = doors.browser.get("/v1/questions", params=params)
        assert answer.status_code == 200
        assert answer.json()["model_version"] == "v1"
        ids: list[str] = answer.json()["item_ids"]
        return ids

    first = asked(n=4)
    assert len(set(first)) == 4
    assert asked(n=4, **{name: "w-2"}) == first
    field = {"session": "session_id"}.get(name, name)
    said = [{field: "w-2", "event_type": kind, "item_id": item_id}
            for item_id, kind in zip(first[:2], ("wishlist", "dislike"), strict=True)]  # fmt: skip
    assert doors.browser.post("/v1/events", json=said).json()["accepted"] == 2
    assert not set(asked(n=50, **{name: "w-2"})) & set(first[:2])
    assert asked(n=4) == first
    wrong = doors.browser.get("/v1/questions", params={"session": "a", "anonymous_id": "b"})
    assert (wrong.status_code, wrong.json()["got"]) == (400, "session and anonymous_id")
    assert doors.browser.get("/v1/questions?n=0").status_code == 400
    assert doors.browser.get("/v1/questions?limit=3").status_code == 400


@pytest.mark.parametrize("name", ["session", "anonymous_id"])
def test_slates_are_asked_for_by_the_id_that_events_carry(doors: Doors, name: str) -> None:
    """What a shopper without a user id did is in the next slate of the same id, and of no other kind of id."""
    other = {"session": "anonymous_id", "anonymous_id": "session"}[name]
    field = {"session": "session_id"}.get(name, name)
    row = {field: "w-1", "event_type": "dislike", "item_id": "i003"}
    assert doors.browser.post("/v1/events", json=row).json()["accepted"] == 1

    def shown(who: str) -> set[str]:
        answers = [doors.browser.get("/v1/recommend", params={who: "w-1", "limit": 60}),
                   doors.admin.post("/v1/recommend", params={who: "w-1"}, json={"limit": 60})]  # fmt: skip
        [same] = {frozenset(item["item_id"] for item in answer.json()["items"]) for answer in answers}
        return set(same)

    assert "i003" not in shown(name)
    assert "i003" in shown(other)


def test_a_new_shopper_waits_for_the_disk_and_nobody_else_does(doors: Doors) -> None:
    doors.admin.get("/v1/recommend/user-1")
    person = doors.login()
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', person.get("/shop/shoppers").text)
    assert token
    person.post("/shop/shopper", data={"csrf": token[1], "user_id": "user-1"})
    with closing(sqlite3.connect(doors.parts.home / "journal.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # as an import does
        with ThreadPoolExecutor() as pool:
            new = [pool.submit(client.get, path, timeout=20)
                   for client, path in ((doors.admin, "/v1/recommend/never-seen"),
                                        (doors.browser, "/v1/recommend?session=never-seen"))]  # fmt: skip
            for client, path in ((doors.nobody, "/health/live"), (person, "/shop/data/slate")):
                assert client.get(path, timeout=5).status_code == 200
            with httpx.Client(base_url=doors.url, headers=doors.admin.headers) as client:
                assert client.get("/v1/recommend/user-1", timeout=5).json()["items"]
            assert not any(each.done() for each in new)
            other.execute("ROLLBACK")
            assert [each.result().status_code for each in new] == [200, 200]


def test_rows_are_answered_one_by_one(doors: Doors) -> None:
    body = doors.admin.post("/v1/events", json=[EVENT, {"event_type": "buy"}]).json()
    assert (body["accepted"], body["rejected"], body["duplicates"]) == (1, 1, 0)
    assert body["results"][0]["event_id"]
    assert any("unknown event_type" in why for why in body["results"][1]["why"])


def test_idempotency_key(doors: Doors) -> None:
    answers = [doors.admin.post("/v1/events", json=EVENT, headers={"Idempotency-Key": "k1"}).json() for _ in range(2)]
    assert [(answer["accepted"], answer["duplicates"]) for answer in answers] == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "where"),
    [
        ("POST", "/v1/events", b"{", 400, "POST /v1/events"),
        ("POST", "/v1/events", b'"text"', 400, "body"),
        ("GET", "/v1/recommend/u?limit=0", None, 400, "query.limit"),
        ("GET", "/v1/recommend/u?limit=many", None, 400, "query.limit"),
        ("GET", "/v1/recommend/u?slot=a%20b", None, 400, "query.slot"),
        ("GET", "/v1/recommend", None, 400, "query"),
        ("GET", "/v1/recommend?session=s&anonymous_id=a", None, 400, "query"),
        ("GET", "/v1/recommend?session=", None, 400, "query.session"),
        ("GET", "/v1/recommend/u?session=s", None, 400, "query.session"),
        ("GET", "/v1/recommend/u?foo=1", None, 400, "query.foo"),
        ("GET", "/v1/recommend/u?price_mn=1000", None, 400, "query.price_mn"),
        ("GET", "/v1/recommend/u?price_max=nan", None, 400, "query.price_max"),
        ("GET", "/v1/recommend/u?language=fr", None, 400, "query.language"),
        ("GET", "/v1/recommend/u?kind=song", None, 400, "query.kind"),
        ("POST", "/v1/recommend", b"{}", 400, "query"),
        ("POST", "/v1/recommend/u?limit=3", b"{}", 400, "query.limit"),
        ("POST", "/v1/recommend/u", b'{"language": "fr"}', 400, "body.language"),
        ("POST", "/v1/recommend/u", b'{"limits": 3}', 400, "body"),
        ("POST", "/v1/recommend/u", b'{"filters": {"price_min": -1}}', 400, "body.filters.price_min"),
        ("PUT", "/v1/items/x", b'{"price": "cheap"}', 400, "body.price"),
        ("GET", "/v1/items/none", None, 404, "item 'none'"),
        ("GET", "/v1/users/none/profile", None, 404, "user 'none'"),
        ("GET", "/v1/nothing", None, 404, "GET /v1/nothing"),
        ("DELETE", "/v1/events", None, 405, "DELETE /v1/events"),
    ],
)
def test_errors_are_problems_that_say_where(
    doors: Doors, method: str, path: str, content: bytes | None, status: int, where: str
) -> None:
    answer = doors.admin.request(method, path, content=content)
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert set(body) == FIELDS
    assert body["where"].startswith(where)
    assert body["got"]
    assert body["wanted"]


@pytest.mark.parametrize(
    ("method", "path", "content", "told"),
    [
        ("GET", "/v1/recommend/u?price_mn=1", None, {"remedy": "The nearest is 'price_min'."}),
        ("GET", "/v1/recommend/u?language=fr", None, {"got": "'fr'", "wanted": "one of '', 'en', 'zh'"}),
        ("GET", "/v1/recommend/u?limit=0", None, {"got": "'0'", "wanted": "`int` >= 1"}),
        ("GET", "/v1/recommend", None, {"got": "none of them", "wanted": "exactly one of session, anonymous_id"}),
        ("GET", "/v1/recommend?session=s&anonymous_id=a", None, {"got": "session and anonymous_id"}),
        ("POST", "/v1/recommend/u", b'{"limits": 3}', {"got": "unknown field `limits`"}),
        ("POST", "/v1/events", b"{", {"wanted": "a request as /docs describes it"}),
        ("GET", "/v1/nothing", None, {"got": "an unknown path", "wanted": "a path that /docs lists"}),
        ("DELETE", "/v1/events", None, {"got": "DELETE"}),
    ],
)
def test_problems_say_what_was_wrong_and_what_helps(
    doors: Doors, method: str, path: str, content: bytes | None, told: dict[str, str]
) -> None:
    body = doors.admin.request(method, path, content=content).json()
    assert {name: body[name] for name in told} == told


def test_closed_doors_say_which_key_opens_them(doors: Doors) -> None:
    shut, barred = doors.nobody.get("/v1/items/x").json(), doors.browser.get("/v1/recommend/user-1").json()
    assert (shut["got"], "Bearer" in shut["wanted"], bool(shut["remedy"])) == ("no valid key", True, True)
    assert (barred["got"], barred["wanted"], bool(barred["remedy"])) == ("the browser key", "the admin key", True)
    page = doors.nobody.get("/shop/data/me").json()
    assert (page["got"], "login link" in page["remedy"]) == ("no session", True)


def test_large_bodies_are_refused(tmp_path: Path, open_doors: Callable[[Parts], Doors]) -> None:
    parts = open_parts(tmp_path, Settings().change(serve={"max_body_bytes": 2048}), filled=False)
    doors = open_doors(parts)
    refused = doors.admin.post("/v1/events", json=[EVENT] * 100)
    assert (refused.status_code, refused.json()["wanted"]) == (413, "at most 2048 bytes")
    assert doors.admin.post("/v1/events", json=[EVENT] * 5).status_code == 200


def test_a_fault_of_ours_tells_the_log_and_not_the_caller(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(user_id: str) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(doors.parts.service, "user", broken)
    answer = doors.admin.get("/v1/users/user-1")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "the secret inside" in caplog.text


def test_a_full_disk_is_not_the_caller_s_fault(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("journal.sqlite", got="disk full", wanted="space", remedy="Make room.")

    monkeypatch.setattr(doors.parts.journal, "append", full)
    answer = doors.admin.post("/v1/events", json=EVENT)
    assert (answer.status_code, answer.json()["remedy"]) == (503, "Make room.")
    assert answer.headers["retry-after"] == "1"


def test_each_error_has_its_status() -> None:
    assert [status_of(kind("x")) for kind in (StorageError, ModelError, RegularsError)] == [503, 503, 500]


def test_security_headers_stand_on_every_answer(doors: Doors) -> None:
    for path in ("/health/live", "/v1/items/x", "/nowhere", "/docs", "/static/style.css"):
        headers = doors.nobody.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_nothing_secret_is_logged(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    doors.login().get("/shop/shoppers")
    doors.admin.get("/v1/users/user-1/profile")
    doors.nobody.get("/login?token=guess", headers={"Authorization": "Bearer guess-2"})
    lines = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "GET /v1/users/{user_id}/profile 200" in lines
    keys = doors.parts.keys
    assert not any(secret in lines for secret in (keys.admin, keys.browser, "token", "guess", "user-1"))


def test_metrics_and_description(doors: Doors) -> None:
    doors.admin.get("/v1/recommend/user-1")
    text = doors.admin.get("/metrics").text
    assert 'regulars_requests_total{method="GET",route="/v1/recommend/{user_id}",status="200"}' in text
    schema = doors.nobody.get("/openapi.json").json()
    bodies = [spec["requestBody"] for methods in schema["paths"].values() for spec in methods.values()
              if "requestBody" in spec]  # fmt: skip
    assert len(bodies) == 5
    assert all(body["content"]["application/json"]["schema"]["examples"] for body in bodies)


def test_models_are_swapped_under_load_without_a_failure(doors: Doors) -> None:
    bundles = [doors.parts.train(f"v{i}", names) for i, names in ((2, ("popular",)), (3, ("popular", "item-knn")))]
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def ask(worker: int) -> None:
        with httpx.Client(base_url=doors.url, headers=doors.admin.headers) as client:
            while not stop.is_set():
                answer = client.get(f"/v1/recommend/user-{worker}")
                answers.append((answer.status_code, answer.json()["model_version"]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    for version, bundle in [("v1", None), *((each.version, each) for each in bundles * 2)]:
        if bundle is not None:
            doors.parts.service.swap(bundle)
        while not any(answered == version for _, answered in answers[-4:]) and time.monotonic() < deadline:
            time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"v1", "v2", "v3"}


def test_a_published_version_is_put_in_place(doors: Doors) -> None:
    doors.parts.publish("v9", ("popular",))
    deadline = time.monotonic() + 20
    while doors.admin.get("/v1/recommend/user-1").json()["model_version"] != "v9":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_server_sees_an_event_within_a_second(doors: Doors, open_doors: Callable[[Parts], Doors]) -> None:
    """Two servers on one folder; the first acknowledges, the second tails."""
    other = open_doors(open_parts(doors.parts.home, filled=False))
    headers = {"Authorization": doors.admin.headers["authorization"]}
    other.parts.service.key("u:user-1")
    with httpx.Client(base_url=other.url, headers=other.admin.headers) as client:
        before = client.get("/v1/users/user-1/profile").json()["n_events"]
        row = {"user_id": "user-1", "event_type": "view", "item_id": "i001"}
        assert httpx.post(f"{doors.url}/v1/events", json=row, headers=headers).json()["accepted"] == 1
        acknowledged = time.monotonic()
        while client.get("/v1/users/user-1/profile").json()["n_events"] == before:
            assert time.monotonic() - acknowledged < 1.0
            time.sleep(0.02)
