"""The page in a real browser with no network but the server: every feature, by mouse and by keyboard, light and dark."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from chromium import Browser, chromium
from served import Server, scene

ENTER, TAB, RIGHT = ("Enter", 13, "\r"), ("Tab", 9), ("ArrowRight", 39)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, server: Server, tmp_path: Path) -> Browser:
    """The page with an image on it."""
    (tmp_path / "scene.png").write_bytes(scene(1))
    browser.look("light")
    browser.open(f"{server.url}/")
    browser.wait("document.querySelector('#serving').textContent.includes('every, drawer, and small')")
    browser.choose_file("#file", tmp_path / "scene.png")
    browser.wait("!document.querySelector('#shown').hidden && document.querySelector('#image').naturalWidth === 96")
    return browser


def answers(page: Browser, number: int) -> str:
    """What the newest answer says, once there are so many."""
    page.wait(f"document.querySelectorAll('#answers > li').length === {number}")
    return str(page.js("document.querySelector('#answers > li').innerText"))


def test_every_feature(page: Browser, server: Server) -> None:
    page.click("#tool-caption .go")
    assert "sure" in answers(page, 1)
    page.click("#tab-answer")
    page.fill("#tool-answer [name=question]", "what colour is it?")
    page.press(*ENTER)
    assert "what colour is it?" in answers(page, 2)
    page.click("#tab-classify")
    page.fill("#tool-classify [name=labels]", "circle, square")
    page.click("#tool-classify .go")
    message = answers(page, 3)
    assert "circle" in message and "%" in message
    page.click("#tab-search")
    page.fill("#tool-search [name=text]", "a star")
    page.click("#tool-search .go")
    assert "1.png" in answers(page, 4)
    assert page.js("document.querySelectorAll('#answers > li:first-child .tiles img').length") == 5
    page.click("#tab-imagine")
    page.fill("#tool-imagine [name=prompt]", "a red star")
    page.click("#tool-imagine .go")
    answers(page, 5)
    page.click("#answers > li:first-child .tiles button")
    page.wait("document.querySelector('#image-name').textContent === 'generated-1.png'")
    page.click("#answers > li:nth-child(4) .again")  # the question comes back, with its image
    page.wait("document.querySelector('#image-name').textContent === 'scene.png'")
    assert page.js("document.querySelector('#tool-answer [name=question]').value") == "what colour is it?"
    page.click("#clear")
    page.wait("document.querySelectorAll('#answers > li').length === 0")
    assert [one for one in page.requested if not one.startswith((server.url, "blob:", "data:"))] == []
    assert page.complaints == []


def test_what_goes_wrong_is_told(page: Browser) -> None:
    page.click("#remove")
    page.click("#tool-caption .go")
    page.wait("document.querySelector('#problem').textContent === 'Choose an image first.'")
    page.js(
        "const carried = new DataTransfer(); carried.items.add(new File(['no image'], 'x.png', {type: 'image/png'}));"
        "dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried}))"
    )
    page.wait("document.querySelector('#image-name').textContent === 'x.png'")
    page.click("#tool-caption .go")
    page.wait("document.querySelector('#problem').textContent.startsWith('The image is not a file of JPEG')")
    page.complaints.clear()  # the browser tells of the 400


def test_the_keyboard_is_enough(page: Browser) -> None:
    page.js("document.querySelector('[role=tab][aria-selected=true]').focus()")
    page.press(*RIGHT)
    assert page.js("document.activeElement.id") == "tab-answer"
    assert page.js("document.querySelector('#tool-answer').hidden") is False
    page.press(*TAB)
    page.type("what is it?")
    page.press(*ENTER)
    assert "what is it?" in answers(page, 1)
    unnamed = (
        "[...document.querySelectorAll('button, input, select, a')]"
        ".filter((one) => !one.labels?.length && !one.innerText && !one.ariaLabel).map((one) => one.outerHTML)"
    )
    assert page.js(unnamed) == []


def test_pointing_at_a_word_shows_where_the_model_looked(page: Browser) -> None:
    page.click("#tool-caption [name=explain]")
    page.click("#tool-caption .go")
    answers(page, 1)
    page.point(".word")
    page.wait("document.querySelector('#heat').classList.contains('on')")
    alphas = page.js(
        "(() => { const one = document.querySelector('#heat');"
        " const all = one.getContext('2d').getImageData(0, 0, one.width, one.height);"
        " return [...all.data].filter((_, n) => n % 4 === 3); })()"
    )
    assert len(alphas) > 1 and min(alphas) == 0 < max(alphas)  # veiled, but for the place that counted most
    page.point("h1")
    page.wait("!document.querySelector('#heat').classList.contains('on')")
    assert page.complaints == []


def test_a_table_has_a_field_a_column_and_its_explanation(
    browser: Browser, served_models: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "scene.png").write_bytes(scene(1))
    with Server("--model", served_models["products"]) as server:
        browser.look("light")
        browser.open(f"{server.url}/")
        browser.wait("document.querySelector('#serving').textContent.includes('products')")
        shown = "[...document.querySelectorAll('[role=tab]')].filter((one) => !one.hidden).map((one) => one.textContent)"
        assert browser.js(shown) == ["Classify"]
        assert browser.js("[...document.querySelectorAll('[data-inputs] option')].map((one) => one.value)") == [
            "",
            "summer",
            "winter",
        ]
        browser.click("#tool-classify .go")
        browser.wait("document.querySelector('#problem').textContent === 'Choose an image, or write a text, or fill in a field.'")
        browser.fill("#tool-classify [name='tabular.price']", "80.5")
        browser.click("#tool-classify .go")
        message = answers(browser, 1)
        assert "price 80.5" in message and "season" not in message  # only what is filled in is sent
        browser.choose_file("#file", tmp_path / "scene.png")
        browser.js("document.querySelector(\"[name='tabular.season']\").value = 'winter'")
        browser.click("#tool-classify [name=explain]")
        browser.click("#tool-classify .go")
        message = answers(browser, 2)
        assert "price 80.5, season winter" in message and "The answer is based on: image" in message
        names = "[...document.querySelectorAll('#answers > li:first-child .units .name')].map((one) => one.textContent)"
        assert sorted(browser.js(names)) == ["price", "season"]
        browser.click("#answers > li:nth-child(2) .again")
        assert browser.js("document.querySelector(\"[name='tabular.price']\").value") == "80.5"
        assert browser.js("document.querySelector(\"[name='tabular.season']\").value") == ""
        browser.look("dark", width=390, height=844)
        assert browser.js("document.documentElement.scrollWidth <= innerWidth")
        assert browser.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(page: Browser, scheme: str) -> None:
    page.look(scheme, width=390, height=844)
    assert page.js("document.documentElement.scrollWidth <= innerWidth")  # nothing hangs over a narrow window
    shown = Image.open(io.BytesIO(page.screenshot())).convert("L")
    corner = shown.getpixel((2, 300))
    assert isinstance(corner, int)
    assert (corner > 200) == (scheme == "light")
