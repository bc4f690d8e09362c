"""The attention kernels are chosen by the flash-attn package that is installed. The tests write real packages."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import structlog

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("jan.engine.backends.exllama.v2", reason="ExLlamaV2 is not installed", exc_type=ImportError)

from jan.engine.backends.exllama.v2 import attention
from jan.engine.backends.exllama.v2.device import attention_of
from jan.errors import ConfigurationError

Install = Callable[..., None]
FUNCTIONS = "flash_attn_func = flash_attn_varlen_func = flash_attn_with_kvcache = print\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts a flash_attn package and its compiled part on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("flash_attn", "flash_attn_2_cuda"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def write(package: str, extension: str = "") -> None:
        (tmp_path / "flash_attn").mkdir()
        (tmp_path / "flash_attn" / "__init__.py").write_text(package)
        (tmp_path / "flash_attn_2_cuda.py").write_text(extension)
        for name in ("flash_attn", "flash_attn_2_cuda"):
            # Noted, so that what the test imports is forgotten after it.
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
            del sys.modules[name]

    return write


@pytest.mark.parametrize("version", ["2.5.7", "2.8.3.post1", "3.0.0", "2.8.3+cu12"])
def test_flash_attn_is_preferred_where_it_can_be_used(install: Install, version: str) -> None:
    """A usable flash-attn is used, unless the option forbids it."""
    install(f"__version__ = {version!r}\n{FUNCTIONS}")
    assert [attention_of(chosen) for chosen in ("auto", "flash", "triton")] == [
        "flash-attn",
        "flash-attn",
        "triton",
    ]


@pytest.mark.parametrize(
    ("package", "extension", "why"),
    [
        (f"__version__ = '2.5.6'\n{FUNCTIONS}", "", "is version 2.5.6, and ExLlamaV2 needs 2.5.7 or later"),
        ("raise ImportError('undefined symbol: _ZN3c10')", "", "can't be imported .*undefined symbol: _ZN3c10"),
        (FUNCTIONS, "", "can't be imported .*__version__"),
        (f"__version__ = '2.8.3'\n{FUNCTIONS}", "raise OSError('libcudart')", "can't be imported .*libcudart"),
        ("__version__ = '2.8.3'", "", "has no flash_attn_func"),
    ],
)
def test_an_unusable_package_is_reported_and_not_used(
    install: Install, package: str, extension: str, why: str
) -> None:
    """The model loads with our own kernels and a warning, unless the option demands flash-attn."""
    install(package, extension)
    with structlog.testing.capture_logs() as lines:
        assert attention_of("auto") == "triton"
    [line] = lines
    assert line["log_level"] == "warning"
    with pytest.raises(ConfigurationError, match=f"^Option attention is 'flash', and flash-attn.* {why}"):
        attention_of("flash")


def test_nothing_is_said_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without flash-attn, our own kernels are used without a warning."""
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    monkeypatch.setattr("jan.engine.backends.exllama.v2.flash.find_spec", lambda name: None)
    with structlog.testing.capture_logs() as lines:
        assert attention_of("auto") == "triton"
    assert lines == []
    with pytest.raises(ConfigurationError, match=r"^Option attention is 'flash', and flash-attn is not installed"):
        attention_of("flash")


def test_the_stand_in_gives_a_loaded_package_its_place_back() -> None:
    """A module that was imported before the stand-in is found again after it."""
    real = ModuleType("flash_attn")
    modules = {"flash_attn": real, "other": ModuleType("other")}
    displaced = attention.install(modules)
    assert modules["flash_attn"] is not real
    assert modules["flash_attn_2_cuda"]
    attention.remove(modules, displaced)
    assert modules["flash_attn"] is real
    assert sorted(modules) == ["flash_attn", "other"]
