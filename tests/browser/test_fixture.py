"""tests/conftest.py: the browser fixtures."""

import http.server
import threading
from collections.abc import Iterator

import pytest

PAGE = b"""<!doctype html><title>stage</title><h1>Curtain</h1>
<img src="https://example.org/spy.png"><script>document.querySelector("h1").textContent += " up"</script>"""


class Stage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *words: object) -> None:
        """Log nothing."""


@pytest.fixture
def stage() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stage)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.browser
def test_a_page_opens_and_nothing_leaves(page, outside, stage) -> None:
    page.goto(stage)
    assert page.inner_text("h1") == "Curtain up"
    assert outside == ["https://example.org/spy.png"]


@pytest.mark.browser
def test_visitors_do_not_share_storage(visitors, stage) -> None:
    first, second = visitors().new_page(), visitors().new_page()
    first.goto(stage)
    second.goto(stage)
    first.evaluate("localStorage.setItem('who', 'first')")
    assert second.evaluate("localStorage.getItem('who')") is None
