"""``jan sbom`` prints a bill of materials that CycloneDX's own schema accepts, with all that is installed."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support.dependency import pulled_in

from jan.cli.commands import main
from jan.engine.model_trials.pulled_files import PullRecord, file_as_it_is, write_record


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["sbom", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed())
    return found


def test_the_schema_of_cyclonedx_accepts_it(bill: dict[str, Any]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_everything_that_the_server_needs_is_listed(bill: dict[str, Any]) -> None:
    """With its version and its licence, once."""
    listed = {entry["name"]: entry for entry in bill["components"]}
    assert len(listed) == len(bill["components"])
    assert pulled_in().keys() <= listed.keys()
    assert listed["tornado"]["version"] == version("tornado")
    assert listed["tornado"]["purl"] == f"pkg:pypi/tornado@{version('tornado')}"
    assert all(listed[name].get("licenses") for name in pulled_in())


def test_who_needs_whom_is_listed(bill: dict[str, Any]) -> None:
    """Every reference leads to a component."""
    graph = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    refs = {entry["bom-ref"] for entry in bill["components"]} | {"jan-server"}
    assert graph.keys() == refs
    assert {one for needed in graph.values() for one in needed} <= refs
    jinja = next(ref for ref in refs if ref.startswith("pkg:pypi/jinja2@"))
    assert [one.partition("@")[0] for one in graph[jinja]] == ["pkg:pypi/markupsafe"]


def test_the_same_environment_has_the_same_bill(bill: dict[str, Any]) -> None:
    assert json.loads(printed()) == bill


def test_a_pulled_model_is_listed_with_the_hashes_of_its_files(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    entry = file_as_it_is(file, "c" * 40)
    write_record(tmp_path, PullRecord(repo="ada/tiny", files={"m.gguf": entry}))
    config = tmp_path / "jan.yaml"
    config.write_text(f"extends: default\nmodels: [{{id: m, engine: llamacpp, options: {{model: {file}}}}}]\n")
    bill = printed("--config", str(config))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    [model] = [one for one in json.loads(bill)["components"] if one["type"] == "machine-learning-model"]
    assert (model["name"], model["version"]) == ("ada/tiny", "c" * 40)
    assert model["components"][0]["hashes"] == [{"alg": "SHA-256", "content": entry.sha256}]
