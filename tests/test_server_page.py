"""The page in a real browser with no network but the server: every feature, by mouse and by keyboard, light and dark."""

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from PIL import Image

from braid.server.app import STATIC
from chromium import Browser, chromium
from served import Server, data_uri, scene

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


@contextmanager
def below(prefix: str, server: Server) -> Iterator[str]:
    """A proxy that serves the server below a prefix, as nginx does: location /braid/ { proxy_pass http://...:8000/; }"""

    class Proxy(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            upstream = HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream.request(self.command, "/" + self.path.removeprefix(prefix), body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name in ("Content-Type", "Content-Security-Policy"):
                if value := answer.getheader(name):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            upstream.close()

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Do not log."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_below_a_prefix_of_a_proxy(browser: Browser, server: Server, tmp_path: Path) -> None:
    (tmp_path / "scene.png").write_bytes(scene(1))
    with below("/tools/braid/", server) as url:
        browser.look("light")
        browser.open(url)
        browser.wait("document.querySelector('#serving').textContent.includes('every, drawer, and small')")
        browser.choose_file("#file", tmp_path / "scene.png")
        browser.wait("!document.querySelector('#shown').hidden")
        browser.click("#tool-caption .go")
        assert "sure" in answers(browser, 1)
        assert [one for one in browser.requested if not one.startswith((url, "blob:", "data:"))] == []
        assert browser.complaints == []


def test_every_file_of_the_page_is_found_below_a_prefix(server: Server) -> None:
    with below("/tools/braid/", server) as url:
        waiting, seen = [url], set()
        while waiting:
            address = waiting.pop()
            seen.add(address)
            answer = httpx.get(address)
            assert answer.status_code == 200, address
            found = re.findall(r"""(?:href|src|from|get)[=( ]"([^"#:]+)\"""", answer.text)
            waiting += {urljoin(address, one) for one in found} - seen
        names = {file.name for file in STATIC.iterdir()} - {"index.html"}
        assert seen == {url, *(f"{url}{name}" for name in names), f"{url}abilities"}
        assert httpx.post(f"{url}v1/caption", json={"image": data_uri(scene(1))}).status_code == 200


def test_no_address_of_the_page_begins_at_the_root() -> None:
    for file in STATIC.iterdir():
        assert not re.search(r"""["'`(=]/[\w$]""", re.sub(r"//.*", "", file.read_text())), file.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(page: Browser, scheme: str) -> None:
    page.look(scheme, width=390, height=844)
    assert page.js("document.documentElement.scrollWidth <= innerWidth")  # nothing hangs over a narrow window
    shown = Image.open(io.BytesIO(page.screenshot())).convert("L")
    corner = shown.getpixel((2, 300))
    assert isinstance(corner, int)
    assert (corner > 200) == (scheme == "light")
