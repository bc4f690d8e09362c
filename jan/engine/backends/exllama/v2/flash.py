"""Find out whether the library can use the flash-attn package."""

from importlib import import_module
from importlib.util import find_spec

from jan.engine.refusals import reason_of

# The first version with paged attention as the library calls it.
_OLDEST = [2, 5, 7]
_NEEDED = ("flash_attn_func", "flash_attn_varlen_func", "flash_attn_with_kvcache")


def installed() -> bool:
    """Return True if a package of this name is installed, usable or not."""
    return find_spec("flash_attn") is not None


def problem() -> str | None:
    """Return why the library can't use flash-attn, or None if it can.

    Imports the package, because only that shows whether it fits this PyTorch.
    """
    if not installed():
        return "flash-attn is not installed"
    try:
        package = import_module("flash_attn")
        version = str(package.__version__)
        import_module("flash_attn_2_cuda")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"flash-attn can't be imported ({type(error).__name__}: {reason_of(error)})"
    # Parsed as the library parses it. With an older version, it would silently not use paged attention.
    if [int(part) for part in version.split(".") if part.isdigit()] < _OLDEST:
        return f"flash-attn is version {version}, and ExLlamaV2 needs {'.'.join(map(str, _OLDEST))} or later"
    if missing := [name for name in _NEEDED if not hasattr(package, name)]:
        return f"flash-attn {version} has no {', '.join(missing)}"
    return None
