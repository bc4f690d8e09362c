"""LoRA adapters on disk."""

from pathlib import Path

from jan.errors import ConfigurationError


def check_lora(path: str) -> Path:
    """The folder of a LoRA adapter. Raises ConfigurationError."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"LoRA folder {path} does not exist")
    # The library prefers this form, and reading it can run whatever its author wrote.
    if (folder / "adapter_model.bin").exists():
        raise ConfigurationError(f"LoRA folder {path} has adapter_model.bin, a pickle; only .safetensors is read")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ConfigurationError(f"LoRA folder {path} has no {name}")
    return folder
