"""One door to data: handlers, and everybody else, ask services; only services know the store."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from jan.services import Services

ROOT = Path(__file__).resolve().parents[2]
# Services work on the store; the server and the command line make it, and the command line moves a whole one.
KNOW_THE_STORE = (
    "jan/storage/",
    "jan/audit/",
    "jan/auth/",
    "jan/conversations/",
    "jan/background/",
    "jan/people/",
    "jan/http/healthchecks.py",
    "jan/application.py",
    "jan/cli/admin.py",
    "jan/cli/store_context.py",
)
OTHERS = [
    name
    for path in sorted([*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")])
    if not (name := path.relative_to(ROOT).as_posix()).startswith(KNOW_THE_STORE)
]
# Triton's language, in which ``tl.store`` writes to memory.
TRITON = "tl.store"


def uses_of_a_store(path: Path) -> Iterator[str]:
    """Where a file reaches for something's store, or imports a store or what makes one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if is_store(node) or gets_store(node) or imports_store(node):
            yield f"line {node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined]  # each of these has one


def is_store(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("store", "_store") and ast.unparse(node) != TRITON


def gets_store(node: ast.AST) -> bool:
    """Return True for ``getattr(x, "store")``."""
    is_getattr = isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"
    return is_getattr and any(ast.unparse(part) == "'store'" for part in ast.iter_child_nodes(node))


def imports_store(node: ast.AST) -> bool:
    if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("jan.storage"):
        return False
    names = {alias.name for alias in node.names}
    return node.module == "jan.storage.repositories" or bool(names & {"Store", "store_from_url", "repositories"})


@pytest.mark.parametrize("name", OTHERS)
def test_there_is_one_door_to_data(name: str) -> None:
    """Whoever is no service asks one."""
    assert list(uses_of_a_store(ROOT / name)) == []


def test_handlers_are_among_those_who_ask() -> None:
    """All handlers are looked at, and what they receive has no store among it."""
    assert {name for name in OTHERS if name.startswith("handlers/people/")}
    assert "store" not in Services.__struct_fields__


@pytest.mark.parametrize(
    "line",
    [
        "page = await self.services.store.users.page(limit=5)",
        "await self.services.conversations._store.messages.page()",
        "store = getattr(self.services, 'store')",
        "from jan.storage import Store",
        "from jan.storage.repositories import UserRepository",
    ],
)
def test_another_door_is_found(tmp_path: Path, line: str) -> None:
    """Each way round the services is noticed."""
    file = tmp_path / "handler.py"
    file.write_text(f"async def get(self):\n    {line}\n")
    assert len(list(uses_of_a_store(file))) == 1
