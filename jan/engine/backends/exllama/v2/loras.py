"""Check LoRA adapters on disk."""

from pathlib import Path

from jan.errors import ConfigurationError


def check_lora(path: str) -> Path:
    """Return the folder of a LoRA adapter. Raises ConfigurationError if it can't be used."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"LoRA folder {path} does not exist.")
    # The library would prefer this file, and reading a pickle can run any code.
    if (folder / "adapter_model.bin").exists():
        raise ConfigurationError(
            f"LoRA folder {path} has adapter_model.bin, a pickle. Only .safetensors is allowed."
        )
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ConfigurationError(f"LoRA folder {path} has no {name}.")
    return folder
