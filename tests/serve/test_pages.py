"""The pages without a browser: who gets in, CSRF, what the storefront records, what the dashboard counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import httpx
import pytest

from regulars.core.settings import Settings
from regulars.serve.pages.board import Board
from serve.parts import Doors, Parts, open_parts

CLOSED = ("/", "/shop", "/shop/shoppers", "/dashboard", "/shop/data/slate", "/shop/data/categories",
          "/shop/data/shelf", "/shop/data/items?item_id=i001", "/shop/data/me", "/dashboard/data")  # fmt: skip


def csrf_of(client: httpx.Client, path: str = "/shop/shoppers") -> str:
    found = re.search(r'name="csrf" (?:value|content)="([0-9a-f]+)"', client.get(path).text)
    assert found
    return found[1]


@pytest.fixture
def visitor(doors: Doors) -> httpx.Client:
    """A person who logged in and chose to be user-1."""
    client = doors.login()
    token = csrf_of(client)
    assert client.post("/shop/shopper", data={"csrf": token, "user_id": "user-1"}).status_code == 200
    client.headers["x-csrf-token"] = token
    return client


def test_without_a_session_every_page_is_closed(doors: Doors) -> None:
    for path in CLOSED:
        assert doors.nobody.get(path).status_code == 401, path
        assert doors.admin.get(path).status_code == 401, path


def test_a_login_link_opens_once(doors: Doors) -> None:
    link = doors.login()
    assert "HttpOnly" in str(link.cookies.jar) or link.cookies
    used = httpx.get(f"{doors.url}/login?token=wrong")
    assert used.status_code == 401
    assert "set-cookie" not in used.headers


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(doors: Doors) -> None:
    client = doors.login()
    [cookie] = [each for each in client.cookies.jar if each.name == "regulars_session"]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert str(cookie.get_nonstandard_attr("SameSite")).lower() == "strict"


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_forms_of_other_sites_change_nothing(visitor: httpx.Client, token: str) -> None:
    assert visitor.post("/shop/shopper", data={"csrf": token}).status_code == 403
    assert visitor.post("/logout", data={"csrf": token}).status_code == 403
    step = {"event_type": "view", "item_id": "i001"}
    assert visitor.post("/shop/act", json=[step], headers={"x-csrf-token": token}).status_code == 403
    assert visitor.get("/shop/data/me").json()["profile"]["n_events"] == 24


def test_a_token_of_another_session_does_not_fit(doors: Doors, visitor: httpx.Client) -> None:
    other = csrf_of(doors.login())
    assert visitor.post("/shop/shopper", data={"csrf": other}).status_code == 403


def test_logging_out_closes_the_pages(visitor: httpx.Client) -> None:
    assert visitor.post("/logout", data={"csrf": visitor.headers["x-csrf-token"]}).status_code == 401
    assert visitor.get("/dashboard").status_code == 401


def test_shopper_first(doors: Doors) -> None:
    client = doors.login()
    assert client.get("/shop").url.path == "/shop/shoppers"
    assert client.get("/shop/data/slate").status_code == 404


def test_browsing(visitor: httpx.Client) -> None:
    assert "user-1" in visitor.get("/shop").text
    categories = visitor.get("/shop/data/categories").json()
    assert categories == {"Bakery": 12, "Books": 12, "Coffee": 12, "Kitchen": 12, "Tea": 12}
    tea = visitor.get("/shop/data/shelf?category=Tea").json()
    assert len(tea["items"]) == 12
    assert not tea["more"]
    first, second = (visitor.get(f"/shop/data/shelf?start={start}").json() for start in (0, 24))
    assert first["more"]
    assert not {item["item_id"] for item in first["items"]} & {item["item_id"] for item in second["items"]}
    assert visitor.get("/shop/data/items?item_id=i003").json()["title"] == "Lantern kitchen 3"


def test_shelves_follow_the_catalogue(doors: Doors, visitor: httpx.Client) -> None:
    visitor.get("/shop/data/categories")
    doors.admin.delete("/v1/items/i000")
    doors.admin.put("/v1/items/new", json={"title": "New", "category": ["Garden", "Pots"]})
    categories = visitor.get("/shop/data/categories").json()
    assert (categories["Tea"], categories["Garden"]) == (11, 1)
    assert visitor.get("/shop/data/shelf?category=Pots").json()["items"][0]["item_id"] == "new"


def test_what_the_shopper_does_comes_back_with_its_slate(doors: Doors, visitor: httpx.Client) -> None:
    shown = visitor.get("/shop/data/slate?slot=home").json()
    first = shown["slate"]["items"][0]["item_id"]
    assert shown["items"][first]["title"]
    origin = {"recommendation_id": shown["slate"]["recommendation_id"], "slot": "home", "position": 0}
    steps = [{"event_type": "click", "item_id": first, **origin},
             {"event_type": "purchase", "item_id": first, "order_id": "o", "quantity": 2, **origin},
             {"event_type": "rating", "item_id": first, "value": 5}]  # fmt: skip
    assert visitor.post("/shop/act", json=steps).json() == {"accepted": 3, "rejected": 0}
    me = visitor.get("/shop/data/me").json()
    assert me["profile"]["n_orders"] == 7
    moments = [(moment["kind"], moment.get("from_slate", False)) for moment in me["moments"]]
    assert [m for m in moments if m[0] != "slate"] == [("click", True), ("purchase", True), ("rating", False)]
    assert visitor.get(f"/shop/data/me?after={me['offset']}").json()["moments"] == []
    loop = Board(doors.parts.service, doors.parts.home / "models").data()["loop"]
    assert (loop["slates"], loop["clicked"], loop["purchased"], loop["orphans"]) == (1, 1, 1, 0)
    price = doors.parts.service.item(first).price
    assert price
    assert loop["revenue"] == 2 * price


def test_a_new_shopper_is_somebody_nobody_knows(doors: Doors) -> None:
    client = doors.login()
    client.post("/shop/shopper", data={"csrf": csrf_of(client)})
    me = client.get("/shop/data/me").json()
    assert me["profile"]["n_events"] == 0
    assert client.get("/shop/data/slate").json()["slate"]["items"]


def test_the_storefront_exists_in_practice_shops_only(tmp_path: Path, open_doors: Callable[[Parts], Doors]) -> None:
    doors = open_doors(open_parts(tmp_path, Settings(), filled=False))
    client = doors.login()
    assert client.get("/shop").status_code == 404
    assert client.get("/").url.path == "/dashboard"
    assert "/shop" not in client.get("/dashboard").text


class Links(HTMLParser):
    """Everything a page loads or leads to, and inline scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [value for name in ("src", "href", "action") if (value := values.get(name))]
        self.inline += tag == "script" and "src" not in values
        self.inline += sum(name.startswith("on") for name in values)


def test_pages_load_nothing_from_elsewhere_and_no_inline_script(visitor: httpx.Client) -> None:
    for path in ("/shop", "/shop/shoppers", "/dashboard", "/docs"):
        page = visitor.get(path)
        assert page.status_code == 200
        links = Links()
        links.feed(page.text)
        assert links.inline == 0
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in links.found), path


def test_files_come_from_the_package(doors: Doors) -> None:
    names = {path.name for path in (resources.files("regulars.serve.pages") / "static").iterdir()}
    for name in names | {"plotly.js"}:
        packed = doors.nobody.get(f"/static/{name}")
        plain = doors.nobody.get(f"/static/{name}", headers={"accept-encoding": "identity"})
        assert packed.status_code == plain.status_code == 200
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == plain.content
    assert doors.nobody.get("/static/..%2Fboard.py").status_code == 404
    assert doors.nobody.get("/static/board.py").status_code == 404
    assert doors.nobody.get("/favicon.ico").headers["content-type"].startswith("image/svg+xml")


def test_the_description_names_every_route(doors: Doors) -> None:
    schema = doors.nobody.get("/openapi.json").json()
    page = doors.nobody.get("/docs").text
    for path, methods in schema["paths"].items():
        for method, spec in methods.items():
            assert f'id="{spec["operationId"]}"' in page, (method, path)
    assert "<code>anonymous_id</code>" in page
    assert "`" not in page
    assert page.count("<h3>Body</h3>") == sum("requestBody" in spec for each in schema["paths"].values()
                                              for spec in each.values() if isinstance(spec, dict))  # fmt: skip


def test_shopper_names_are_text_never_markup(doors: Doors) -> None:
    client = doors.login()
    name = "<img src=x onerror=alert(1)>"
    client.post("/shop/shopper", data={"csrf": csrf_of(client), "user_id": name})
    assert name not in client.get("/shop").text
    assert "&lt;img" in client.get("/shop").text
