"""The dashboard behind a real nginx that ends TLS, in a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Page, WebSocketRoute, expect, sync_playwright

from cc_ray.serve import Settings
from tests.benchmarks.make_store import make_store

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CHROMIUM = os.environ.get("CC_RAY_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
CONF = (Path(__file__).parents[2] / "cluster" / "nginx.conf").read_text()
START_S = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx: `apt-get install nginx-light`"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: `apt-get install chromium`"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Site:
    """A dashboard, which can be ended and begun again, and nginx before it."""

    def __init__(self, folder: Path, login: Path) -> None:
        make_store(folder / "store", models=8, instances=60)
        self._folder = folder
        self._inner, self._outer = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._outer}/"
        settings = Settings(hosts=("127.0.0.1",), login=str(login), proxies=("127.0.0.1",))  # type: ignore[arg-type]
        self._arguments = [str(folder / "store"), str(self._inner), settings.model_dump_json()]

    @contextmanager
    def dashboard(self) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.serve.server", *self._arguments]
        with running(command, self._folder / "dashboard.log", f"http://127.0.0.1:{self._inner}/healthz"):
            yield

    @contextmanager
    def nginx(self) -> Iterator[None]:
        certificate(self._folder)
        conf = CONF.replace("443", str(self._outer)).replace("127.0.0.1:8765", f"127.0.0.1:{self._inner}")
        conf = conf.replace("/etc/ssl/cc-ray", str(self._folder)).replace("lab.example.org", "127.0.0.1")
        temporary = "".join(
            f"{name}_temp_path {self._folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = f"daemon off; pid {self._folder}/pid; error_log {self._folder}/error.log; events {{}}"
        (self._folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {temporary} {conf} }}")
        command = [str(NGINX), "-c", str(self._folder / "nginx.conf"), "-e", str(self._folder / "error.log")]
        with running(command, self._folder / "nginx.log"):
            yield


@contextmanager
def running(command: list[str], log: Path, url: str = "") -> Iterator[None]:
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            until = time.monotonic() + START_S
            while url and not answers(url):
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2):
        return True
    return False


def certificate(folder: Path) -> None:
    """A certificate that nobody signed but its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(encoding))
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))


@contextmanager
def browser_page(wrong: list[str]) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(ignore_https_errors=True, viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page
        browser.close()


def shown(page: Page) -> None:
    expect(page.locator(".map-card canvas").first).to_be_visible(timeout=30_000)


def test_people_log_in_look_survive_a_restart_and_leave(tmp_path: Path, login: Path) -> None:
    wrong: list[str] = []
    site = Site(tmp_path, login)
    with ExitStack() as stack:
        stack.enter_context(site.nginx())
        first = stack.enter_context(ExitStack())
        first.enter_context(site.dashboard())
        page = stack.enter_context(browser_page(wrong))

        page.goto(f"{site.url}?page=overview&x=size_bytes")
        assert "/login?next=" in page.url
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill("correct horse")
        page.keyboard.press("Enter")
        shown(page)
        expect(page.locator(".whoami")).to_contain_text("anna operator")
        assert page.evaluate("document.cookie") == ""
        cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
        assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies.values())
        assert {"__Host-cc-ray", "cc-ray-replica"} == set(cookies)
        assert wrong == []

        address = page.url
        first.close()
        expect(page.locator("body.connection-lost")).to_be_attached(timeout=30_000)
        stack.enter_context(site.dashboard())
        expect(page.locator("body.connection-lost")).not_to_be_attached(timeout=30_000)
        shown(page)
        assert page.url == address

        # A websocket that cannot be made: the page tries again by itself.
        refused: list[str] = []

        def connect(socket: WebSocketRoute) -> None:
            if refused:
                socket.connect_to_server()
            else:
                refused.append(socket.url)
                socket.close()

        page.route_web_socket(re.compile("/ws"), connect)
        page.reload()
        shown(page)
        assert refused

        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("status")).to_have_text("You are signed out.")
        page.goto(site.url)
        assert "/login?next=" in page.url
