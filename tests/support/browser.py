"""A person at a browser: Debian's Chromium on JupyterLab's own pages.

While the browser runs, this thread cannot run another event loop: Playwright has one of its own in it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, Request, sync_playwright

#: What a page may take to show something, on two cores that also are the cluster.
_PATIENCE_MS = 120_000
_NOTEBOOK_CARD = '.jp-LauncherCard[data-category="Notebook"]'
_TERMINAL_CARD = '.jp-LauncherCard[title^="Start a new terminal"]'
_POST = "([path, headers]) => fetch(path, {method: 'POST', headers, body: '{}'}).then(it => it.status)"
_SOCKET = """url => new Promise(done => {
  const socket = new WebSocket(url);
  socket.onopen = () => done(true);
  socket.onerror = () => done(false);
})"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser without a window; it ends with the block."""
    program = shutil.which("chromium")
    assert program, "There is no chromium: `python -m tools.preflight browser` installs it."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(browser: Browser, url: str, picture: Path) -> Iterator[Lab]:
    """Open a tab for a person whom nobody knows yet; it is closed with the block.

    Args:
        browser: in which.
        url: of the server, without a path.
        picture: where the page is painted if the block fails.
    """
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(_PATIENCE_MS)
        lab = Lab(context.new_page(), url)
        try:
            yield lab
        except BaseException as error:
            picture.parent.mkdir(parents=True, exist_ok=True)
            lab.page.screenshot(path=picture)
            error.add_note(f"What the page showed: {picture.absolute()}")
            raise


class Lab:
    """JupyterLab in a tab.

    Attributes:
        page: the tab.
        strangers: hosts other than the server's own that the page asked for something.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page, self._url = page, url
        self.strangers: set[str] = set()
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        host = urlsplit(request.url).netloc
        if host not in ("", urlsplit(self._url).netloc):
            self.strangers.add(host)

    def log_in(self, token: str) -> None:
        """Type the token into the form that stands before everything, and wait for the page behind it."""
        self.page.goto(self._url)
        self.page.locator("input[name=password]").fill(token)
        self.page.keyboard.press("Enter")
        self.page.locator(".jp-LabShell").wait_for()

    def come_by(self, url: str) -> None:
        """Open a URL with a token in it, as `kubectl mlpools open` prints it."""
        self.page.goto(url)
        self.page.locator(".jp-LabShell").wait_for()

    def quiet(self) -> Locator:
        """What stands in its corner while nothing was announced and nothing is asked."""
        return self.page.get_by_title("No notifications")

    def new_notebook(self) -> None:
        """Start a notebook with the first kernel of the launcher, and wait until that is ready."""
        self._choose(_NOTEBOOK_CARD)
        # The circle beside the kernel's name says so before there is a kernel; the words below do not.
        self.kernel("Idle").wait_for()

    def run(self, code: str) -> None:
        """Type into the selected cell, and start it."""
        cell = self._visible(".jp-Notebook .jp-mod-selected .cm-content")
        cell.fill(code)
        cell.press("Shift+Enter")

    def printed(self, words: str) -> Locator:
        """An output of a cell that has these words."""
        return self._visible(".jp-Notebook .jp-OutputArea-output").filter(has_text=words)

    def kernel(self, state: str) -> Locator:
        """The words at the foot of the page that say so of the open document's kernel."""
        return self.page.get_by_role("button", name=f"| {state}")

    def save_as(self, name: str) -> None:
        """Save the new document that is open, under a name that JupyterLab asks for."""
        self.page.keyboard.press("Control+s")
        self._visible(".jp-Dialog input[type=text]").fill(name)
        self.page.keyboard.press("Enter")
        self.file(name).wait_for()

    def file(self, name: str) -> Locator:
        """A file in the list at the left, which is read anew every few seconds."""
        return self._visible(".jp-DirListing-itemText").get_by_text(name, exact=True)

    def open_file(self, name: str) -> None:
        """Open a file of the list at the left."""
        self.file(name).dblclick()

    def new_terminal(self) -> None:
        """Start a terminal, and go to it."""
        self._choose(_TERMINAL_CARD)
        self._visible(".jp-Terminal .xterm-screen").click()

    def post(self, path: str, **headers: str) -> int:
        """Have the page send a POST, with its cookies, and return the status of the answer."""
        return int(self.page.evaluate(_POST, [path, headers]))

    def xsrf(self) -> str:
        """What the page itself puts into the header `X-XSRFToken`."""
        cookies = self.page.context.cookies(self._url)
        return next(cookie["value"] for cookie in cookies if cookie["name"] == "_xsrf")

    def stranger(self, url: str) -> Lab:
        """Open another's page in the same browser, which has the cookies of this one."""
        page = self.page.context.new_page()
        page.goto(url)
        return Lab(page, self._url)

    def connects(self, path: str) -> bool:
        """Say whether the page can open a WebSocket of the server."""
        return bool(self.page.evaluate(_SOCKET, self._url.replace("http", "ws", 1) + path))

    def type(self, text: str) -> None:
        """Type a line where the cursor is."""
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def _choose(self, card: str) -> None:
        # What was open at the last visit is open again, before the launcher or in its place.
        self.page.get_by_role("button", name="New Launcher (").click()
        self._visible(card).click()

    def _visible(self, selector: str) -> Locator:
        # Each open document keeps its own part of the page, also behind another.
        return self.page.locator(selector).filter(visible=True)
