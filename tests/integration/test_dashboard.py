"""conf/grafana-dashboard.json, and how docs/monitoring.md says to scrape: no panel is dead."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from support.metrics import becomes, scrape
from support.server import ROOT, ServerProcess, http_client

StartServer = Callable[[str], ServerProcess]

DASHBOARD = json.loads((ROOT / "conf" / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
CHAT = "/api/v1/chat/completions"
# What Prometheus adds to each sample of a server.
OF_THE_SCRAPE = {"job", "instance"}


def filled_in(expression: str) -> str:
    """With values for what Grafana fills in."""
    expression = expression.replace("$__rate_interval", "5m")
    for name in VARIABLES:
        expression = expression.replace(f"${name}", ".*")
    assert "$" not in expression
    return expression


def selectors(expression: Any) -> list[Any]:
    """Every vector selector of a parsed expression."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(expression, visit)
    return found


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """Every metric's labels on a server after some traffic: answers, errors, a client that leaves, a replay, a
    limit that is hit."""
    folder = tmp_path_factory.mktemp("dashboard")
    config = folder / "jan.yaml"
    config.write_text(
        f"extends: {ROOT}/conf/jan.yaml\nlog: {{format: json}}\nlimits: {{anonymous: 5/hour}}\nmodels:\n"
        "  - {id: echo, engine: echo}\n  - {id: slow, engine: echo, options: {step_seconds: 0.02}}\n"
    )
    server = ServerProcess(config, limits=True)
    try:
        with (
            http_client(server) as client,
            http_client(server, headers={"Authorization": f"Bearer {server.admin_key}"}) as admin,
        ):
            traffic(client, admin)
            found: dict[str, set[str]] = {}
            for name, labels in scrape(admin):
                found.setdefault(name, set()).update(label for label, _ in labels)
        yield found
    finally:
        server.kill_if_running()


def traffic(client: httpx.Client, admin: httpx.Client) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
    for _ in range(6):
        client.post(CHAT, json=body)
    admin.post("/api/v1/conversations", json={"model": "echo"}, headers={"Idempotency-Key": "0123456789abcdef"})
    admin.post("/api/v1/conversations", json={"model": "echo"}, headers={"Idempotency-Key": "0123456789abcdef"})
    long = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "word " * 900}]}
    with admin.stream("POST", CHAT, json=long) as answer:
        next(answer.iter_lines())
    assert becomes(admin, 1, "jan_http_clients_left_total", route="chat.completions")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_it_asks_for_is_there(exposed: dict[str, set[str]], expression: str) -> None:
    """It is PromQL; each metric that it names is exposed, with the labels that it selects and sums by."""
    parsed = promql_parser.parse(filled_in(expression))
    found = selectors(parsed)
    assert found
    named = set(re.findall(r"\bby \(([^)]*)\)", expression))
    summed_by = {label.strip() for labels in named for label in labels.split(",")} - {""}
    for selector in found:
        assert selector.name in exposed, selector.name
        matched = set(re.findall(r"(\w+)=~", str(selector.matchers)))
        assert (matched | summed_by) - OF_THE_SCRAPE <= exposed[selector.name], selector.name


def test_what_the_server_exposes_is_shown(exposed: dict[str, set[str]]) -> None:
    """Each of the server's own metrics is in some panel."""
    own = {name for name in exposed if name.startswith("jan_") and not name.endswith("_created")}
    own = {re.sub(r"_(bucket|count|sum)$", "", name) for name in own}
    shown = set(re.findall(r"\bjan_\w+", " ".join(EXPRESSIONS)))
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    # The engine's own counts of tokens are what batching is judged by; the ledger's are in the panel of tokens.
    assert own - shown <= {"jan_engine_prompt_tokens_total"}


def test_its_variables_and_panels_are_whole(exposed: dict[str, set[str]]) -> None:
    """Every panel reads the data source that is chosen; every variable's query names a metric with its label; ids
    are unique, no panel lies on another, and a legend shows labels that its expression has left."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Traffic",
        "Inference",
        "Queue and fairness",
        "Limits",
        "Engine",
        "Store",
        "Process",
        "Refusals and audit",
    ]
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & own
        assert max(x for x, _ in own) < 24
        cells |= own
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= by | OF_THE_SCRAPE
    for name in ("job", "instance", "model", "route"):
        asked = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", VARIABLES[name]["query"]["query"])
        assert asked is not None
        assert asked[3] == name
        assert name in exposed[asked[1]] | OF_THE_SCRAPE


def test_the_printed_job_scrapes(start_server: StartServer) -> None:
    """The printed job, used as Prometheus would, is answered by a server that refuses anonymous requests; without
    its credentials it is not."""
    page = (ROOT / "docs/monitoring.md").read_text()
    (block,) = [
        text for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.S | re.M) if "scrape_configs" in text
    ]
    (job,) = yaml.safe_load(block)["scrape_configs"]
    server = start_server("access: {anonymous: refuse}\nmodels: [{id: echo, engine: echo}]")
    (target,) = job["static_configs"][0]["targets"]
    assert target == "localhost:8080"
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        assert client.get(job["metrics_path"]).status_code == 401
        assert job["authorization"]["type"] == "Bearer"
        key = job["authorization"]["credentials"].replace("jan_...", server.admin_key)
        answer = client.get(job["metrics_path"], headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert "jan_build_info" in answer.text
