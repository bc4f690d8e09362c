"""The smallest requests: health and version."""

from datetime import datetime

import httpx


def test_health_is_as_the_reference_shows(echo: httpx.Client) -> None:
    """GET /health answers status ok and a UTC timestamp, and nothing else."""
    body = echo.get("/health").json()
    assert set(body) == {"status", "timestamp"}
    assert body["status"] == "ok"
    assert body["timestamp"].endswith("Z")
    assert datetime.fromisoformat(body["timestamp"])


def test_models_lists_ids_and_aliases(echo: httpx.Client) -> None:
    """GET /models gives each name a request may use, in the reference's shape."""
    body = echo.get("/api/v1/models").json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["echo", "jan-v1-4b", "slow"]
    assert all(set(model) == {"id", "object", "created", "owned_by"} for model in body["data"])
    assert {model["owned_by"] for model in body["data"]} == {"jan"}
