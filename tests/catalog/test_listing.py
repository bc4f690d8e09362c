"""Messages that list a repository's files."""

import pytest

from jan.catalog.hub import Listing, RepoFile
from jan.errors import NotFound


@pytest.mark.parametrize(
    ("count", "end"),
    [(0, "; available: none."), (2, "; available: 0.txt, 1.txt."), (40, ", 39.txt."), (45, ", 39.txt, 5 more.")],
)
def test_a_long_list_says_how_many_it_leaves_out(count: int, end: str) -> None:
    """A message about a missing file names those that are there, and counts those that it does not name."""
    files = tuple(RepoFile(f"{number}.txt", 1) for number in range(count))
    with pytest.raises(NotFound) as caught:
        Listing(repo="ada/tiny", commit="a" * 40, files=files).choose(["*.gguf"])
    assert str(caught.value).endswith(end)
