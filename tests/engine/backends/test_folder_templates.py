"""The chat templates of a Hugging Face folder: from its configuration and from files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import templates
from support.chats import ASKED, NOW, prompt

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from jan.engine.backends.exllama.common.folder import FolderFormats, ModelFolder
from jan.engine.backends.exllama.common.tokenizer import FolderTokenizer

FORMATS = FolderFormats(methods=("none",), described="unquantised", rope_parameters=False)
TOOLS_FILE = {"additional_chat_templates/tool_use.jinja": templates.TOOL_USE}
NAMED = [{"name": "default", "template": templates.PLAIN}, {"name": "tool_use", "template": templates.TOOL_USE}]


def rendered(source: Path, folder: Path, configured: Any, files: dict[str, str]) -> tuple[str, str]:
    """Return the prompts without and with a tool of a folder with these templates."""
    shutil.copytree(source, folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": configured}))
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    template = FolderTokenizer(ModelFolder(str(folder), FORMATS)).template
    assert template is not None
    return template.render(prompt([ASKED])), template.render(prompt([ASKED], [NOW]))


@pytest.mark.parametrize(
    ("configured", "files"),
    [
        (NAMED, {}),
        (templates.PLAIN, TOOLS_FILE),
        (None, {"chat_template.jinja": templates.PLAIN, **TOOLS_FILE}),
        ([{"name": "default", "template": "old"}, *NAMED[1:]], {"chat_template.jinja": templates.PLAIN}),
    ],
    ids=["configured", "one file", "two files", "a newer file"],
)
def test_a_folder_may_have_several_templates(
    tiny_folder: Path, tmp_path: Path, configured: Any, files: dict[str, str]
) -> None:
    """In its configuration, or in files, which go first; the one for tools is taken for tools."""
    plain, with_tools = rendered(tiny_folder, tmp_path / "model", configured, files)
    assert plain == "<|im_start|>user\nTime?<|im_end|>\n<|im_start|>assistant\n"
    assert with_tools.startswith("<|im_start|>system\n<tools>")


@pytest.mark.parametrize(
    ("added", "ends"),
    [
        (("<|end|>",), {"<|end|>"}),
        (("<|end|>", "<|return|>", "<|call|>"), {"<|return|>", "<|call|>"}),
    ],
    ids=["Phi", "gpt-oss"],
)
def test_a_message_that_ends_may_not_be_the_answers_end(
    tiny_folder: Path, tmp_path: Path, added: tuple[str, ...], ends: set[str]
) -> None:
    """In gpt-oss's format, the token that ends other models' answers stands between reasoning and content."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    replaced = tokenizer["added_tokens"][-len(added) :]
    vocabulary = tokenizer["model"]["vocab"]
    for entry, word in zip(replaced, added, strict=True):
        vocabulary[word] = vocabulary.pop(entry["content"], entry["id"])
        entry["content"] = word
    file.write_text(json.dumps(tokenizer))
    made = FolderTokenizer(ModelFolder(str(folder), FORMATS))
    assert {made.pieces[token].decode() for token in made.stop_tokens} & set(added) == ends
