"""Schemathesis over the served document: no 5xx, and every response is one that the document knows.

All operations, with valid and invalid data, alone and in sequences that follow from each other; as an
administrator, as a user, and without credentials. The limits of schemas (thousands of requests, the phase
called coverage) are tried once: at one of the operations whose bodies have the same schema, by nobody where
anybody is admitted and nothing is stored, and by an administrator elsewhere.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.conversation import bearer
from support.fake_oidc import Lab
from support.server import ROOT, http_client

#: Seconds of one run of Schemathesis at most. It takes half a minute on a quiet machine.
_LONGEST = 840
pytestmark = [pytest.mark.load, pytest.mark.timeout(_LONGEST + 60)]

Attack = Callable[..., None]

CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = 20261124
#: Operations that ask models and store nothing, whoever asks. Nobody tries their limits.
STORELESS = re.compile(
    "(GET|POST) /(api/v1/(models.*|completions|messages|messages/count_tokens|embeddings|rerank|score"
    "|(de)?tokenize)|api/(chat|generate|embed|embeddings|show|tags|ps|version))"
)
_NOT_COVERED = """
[[operations]]
include-name = {names}
[operations.phases.coverage]
enabled = false
"""
#: Generated requests an operation in the phase that draws them; Schemathesis' other phases decide themselves.
EXAMPLES = int(os.environ.get("JAN_TEST_SCHEMATHESIS_EXAMPLES", "10"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server on SQLite, with sign-in, since without a provider the right answer of /auth/google is a 503."""
    lab = Lab(tmp_path_factory.mktemp("schemathesis"))
    yield lab
    lab.stop()  # asserts that there is no error in the log


@pytest.fixture
def attack(lab: Lab, cache_dir: Path, tmp_path: Path) -> Attack:
    """Runs Schemathesis with further arguments; it must find nothing. ``uncovered``: names of operations that have
    no phase of coverage."""
    config = tmp_path / CONFIG.name
    command = [Path(sys.executable).with_name("st"), "--config-file", config, "run"]
    command += [f"{lab.server.url}/api/openapi.json", "--seed", str(SEED), "--max-examples", str(EXAMPLES)]
    # What Hypothesis knows of Unicode takes two seconds to find out, and stays; its examples do not.
    command += ["--generation-database", "none"]
    environ = {
        **os.environ,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(cache_dir / "hypothesis"),
        "PYTHONPATH": str(ROOT / "tests"),
        "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks",
    }

    def attack(*arguments: str, uncovered: Sequence[str] = ()) -> None:
        config.write_text(CONFIG.read_text() + _NOT_COVERED.format(names=json.dumps(uncovered)))
        ran = subprocess.run(
            [*map(str, command), *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
        if ran.returncode != 0:
            pytest.fail(ran.stdout + ran.stderr, pytrace=False)

    return attack


def new_key(lab: Lab, *permissions: str) -> str:
    """A fresh key of the administrator's, so that no run uses one that an earlier one revoked."""
    with http_client(lab.server, headers=bearer(lab.server.admin_key)) as client:
        made = client.post("/api/v1/user/api-keys", json={"name": "run", "permissions": permissions})
    key: str = made.json()["key"]
    return key


@pytest.fixture(scope="module")
def turns(lab: Lab) -> tuple[set[str], set[str], set[str]]:
    """Names of operations: those at which nobody tries the limits of schemas, those at which an administrator
    does, and those whose bodies have the schema of another one."""
    with http_client(lab.server) as client:
        paths = client.get("/api/openapi.json").json()["paths"]
    first = dict[str, str]()
    nobody, admin, known = set[str](), set[str](), set[str]()
    for path, operations in paths.items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if first.setdefault(json.dumps(body["schema"]) if body else name, name) != name:
                known.add(name)
            else:
                (nobody if STORELESS.fullmatch(name) else admin).add(name)
    assert len(nobody) > 15
    assert len(admin) > 40
    assert 5 < len(known) < 12
    return nobody, admin, known


def test_a_key_of_few_permissions(lab: Lab, attack: Attack) -> None:
    """What it may not do is a documented 403."""
    key = new_key(lab, "read", "inference")
    attack("--header", f"Authorization: Bearer {key}", "--phases", "examples,fuzzing,stateful")


def test_nobody(attack: Attack, turns: tuple[set[str], set[str], set[str]]) -> None:
    """Without credentials, admitted to the models because the server is on loopback."""
    _, admin, known = turns
    attack(uncovered=sorted(admin | known))


def test_an_administrator(lab: Lab, attack: Attack, turns: tuple[set[str], set[str], set[str]]) -> None:
    """With every permission; last, because what an administrator changes is changed for everybody."""
    key = new_key(lab, "read", "write", "inference", "admin")
    nobody, _, known = turns
    attack("--header", f"Authorization: Bearer {key}", uncovered=sorted(nobody | known))
