"""The clients, their versions, and what each is expected to be able to do."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

HERE = Path(__file__).parent
# A busy machine takes minutes for hundreds of packages.
INSTALL_SECONDS = 900.0

# By name: packages that can be installed together.
PYTHON_PACKAGES: dict[str, tuple[str, ...]] = {
    "sdks": (
        "openai==3.57.0",
        "anthropic==2.14.0",
        "ollama==0.6.3",
        "openai-agents==0.24.0",
        "langchain-openai==1.7.4",
        "pydantic-ai-slim[openai]==2.68.0",
        "litellm==1.110.2",
    ),
    "frameworks": (
        "dspy==3.4.1",
        "llama-index-llms-openai-like==0.8.1",
        "llama-index-llms-openai==0.8.3",
        "llama-index-embeddings-openai==0.7.0",
        "haystack-ai==3.4.1",
    ),
    "commands": ("instructor==1.17.0", "smolagents[openai]==1.26.0", "llm==0.36"),
    "aider": ("aider-chat==0.86.2",),
}
NODE_PACKAGES = (
    "openai@6.49.0",
    "@openai/agents@0.20.0",
    "@langchain/openai@1.5.8",
    "@langchain/core@1.4.0",
    "ai@6.0.326",
    "@ai-sdk/openai@3.0.141",
    "@ai-sdk/openai-compatible@2.0.92",
    "@ai-sdk/anthropic@3.0.140",
    "@anthropic-ai/sdk@1.14.0",
    "ollama@0.6.4",
    "@continuedev/openai-adapters@1.37.0",
    "zod@4.6.7",
)
AGENT_PACKAGES = (
    "@openai/codex@0.171.0",
    "@anthropic-ai/claude-code@2.1.197",
    "@continuedev/cli@1.5.47",
)


class Client(msgspec.Struct, frozen=True):
    """A client by its package. ``program``: its file in programs/. ``group``: the packages that it comes with; ''
    for those of node. ``strict``: a warning in its process is an error."""

    package: str
    program: str
    group: str
    strict: bool = False

    @property
    def version(self) -> str:
        """The version that is installed."""
        packages = PYTHON_PACKAGES[self.group] if self.group else NODE_PACKAGES
        mark = "==" if self.group else "@"
        parts = [package.rpartition(mark) for package in packages]
        return next(version for name, _, version in parts if name.partition("[")[0] == self.package)


CLIENTS = (
    Client("openai", "openai_python", "sdks", strict=True),
    Client("openai-agents", "openai_agents", "sdks"),
    Client("langchain-openai", "langchain_openai_", "sdks"),
    Client("pydantic-ai-slim", "pydantic_ai_", "sdks"),
    Client("litellm", "litellm_", "sdks"),
    Client("anthropic", "anthropic_python", "sdks", strict=True),
    Client("ollama", "ollama_python", "sdks"),
    Client("dspy", "dspy_", "frameworks"),
    Client("llama-index-llms-openai-like", "llama_index_", "frameworks"),
    Client("haystack-ai", "haystack_", "frameworks"),
    Client("instructor", "instructor_", "commands"),
    Client("smolagents", "smolagents_", "commands"),
    Client("llm", "llm_", "commands"),
    Client("aider-chat", "aider_", "aider"),
    Client("openai", "openai_node", ""),
    Client("@openai/agents", "openai_agents_js", ""),
    Client("@langchain/openai", "langchain_js", ""),
    Client("@ai-sdk/openai", "vercel_openai", ""),
    Client("@ai-sdk/openai-compatible", "vercel_compatible", ""),
    Client("@ai-sdk/anthropic", "vercel_anthropic", ""),
    Client("@anthropic-ai/sdk", "anthropic_node", ""),
    Client("ollama", "ollama_js", ""),
    Client("@continuedev/openai-adapters", "continue_", ""),
)


def python_folder(install_once: Callable[..., Path], group: str) -> Path:
    """Return a folder of packages for PYTHONPATH."""
    packages = PYTHON_PACKAGES[group]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", ".")
    name = f"clients-{group}-{_digest(packages)}-{sys.implementation.cache_tag}"
    return install_once(name, *pip, *packages, seconds=INSTALL_SECONDS)


def node_folder(install_once: Callable[..., Path], name: str, packages: tuple[str, ...]) -> Path:
    """Return a folder whose node_modules has the packages."""
    npm = ("npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts")
    return install_once(f"clients-{name}-{_digest(packages)}", *npm, *packages, seconds=INSTALL_SECONDS)


def _digest(packages: tuple[str, ...]) -> str:
    return hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
