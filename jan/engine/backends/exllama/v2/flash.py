"""Whether the flash-attn package is there, and of use to the library."""

from importlib import import_module
from importlib.util import find_spec

# Attention over pages, as the library demands it.
_OLDEST = [2, 5, 7]
_NEEDED = ("flash_attn_func", "flash_attn_varlen_func", "flash_attn_with_kvcache")


def installed() -> bool:
    """Whether there is such a package, whatever it is worth."""
    return find_spec("flash_attn") is not None


def problem() -> str | None:
    """Why the library can't use it; None if it can. Imports it: only that shows whether it fits this PyTorch."""
    if not installed():
        return "flash-attn is not installed"
    try:
        package = import_module("flash_attn")
        version = str(package.__version__)
        import_module("flash_attn_2_cuda")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        told = " ".join(str(error).split())
        return f"flash-attn can't be imported ({type(error).__name__}: {told})"
    # Read as the library reads it, which would go on without any attention over pages.
    if [int(part) for part in version.split(".") if part.isdigit()] < _OLDEST:
        return f"flash-attn is version {version}, and ExLlamaV2 needs {'.'.join(map(str, _OLDEST))} or later"
    if missing := [name for name in _NEEDED if not hasattr(package, name)]:
        return f"flash-attn {version} has no {', '.join(missing)}"
    return None
