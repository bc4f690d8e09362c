"""Which tests run: ``pytest --quick`` leaves out what takes long, and the longest files come first."""

from pathlib import Path

import pytest

#: What a contributor's loop does without.
NOT_QUICK = ("load", "slow", "torch", "model", "sdk", "browser")
# A file with one of these imports it for seconds, even if none of its tests is selected.
_NEEDS_TORCH = ('\npytest.importorskip("torch"', "\npytestmark = pytest.mark.torch\n")


class Quick:
    """Select the tests of ``--quick``."""

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out files that need PyTorch as a whole."""
        if collection_path.suffix != ".py":
            return None
        text = collection_path.read_text()
        return any(line in text for line in _NEEDS_TORCH) or None

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out every other test with one of the marks."""
        left_out = [item for item in items if any(map(item.get_closest_marker, NOT_QUICK))]
        config.hook.pytest_deselected(items=left_out)
        chosen = set(items) - set(left_out)
        items[:] = [item for item in items if item in chosen]


def longest_first(items: list[pytest.Item]) -> None:
    """Sort files with ``load`` tests to the front, so that in the end no worker waits for another."""
    long = {item.path for item in items if item.get_closest_marker("load")}
    items.sort(key=lambda item: item.path not in long)
