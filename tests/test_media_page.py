"""The page in a real browser with a model that hears and sees: files, drops, recording, playback, heat over time."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn

from braid import config
from braid.encoders import EncoderConfig
from braid.server import Access, Limits
from braid.server.app import application
from braid.server.endpoints import Service
from braid.server.guard import Metrics
from braid.server.models import open_catalogue
from braid.server.uploads import Uploads
from chromium import Browser, chromium
from heard import HeardEncoderConfig, moving, mp4, tone, wav, write_hearing_model


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of one model in this process, because only this process knows the model's encoder."""
    config.add_kind(EncoderConfig, HeardEncoderConfig)
    folder = write_hearing_model(tmp_path_factory.mktemp("heard") / "heard")
    limits, monitoring = Limits(), Metrics()
    service = Service(
        open_catalogue([str(folder)], None, limits, monitoring), Uploads(10**6, lambda url: b""), limits, monitoring
    )
    running = uvicorn.Server(uvicorn.Config(application(service, Access()), port=0, log_level="error"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
    (socket,) = running.servers[0].sockets
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    running.should_exit = True
    thread.join()
    config.remove_kind(EncoderConfig, HeardEncoderConfig)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, address: str, tmp_path: Path) -> SimpleNamespace:
    (tmp_path / "dog.wav").write_bytes(wav(tone(1.5)))
    (tmp_path / "clip.mp4").write_bytes(mp4(moving()))
    browser.complaints.clear()
    browser.look("light")
    browser.open(address)
    browser.wait("document.querySelector('#serving').textContent.includes('heard')")
    return SimpleNamespace(browser=browser, sound=tmp_path / "dog.wav", clip=tmp_path / "clip.mp4")


SOUND, CLIP = "[data-media=audio]", "[data-media=video]"


def answered(browser: Browser, number: int) -> str:
    browser.wait(
        f"document.querySelectorAll('#answers > li').length === {number} || document.querySelector('#problem').textContent"
    )
    assert browser.js("document.querySelector('#problem').textContent") == ""
    return str(browser.js("document.querySelector('#answers > li').innerText"))


def test_a_recording_is_played_drawn_and_labelled(page: SimpleNamespace) -> None:
    browser: Browser = page.browser
    assert browser.js("document.querySelector('#stage').hidden") is True  # this model reads no images
    browser.click("#tab-classify")
    browser.click("#tool-classify .go")
    browser.wait("document.querySelector('#problem').textContent.startsWith('Choose a recording or a clip')")
    browser.choose_file(f"{SOUND} input", page.sound)
    browser.wait(f"!document.querySelector('{SOUND} .wave').hidden && document.querySelector('{SOUND} audio').duration > 1.4")
    browser.js("document.querySelector('#tool-classify [name=explain]').checked = true")
    browser.click("#tool-classify .go")
    message = answered(browser, 1)
    assert "is based most on" in message and "0.0 s" in message and "1.5 s" in message
    assert browser.js("document.querySelector('#answers .card > img').src.startsWith('data:image/png')") is True
    browser.click("#answers .strip button:nth-child(6)")
    browser.wait(f"document.querySelector('{SOUND} audio').currentTime >= 0.5")
    browser.click(f"{SOUND} .buttons button")
    browser.wait(f"document.querySelector('{SOUND} .shown').hidden")
    browser.click("#answers .again")  # the question comes back, with its recording
    browser.wait(f"document.querySelector('{SOUND} .name').textContent === 'dog.wav'")
    browser.look("dark", width=390, height=844)
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    assert browser.complaints == []


def test_a_clip_is_dropped_and_described_though_the_browser_cannot_play_it(page: SimpleNamespace) -> None:
    browser: Browser = page.browser
    browser.choose_file(f"{CLIP} input", page.clip)
    browser.wait(f"document.querySelector('{CLIP} .name').textContent.startsWith('clip.mp4')")
    browser.click("#tab-caption")
    browser.click("#tool-caption .go")
    assert "sure" in answered(browser, 1)
    browser.js(
        "const carried = new DataTransfer(); carried.items.add(new File(['x'], 'dropped.ogg', {type: 'audio/ogg'}));"
        "dispatchEvent(new DragEvent('drop', {dataTransfer: carried, cancelable: true}))"
    )
    browser.wait(f"document.querySelector('{SOUND} .name').textContent.startsWith('dropped.ogg')")
    browser.click("#tool-caption .go")
    browser.wait("document.querySelector('#problem').textContent.startsWith('The audio')")
    browser.complaints.clear()  # the browser tells of the 400


def test_a_recording_is_made_in_the_browser(page: SimpleNamespace) -> None:
    browser: Browser = page.browser
    browser.click(f"{SOUND} .record")
    browser.wait(f"document.querySelector('{SOUND} .record').textContent === 'Stop'")
    browser.js("new Promise((done) => setTimeout(done, 700))")
    browser.click(f"{SOUND} .record")
    browser.wait(f"document.querySelector('{SOUND} .name').textContent.startsWith('recorded.')")
    browser.click("#tab-classify")
    browser.click("#tool-classify .go")
    assert "%" in answered(browser, 1)
    assert browser.complaints == []


def test_without_a_recorder_the_page_works(page: SimpleNamespace, address: str) -> None:
    browser: Browser = page.browser
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.MediaRecorder")
    browser.open(address)
    browser.wait("document.querySelector('#serving').textContent.includes('heard')")
    assert browser.js("document.querySelectorAll('.record').length") == 0
    browser.choose_file(f"{SOUND} input", page.sound)
    browser.click("#tab-classify")
    browser.click("#tool-classify .go")
    assert "%" in answered(browser, 1)
