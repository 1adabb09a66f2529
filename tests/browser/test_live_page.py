"""The live page in a real browser: shows what the chain says as it is sealed, in two languages, on a phone, by
keyboard.
"""

import pytest

from tests.browser.chromium import Page, open_page
from tests.edge_kit import opened, running_edge, settled, started

pytestmark = pytest.mark.needs_chromium


@pytest.fixture
async def edge(tmp_path):
    async with running_edge(tmp_path) as running:
        yield running


@pytest.fixture
async def page(tmp_path_factory):
    async with open_page(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def address(edge, path: str = "/") -> str:
    return str(edge.client.make_url(path))


async def text(page: Page, place: str) -> str:
    return str(await page.evaluate(f"document.getElementById('{place}').innerText"))


async def test_F50_the_page_follows_the_chain(edge, page):
    await page.open(address(edge))
    await page.until("document.getElementById('live')?.dataset.state === 'live'")
    assert "No sessions yet" in await text(page, "sessions")
    assert await text(page, "figure-piles") == "of 2 piles, 2 free"

    tx = edge.chain.transaction()
    edge.chain.seal(tx, events={tx.id: (opened(tx.id), started(tx.id))})
    await page.until("document.getElementById('figure-charging').innerText === '1'")
    await page.until("document.getElementById('sessions').innerText.includes('P-1')")

    stop = edge.chain.transaction("P-1")
    edge.chain.seal(stop, events={stop.id: (settled(tx.id),)})
    await page.until("document.getElementById('sessions').innerText.includes('¥11.10')")
    await page.until("document.getElementById('figure-settled').innerText === '1'")
    await page.until("document.querySelectorAll('#blocks li').length === 2")
    assert await text(page, "figure-sum") == "books balance: sum ¥0.00"
    assert "12.0 kWh" in await text(page, "figure-energy")
    assert "Teld→SGCC" in await text(page, "claims")
    assert await page.evaluate("document.querySelectorAll('#nodes li').length") == 4
    assert page.errors == []


async def test_F50_the_language_is_the_browsers_until_somebody_chooses(edge, page):
    edge.chain.seal(edge.chain.transaction())
    await page.open(address(edge), language="zh-CN")
    await page.until("document.getElementById('live')?.dataset.state === 'live'")
    assert await page.evaluate("document.documentElement.lang") == "zh-CN"
    assert "公司 SGCC" in await text(page, "nodes")
    # By keyboard: the second of the two language buttons.
    for _ in range(3):
        await page.press("Tab")
    assert await page.evaluate("document.activeElement.dataset.language") == "en"
    await page.press("Enter")
    assert await page.evaluate("document.documentElement.lang") == "en"
    await page.evaluate("window.before = true")
    await page.call("Page.reload")
    await page.until("!window.before && document.getElementById('live')?.dataset.state === 'live'")
    assert await page.evaluate("document.documentElement.lang") == "en"
    assert page.errors == []


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_F50_nothing_is_wider_than_a_phone(edge, page, path):
    edge.chain.seal(edge.chain.transaction())
    await page.open(address(edge, path), width=360, height=740, scheme="dark")
    await page.until("document.querySelectorAll('main li, main article').length > 4")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.errors == []


async def test_F50_texts_from_the_chain_stay_texts(edge, page):
    tx = edge.chain.transaction()
    edge.chain.seal(tx, events={tx.id: (opened(tx.id, "P-1"),)})
    await edge.indexed()
    with edge.engine.begin() as connection:
        evil = "<img src=x onerror=document.title=1>"
        connection.exec_driver_sql("UPDATE sessions SET pile = ?", (evil,))
    await page.open(address(edge))
    await page.until("document.getElementById('sessions').innerText.includes('<img')")
    assert await page.evaluate("document.querySelectorAll('#sessions img').length") == 0
