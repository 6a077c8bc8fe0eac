"""Pages of other sites attack a server on this machine, in a real browser: no request of theirs is answered."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chromium import OTHER_SITE, Browser, chromium
from served import Server, data_uri, scene

REFUSED = "pages of other sites may not use this server; start it with --api-key-file to let them"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """A web server of somebody else, whose pages are empty."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title>")

        def log_message(self, *_: object) -> None:
            """Do not log."""

    site = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield site.server_port
    site.shutdown()
    site.server_close()


# A page of another port of this machine is of the same site; only its Origin tells.
@pytest.fixture(params=["127.0.0.1", OTHER_SITE])
def other(request: pytest.FixtureRequest, browser: Browser, other_port: int) -> Browser:
    """The browser on a page of somebody else."""
    browser.open(f"http://{request.param}:{other_port}/")
    assert browser.js("document.title") == "other"
    return browser


def answered(server: Server) -> float:
    """Requests for work that were answered, whatever the answer."""
    return sum(server.metric(f'braid_requests_total{{route="{route}",status="200"}}') for route in ("/v1/caption", "/v1/models"))


def refused(server: Server) -> float:
    return server.metric('braid_errors_total{code="cross_site"}')


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_script_of_another_site_posts(other: Browser, server: Server, mode: str, kind: str) -> None:
    before, errors = answered(server), refused(server)
    body = f'JSON.stringify({{image: "{data_uri(scene(1))}"}})'
    sent = f"method: 'POST', mode: '{mode}', headers: {{'Content-Type': '{kind}'}}, body: {body}"
    fetched = f"fetch('{server.url}/v1/caption', {{{sent}}})"
    told = other.js(f"{fetched}.then((answer) => answer.text(), (error) => error.name)")
    assert told in ("TypeError", "")  # the browser shows nothing of an answer to a page of another site
    assert answered(server) == before
    assert refused(server) > errors


def test_a_form_of_another_site_posts(other: Browser, server: Server) -> None:
    before = answered(server)
    other.js(
        f'document.body.innerHTML = \'<form method=post enctype=multipart/form-data action="{server.url}/v1/caption">'
        "<input name=image value=x></form>'; document.forms[0].submit()"
    )
    other.wait("document.readyState === 'complete' && document.body.innerText.includes('cross_site')")
    assert REFUSED in other.js("document.body.innerText")
    assert answered(server) == before


def test_a_frame_without_an_origin_posts(other: Browser, server: Server) -> None:
    """A sandboxed frame sends Origin: null."""
    before, errors = answered(server), refused(server)
    posted = f"fetch(`{server.url}/v1/caption`, {{method: `POST`, mode: `no-cors`, body: `{{}}`}})"
    script = f"{posted}.finally(() => parent.postMessage(1, `*`))"
    other.js(
        "new Promise((done) => { addEventListener('message', done, {once: true});"
        " const frame = document.createElement('iframe'); frame.sandbox = 'allow-scripts';"
        f" frame.srcdoc = '<script>{script}</' + 'script>'; document.body.append(frame); }}).then(() => 1)"
    )
    assert answered(server) == before
    assert refused(server) == errors + 1


def test_a_name_of_another_site_that_leads_to_this_machine(browser: Browser, server: Server) -> None:
    """DNS rebinding: the page and the server then have the same origin, and only the name tells."""
    port = server.url.rpartition(":")[2]
    before = answered(server)
    browser.open(f"http://{OTHER_SITE}:{port}/")
    assert "this server answers to the name localhost only" in browser.js("document.body.innerText")
    asked = browser.js("fetch('/v1/models').then(async (answer) => [answer.status, (await answer.json()).error.code])")
    assert asked == [403, "wrong_host"]
    assert answered(server) == before


def test_a_page_of_another_site_neither_frames_nor_embeds(other: Browser, server: Server) -> None:
    for element in (f"<img src='{server.url}/v1/models'>", f"<script src='{server.url}/v1/models'></script>"):
        before = answered(server)
        other.js(
            "new Promise((done) => { const made = document.createRange().createContextualFragment("
            f'"{element}").firstChild; made.onload = made.onerror = (event) => done(event.type); document.body.append(made); }})'
        )
        assert answered(server) - before <= (OTHER_SITE not in other.js("location.host"))  # same site: read, but shown to nobody
    framed = other.js(
        "new Promise((done) => { const frame = document.createElement('iframe'); frame.onload = () => {"
        " try { done(frame.contentDocument?.title ?? 'closed') } catch { done('closed') } };"
        f" frame.src = '{server.url}/'; document.body.append(frame); }})"
    )
    assert framed == "closed"
