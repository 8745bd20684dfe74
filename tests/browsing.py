"""One headless Chromium for tests, with what a reader of its log and of its network would ask."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["Browser", "browser", "served_page"]


class Browser:
    """A page in Chromium. ``width`` and the colour scheme are emulated; the log is read and emptied by `problems`."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.do = driver.execute_script
        driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})  # Tab may leave the page

    def look(self, width: int = 1440, height: int = 900, scheme: str = "light") -> None:
        """Set the size of the window and the colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        media = {"features": [{"name": name, "value": value} for name, value in wanted.items()]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def open(self, url: str) -> None:
        """Go to a page anew, and wait until it is drawn."""
        self.driver.get("about:blank")
        self.problems()
        self.asked()
        self.driver.get(url)
        self.until("return document.documentElement.dataset.ready")

    def until(self, script: str, seconds: float = 20.0) -> Any:
        """Wait until a script gives something true, and return it."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(lambda d: d.execute_script(script))

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def focused(self) -> str:
        """Return the key, or id, of what has the focus."""
        found: str = self.do("const a = document.activeElement; return a.dataset.key || a.id || a.tagName")
        return found

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element, as it is shown."""
        found: list[str] = self.do(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector
        )
        return found

    def problems(self) -> list[str]:
        """Return what the console said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def asked(self) -> list[str]:
        """Return the addresses of every request since this was asked last."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Give a browser, or skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(opened)
    finally:
        opened.quit()


@contextmanager
def served_page(shop: Any) -> Iterator[str]:
    """Give the address of a page that is served in a thread of this process."""
    pytest.importorskip("fastapi", reason='needs the server: pip install "e2i-fs[server]"')
    uvicorn = pytest.importorskip("uvicorn", reason='needs the server: pip install "e2i-fs[server]"')

    from e2i_fs.page.app import make_app
    from e2i_fs.wire.listening import Http, address_of, listen

    listener = listen("127.0.0.1", 0)
    http = Http(uvicorn.Config(make_app(shop), log_config=None, ws="none", lifespan="off"))
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address_of("127.0.0.1", listener)
    finally:
        http.should_exit = True
        thread.join()
