"""A real browser for the tests of pages, and what it asks of whom."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Request, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def browser(width: int = 1280, height: int = 1000) -> Iterator[BrowserContext]:
    """A fresh browser, as somebody has it who was never there."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started.new_context(viewport={"width": width, "height": height})
        started.close()


def elsewhere(url: str) -> bool:
    """Whether an address is not this machine's."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in (
        "127.0.0.1",
        "localhost",
    )


def strangers(context: BrowserContext) -> list[str]:
    """Fills up with what pages ask of other machines; nothing of it is let out."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if elsewhere(request.url):
            asked.append(request.url)

    context.on("request", note)
    context.route(elsewhere, lambda route: route.abort())
    return asked
