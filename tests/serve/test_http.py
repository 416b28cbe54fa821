"""The doors over a real server on loopback."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
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
    ("GET", "/v1/recommend/user-1", None, 200, 200),
    ("GET", "/v1/recommend?session=s1", None, 200, 200),
    ("POST", "/v1/recommend/user-1", {}, 200, 403),
    ("POST", "/v1/recommend?session=s1", {}, 200, 403),
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
    got = doors.admin.get("/v1/recommend/user-5", params={**wishes, "category": "Tea", "price_max": 9}).json()
    posted = doors.admin.post(
        "/v1/recommend/user-5", json={**wishes, "filters": {"category": "Tea", "price_max": 9}}
    ).json()
    assert got["items"]
    titles = [doors.parts.service.item(item["item_id"]) for item in got["items"] + posted["items"]]
    assert all(item.category == ("Tea",) and (item.price or 0) <= 900 for item in titles)


def test_the_next_slate_after_an_acknowledged_event_differs(doors: Doors) -> None:
    first = doors.browser.get("/v1/recommend?session=new&limit=5").json()
    event = {"session_id": "new", "event_type": "click", "item_id": first["items"][0]["item_id"],
             "recommendation_id": first["recommendation_id"], "slot": "home", "position": 0}  # fmt: skip
    assert doors.browser.post("/v1/events", json=event).json()["accepted"] == 1
    second = doors.browser.get("/v1/recommend?session=new&limit=5").json()
    assert [item["item_id"] for item in second["items"]] != [item["item_id"] for item in first["items"]]


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
        ("GET", "/v1/recommend", None, 400, "GET /v1/recommend"),
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


def test_large_bodies_are_refused(tmp_path: Path, open_doors: Callable[[Parts], Doors]) -> None:
    parts = open_parts(tmp_path, Settings().change(serve={"max_body_bytes": 2048}), filled=False)
    doors = open_doors(parts)
    assert doors.admin.post("/v1/events", json=[EVENT] * 100).status_code == 413
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
