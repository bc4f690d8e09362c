"""A user's clients of the server of a test's module, and the kinds of store that it may be on."""

import secrets
from collections.abc import Iterator

import httpx
import openai
import pytest

from jan.testing import ThreadServer


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def storage(request: pytest.FixtureRequest) -> str:
    """The part of a configuration that names a store, of each kind in turn."""
    if request.param == "sqlite":
        return ""
    url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
    return f"storage: {{url: '{url}'}}\n"


@pytest.fixture
def key(server: ThreadServer) -> str:
    """A key of a new user, who may do what users may."""
    return server.add_user()


@pytest.fixture
def client(server: ThreadServer, key: str) -> httpx.Client:
    return server.connect(key)


@pytest.fixture
def sdk(server: ThreadServer, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client of the same user."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as found:
        yield found
