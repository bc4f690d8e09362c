"""LiteLLM's proxy, in front of an upstream that answers at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from jan.bench.peers import Peer, clean_environment
from jan.bench.processes import ServerUnderTest, free_port, serving

# Pinned for safety too: two later releases, 1.82.7 and 1.82.8, carried code that took credentials.
LITELLM = Peer("LiteLLM proxy", ("litellm[proxy]==1.82.6",))
KEY = "sk-bench"
#: Frames of its streams that are no tokens: one fewer than ours, because its first frame has text.
FRAMES_AROUND = 3
# No look-ups on the network, and no telemetry.
_ALONE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "NO_PROXY": "127.0.0.1"}
_QUIET = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}


@contextmanager
def litellm_proxy(
    upstream: ServerUnderTest, models: tuple[str, ...], folder: Path, cache: Path
) -> Iterator[ServerUnderTest]:
    """Run the proxy with a master key and these models of the upstream."""
    program, port = LITELLM.environment(cache) / "bin" / "litellm", free_port()
    config = folder / f"litellm-{port}.yaml"
    config.write_text(yaml.safe_dump(_settings(upstream, models)))
    options = f"--host 127.0.0.1 --port {port} --num_workers 1 --telemetry False"
    command = [str(program), "--config", str(config), *options.split()]
    environ = clean_environment(**_ALONE, **_QUIET)
    with serving(LITELLM.name, command, port, folder, ready="/health/liveliness", environ=environ) as server:
        yield server


def _settings(upstream: ServerUnderTest, models: tuple[str, ...]) -> dict[str, object]:
    base = f"http://127.0.0.1:{upstream.port}/v1"
    return {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": base, "api_key": "none"},
            }
            for name in models
        ],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }
