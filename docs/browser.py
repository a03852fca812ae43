"""Opens the built site from disk in headless Chromium, wide and narrow: ``python docs/browser.py out/docs``.

On every page it looks for errors of the console, requests to a network, formulas that were not set, and content that
is wider than the window; and it searches. The browser is driven over a pipe, so nothing but it is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTHS = {"desktop": 1280, "phone": 390}
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0
"""Seconds that the browser may take for one answer."""

READY = """(async () => {
  if (document.readyState !== "complete") await new Promise(done => addEventListener("load", done));
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const formulas = [...document.querySelectorAll(".math")];
  return {
    width: document.documentElement.scrollWidth,
    window: document.documentElement.clientWidth,
    unset: formulas.filter(f => !f.querySelector("mjx-container")).map(f => f.textContent.slice(0, 60)),
    wrong: document.querySelectorAll("mjx-merror, [data-mml-node=merror]").length,
  };
})()"""

FOUND = """new Promise(done => {
  const end = Date.now() + 10000;
  const look = () => {
    const found = document.querySelectorAll("#search-results li a").length;
    found || Date.now() > end ? done(found) : setTimeout(look, 50);
  };
  look();
})"""


class Browser:
    """A page of a running Chromium: commands over one pipe, answers and events over another."""

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers, self._rest, self._count = commands, answers, b"", 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that arrive meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = self._read()
            if answer.get("id") != self._count:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return dict(answer["result"])
        raise TimeoutError(f"{method}: no answer in {PATIENCE:g} s")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def value(self, expression: str) -> Any:
        """Return what a promise in the page resolves to."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"]["value"]

    def open(self, url: str, width: int) -> None:
        """Go to a page in a window of a width, and forget the events of the last."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.events.clear()
        self.call("Page.navigate", url=url)


def find() -> str | None:
    """Return the Chromium of this machine, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Run Chromium with a profile of its own."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage --remote-debugging-pipe"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from file 3 and writes answers to file 4.
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", shell, program, *flags.split(), f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdout=quiet, stderr=quiet)
        os.close(theirs_in), os.close(theirs_out)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            os.close(ours_out), os.close(ours_in)
            process.terminate()
            process.wait(PATIENCE)


def faults(tab: Browser, page: Path, width: int) -> list[str]:
    """Return what is wrong with one page at one width."""
    tab.open(page.as_uri(), width)
    seen = tab.value(READY)
    found = [f"a formula is not set: {text}" for text in seen["unset"]]
    if seen["wrong"]:
        found.append(f"{seen['wrong']} formulas are wrong")
    if seen["width"] > seen["window"]:
        found.append(f"{seen['width']} pixels wide in a window of {seen['window']}")
    return found + _said(tab)


def _said(tab: Browser) -> list[str]:
    """Return errors of the console, exceptions, and requests that leave the disk."""
    found = []
    for event in tab.events:
        about = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                found.append(f"exception: {about['exceptionDetails'].get('text')}")
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "assert"):
                found.append(f"console: {[argument.get('value') for argument in about['args']]}")
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                found.append(f"log: {about['entry']['text']} {about['entry'].get('url', '')}")
            case "Network.requestWillBeSent" if about["request"]["url"].startswith(("http:", "https:", "ws")):
                found.append(f"request: {about['request']['url']}")
            case "Network.loadingFailed" if not about.get("canceled"):
                found.append(f"not loaded: {about['errorText']}")
    return found


def problems(program: str, site: Path, pages: Iterable[Path], word: str) -> list[str]:
    """Return what is wrong on the pages, at both widths, and with a search for the word."""
    found = []
    with browser(program) as tab:
        for name, width in WIDTHS.items():
            for page in pages:
                where = f"{page.relative_to(site)}, {name}"
                found += [f"{where}: {fault}" for fault in faults(tab, page, width)]
            tab.open(f"{(site / 'search.html').as_uri()}?q={word}", width)
            if not tab.value(FOUND):
                found.append(f"search, {name}: nothing is found for {word}")
            found += [f"search, {name}: {said}" for said in _said(tab)]
    return found


def main() -> None:
    """Check the whole site and exit with 1 where something is wrong, with 2 where there is no browser."""
    site, program = Path(sys.argv[1]).resolve(), find()
    if program is None:
        sys.exit("expected: one of " + ", ".join(NAMES) + "; received: none; remedy: install chromium")
    pages = sorted(
        page for page in site.rglob("*.html") if "_modules" not in page.parts and "_static" not in page.parts
    )
    found = problems(program, site, pages, "Wronskian")
    sys.stdout.write("".join(f"{line}\n" for line in found) + f"{len(pages)} pages, {len(found)} problems\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
