"""Headless Chromium for tests."""

# A browser that talks to nobody but the page's own server, also as root and without a GPU.
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
