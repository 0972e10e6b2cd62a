"""A real browser for the tests of pages, and what it asks of whom."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Request, sync_playwright

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
def chromium() -> Iterator[Browser]:
    """A browser; playwright bears no second one beside it in a process."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
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
