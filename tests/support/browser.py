"""Headless Chromium for tests, which never waits for one that does not end."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page, sync_playwright

from support.patience import otherwise

# A browser that talks to nobody but the page's own server, also as root, without a GPU, with little /dev/shm.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
)
_PATIENCE_MS = 120_000
_CLOSE_SECONDS = 30


@contextmanager
def chromium(profile: Path, **options: Any) -> Iterator[BrowserContext]:
    """Chromium with a profile of its own. Where there is none the test is skipped, but not where everything is
    expected to be there."""
    executable = _executable()
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=executable, args=list(_FLAGS), timeout=_PATIENCE_MS, **options
        )
        try:
            context.set_default_timeout(_PATIENCE_MS)
            yield context
        finally:
            # What the test is about has been said; a browser that hangs, or that is gone, is closed too.
            with otherwise(lambda: _kill(profile), _CLOSE_SECONDS), suppress(Error):
                context.close()


def slow_down(context: BrowserContext, times: float) -> None:
    """Make the pages that will be opened so many times slower: ``pytest --slow-browser``."""

    def slow(page: Page) -> None:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": times})

    context.on("page", slow)


def _executable() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("CI has no Chromium; .ci/run installs it")
    if found is None:
        pytest.skip("no Chromium on PATH (on Debian: apt-get install chromium)")
    return found


def _kill(profile: Path) -> None:
    """End the processes of the browser that has this profile."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(profile).encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
