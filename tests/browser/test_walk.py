"""A new shopper clicks, the slate changes, they buy, and the dashboard counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from browser.conftest import Walk

pytestmark = pytest.mark.slow


def shown(page: Any, slot: str = "home") -> list[str]:
    """Item ids of a slate on the page."""
    found = page.eval_on_selector_all(f".slate[data-slot={slot}] a", "all => all.map(a => a.dataset.item)")
    return [str(each) for each in found]


def stage(page: Any, name: str) -> int:
    """A count of the loop's picture."""
    return int(page.inner_text(f"#loop li[data-stage={name}] strong").replace(",", ""))


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_walk(walk: Walk, width: int, height: int) -> None:
    page = walk.page(width, height)
    page.click("text=Be a new shopper")
    page.wait_for_selector(".slate[data-slot=home] a")
    first = shown(page)
    assert len(first) == 8
    assert all(page.locator(".slate[data-slot=home] .reason").all_inner_texts())
    for place in range(5):
        item = shown(page)[place]
        page.locator(f".slate[data-slot=home] a[data-item={item}]").click()
        page.wait_for_function("id => document.querySelector('#main').dataset.view?.endsWith(id)", arg=item)
        page.wait_for_selector(".slate[data-slot=home] a")
    assert shown(page) != first
    page.click("#add")
    page.wait_for_function("document.querySelector('#cart-count').textContent === '1'")
    page.click(".cart")
    page.click("#buy")
    page.wait_for_selector(".shelf")
    page.wait_for_function("document.querySelector('#profile').textContent.includes('Orders1')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{walk.url}/dashboard")
    page.wait_for_selector("#loop li")
    page.wait_for_selector("#funnel .plot .main-svg")
    assert stage(page, "outcomes") >= 1
    assert "1 bought from" in page.inner_text("#loop li[data-stage=outcomes]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert walk.complaints == []


def test_by_keyboard_alone(walk: Walk) -> None:
    page = walk.page(1280, 900)
    page.focus("text=Be a new shopper")
    page.keyboard.press("Enter")
    page.wait_for_selector(".slate[data-slot=home] a")
    page.focus(".slate[data-slot=home] a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#add")
    page.focus("#add")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#cart-count').textContent === '1'")
    page.goto(f"{walk.url}/dashboard")
    page.wait_for_selector("#funnel summary")
    page.focus("#funnel summary")
    page.keyboard.press("Enter")
    assert page.is_visible("#funnel table")
    assert walk.complaints == []
