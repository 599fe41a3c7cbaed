"""A page of the explorer in chromium, which may ask for nothing but its own server."""

import json
import shlex
import shutil
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from hanging import HUNG_SECONDS, wait_until

# The shell draws no window: it needs two thirds of the time.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)
_WAIT = HUNG_SECONDS * 1000  # in milliseconds, as playwright counts


def launch(playwright):
    """Start chromium with WebGL2 in software, in which nothing else is drawn: that would take a
    third more time.
    """
    flags = [
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--disable-gpu-compositing",
        "--disable-gpu-rasterization",
    ]
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=_WAIT)


def new_page(context):
    """Open an empty page in a window."""
    context.set_default_timeout(_WAIT)
    return context.new_page()


@dataclass
class Visit:
    """A visit to the page.

    Attributes:
        browser: Browser.
        url: Address of the page with its token.
        problems: Errors of the page, and requests to other hosts, which were not let out.
        expected: Part of the notes of chromium that are no problem from now on, in lower case;
            empty for none. They may come at any time after what they are about.
        refused: Answers with an error.
    """

    browser: Any
    url: str
    problems: list[str] = field(default_factory=list)
    expected: str = ""
    contexts: list[Any] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)

    def open(self, width=1200, height=800, scheme="light", **state):
        """Open the page in a new window, with a state in its address; by default it makes the maps
        that are missing.
        """
        address = self.url if "#" in self.url else f"{self.url}#{urlencode({'make': '1', **state})}"
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.contexts.append(context)
        page = new_page(context)
        page.route("**/*", self._let_out)
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self._note(message)
        )
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on(
            "response", lambda response: response.status >= 400 and self.refused.append(response)
        )
        page.on(
            "dialog",
            lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()),
        )
        page.goto(address)
        return page

    def _note(self, message):
        is_expected = bool(self.expected) and self.expected in message.text.lower()
        # Chromium about screenshots of WebGL.
        if not is_expected and "GPU stall due to ReadPixels" not in message.text:
            self.problems.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _let_out(self, route):
        url = route.request.url
        if url.startswith((f"http://{self.url.split('/')[2]}/", "blob:", "data:")):
            route.continue_()
        else:
            self.problems.append(f"asked for {url}")
            route.abort()

    def close(self):
        """Close the windows; problems then say what was answered."""
        for context in self.contexts:
            for page in context.pages:
                page.wait_for_timeout(0)  # what has happened is told now
        answers = [
            f"{response.url}: {response.text()}" for response in self.refused if self.problems
        ]
        self.problems += [answer for answer in answers if not self.expected]
        for context in self.contexts:
            context.close()


def until(page, expression):
    """Wait until an expression is true. Playwright's own way to wait evaluates text, which the page
    forbids.
    """
    wait_until(
        lambda: page.evaluate(f"!!({expression})"), expression, lambda: page.wait_for_timeout(30)
    )


SIDEWAYS = """() => [...document.querySelectorAll("main, main *")]
    .filter((each) => each.scrollWidth > each.clientWidth + 1)
    .filter((each) => ["auto", "scroll"].includes(getComputedStyle(each).overflowX) && !each.matches(".scroll"))
    .map((each) => each.outerHTML.slice(0, 80))"""
"""Elements that scroll sideways, besides the containers of tables."""
_PANELS = """() => (window.explorer?.panels || []).map((panel) => ({
    map: Boolean(panel.map), frame: panel.frameMilliseconds, width: panel.width, hidden: panel.plot.hidden,
    isLost: panel.scatter?.gl.isContextLost(), text: panel.element.innerText,
}))"""


def wait_for_map(page, n_panels=1):
    """Wait until the maps of all panels are drawn."""
    drawn = "explorer.panels.every((panel) => panel.map && panel.frameMilliseconds !== undefined)"
    try:
        until(page, f"window.explorer?.panels.length === {n_panels} && {drawn}")
    except AssertionError as error:
        raise AssertionError(f"{error}; panels: {page.evaluate(_PANELS)}") from error


def until_drawn(page):
    """Wait until the maps of all panels show what the page knows by now, and nothing moves."""
    until(page, "explorer.panels.every((panel) => panel.map && !panel.pending && !panel.isMoving)")


def copied(page, button):
    """Click a button that copies, and return what it has copied."""
    page.evaluate("navigator.clipboard.writeText('')")
    page.get_by_role("button", name=button).first.click()
    until(page, "navigator.clipboard.readText()")
    return str(page.evaluate("navigator.clipboard.readText()"))


def run(command):
    """Return the rows that a command prints which the page gives."""
    from embstore_cli.main import app
    from typer.testing import CliRunner

    program, *words = shlex.split(command)
    assert program == "embstore"
    result = CliRunner().invoke(app, [*words, "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def violations(page):
    """Return what axe-core finds that keeps people out: the rule, the element and why; without it,
    skip the test.
    """
    import pytest

    reason = "axe-core comes with axe-playwright-python (extra dev)"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason)
    serious = [
        each
        for each in axe.Axe().run(page).response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    return [
        (each["id"], node["html"][:200], node.get("failureSummary"))
        for each in serious
        for node in each["nodes"]
    ]


def pixels(page):
    """Return a picture of the first panel's items, without labels and text, once they are drawn."""
    until_drawn(page)
    return bytes(
        page.evaluate("Array.from(explorer.panels[0].canvas.toDataURL(), (c) => c.charCodeAt(0))")
    )
