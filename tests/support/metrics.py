"""Reads a server's /metrics and waits for changes."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from support.patience import until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(client: httpx.Client) -> Samples:
    """Every sample by its name and labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(client: httpx.Client, name: str, **labels: str) -> float:
    """One sample's value; 0 where there is none yet."""
    return scrape(client).get((name, tuple(sorted(labels.items()))), 0.0)


def becomes(client: httpx.Client, wanted: float, name: str, **labels: str) -> bool:
    """Ask until a sample has a value; gives up after a while."""
    return until(lambda: value(client, name, **labels) == wanted)
