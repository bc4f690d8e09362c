"""Our prompts against those of transformers' own renderer: real templates of many families, conversations of many
kinds, one clock.

Each case is rendered twice by transformers: from the messages that our template got, which must give our text; and
from the client's own messages, which must give our text too wherever nothing had to be fitted.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import templates
from support.chats import ORDERS, prompt
from support.install import NotInstalled
from support.marked import differences, special_of
from support.server import ROOT
from support.template_conversations import CONVERSATIONS, LOOK, ClientChat, Entry

from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.environment import CompiledTemplate
from jan.errors import InvalidRequest

pytestmark = pytest.mark.slow

# transformers is the renderer to compare with. The others carry templates of models, and are not imported.
PACKAGES = ("axolotl==0.19.0", "unsloth==2026.10.9")
RENDERER = ("transformers==5.24.0", "jinja2==3.1.6")
NOW = datetime(2026, 7, 26, tzinfo=UTC)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
FEWEST_FAMILIES = 60

# Texts that differ though both renderers got the same messages, by conversation: who is right, and why.
OURS_IS_RIGHT = {
    "a space to continue": "A template that trims contents makes transformers cut the space off that is to be "
    "continued. Ours ends exactly where the message ends.",
}


@pytest.fixture(scope="module")
def oracle(install_once: Callable[..., Path]) -> Path:
    """A folder with transformers and the packages of templates."""
    pip = f"{sys.executable} -m pip install --quiet --no-compile --target ."
    command = f"{pip} {' '.join(RENDERER)} && {pip} --no-deps {' '.join(PACKAGES)}"
    name = "-".join(["templates", *(package.replace("==", "-") for package in (*RENDERER, *PACKAGES))])
    try:
        return install_once(name, "sh", "-c", command)
    except NotInstalled as problem:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"can't install the renderer: {problem}")
        raise


def sources(oracle: Path) -> dict[str, str]:
    """Chat templates by family, each once: of the packages, and our own."""
    found = dict(templates.OWN)
    for file in sorted(oracle.glob("axolotl/utils/chat_templates/templates/*.jinja")):
        found[file.stem] = file.read_text()
    for name, source in _strings((oracle / "unsloth" / "chat_templates.py").read_text()):
        if name.endswith("_template") and "ollama" not in name and "{%" in source:
            found[f"unsloth {name.removesuffix('_template')}"] = source
    return {name: source for source, name in {source: name for name, source in reversed(found.items())}.items()}


def _strings(source: str) -> Iterator[tuple[str, str]]:
    """Yield a module's texts by name, also sums of texts, without running it."""
    known: dict[str, str] = {}

    def text_of(node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name) if name in known:
                return known[name]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return text_of(left) + text_of(right)
        raise ValueError

    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    known[name] = text_of(value)
                except ValueError:
                    continue
                yield name, known[name]


class Case(msgspec.Struct):
    """One conversation in one template. ``given``: the variables that our template got. ``text``: what it gave.

    ``refused``: our reason for giving nothing.
    """

    template: str
    conversation: str
    given: Entry
    text: str = ""
    refused: str = ""

    @property
    def client(self) -> ClientChat:
        return CONVERSATIONS[self.conversation]

    def asked(self, *, raw: bool) -> Entry:
        """The arguments for transformers' renderer: from the client's request, or from what our template got."""
        client = self.client
        messages = [{k: v for k, v in one.items() if v is not None} for one in client.messages] if raw else None
        given = {**client.options, **TOKENS}
        return given | {
            "template": self.template,
            "conversations": [messages if raw else self.given["messages"]],
            "tools": (client.tools or None) if raw else self.given["tools"],
            "documents": client.documents,
            "add_generation_prompt": client.add_generation_prompt,
            "continue_final_message": client.continue_final_message,
        }


class Recorder:
    """Renders with our templates, and keeps what each template got."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._given: Entry = {}
        render = CompiledTemplate.render

        def recorded(template: CompiledTemplate, variables: Mapping[str, Any]) -> str:
            self._given = dict(variables)
            return render(template, variables)

        monkeypatch.setattr(CompiledTemplate, "render", recorded)

    def case(self, name: str, template: ChatTemplate, conversation: str) -> Case:
        client = CONVERSATIONS[conversation]
        options: Any = {
            "documents": client.documents and tuple(client.documents),
            "template_options": client.options,
        }
        options |= {name: getattr(client, name) for name in ("add_generation_prompt", "continue_final_message")}
        self._given = {}
        try:
            text = template.render(prompt(client.messages, client.tools, **options))
        except InvalidRequest as error:
            return Case(name, conversation, self._given, refused=error.message)
        return Case(name, conversation, _without_marker(self._given, client), text)


def _without_marker(given: Entry, client: ClientChat) -> Entry:
    """Return what a template got without the random mark where a message is continued."""
    if not client.continue_final_message:
        return given
    *before, last = given["messages"]
    content = last["content"]
    if isinstance(content, str):
        return {**given, "messages": [*before, {**last, "content": content[:-32]}]}
    *parts, end = content
    return {**given, "messages": [*before, {**last, "content": [*parts, {**end, "text": end["text"][:-32]}]}]}


class Rendered(msgspec.Struct):
    """A case, with transformers' result for the messages that our template got, and for those that were sent."""

    case: Case
    ours: dict[str, str]
    sent: dict[str, str]


@pytest.fixture(scope="module")
def real(oracle: Path) -> dict[str, ChatTemplate]:
    """Every template, tried once."""
    return {name: ChatTemplate(source, **TOKENS, clock=lambda: NOW) for name, source in sources(oracle).items()}


@pytest.fixture(scope="module")
def cases(oracle: Path, real: dict[str, ChatTemplate]) -> list[Rendered]:
    """Every conversation in every template, with transformers' result for our messages and for the client's."""
    found = sources(oracle)
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        made = [
            recorder.case(name, template, conversation)
            for name, template in real.items()
            for conversation in CONVERSATIONS
        ]
    rendered = [case for case in made if case.given]
    asked = [case.asked(raw=raw) for case in rendered for raw in (False, True)]
    program = ROOT / "tests" / "support" / "transformers_oracle.py"
    done = subprocess.run(
        [sys.executable, str(program)],
        input=json.dumps({"now": NOW.timestamp(), "templates": found, "cases": asked}),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(oracle), "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    _same_variables(found, answers["variables"])
    texts = answers["texts"]
    return [Rendered(*one) for one in zip(rendered, texts[::2], texts[1::2], strict=True)]


def _same_variables(found: dict[str, str], theirs: dict[str, list[str]]) -> None:
    """Check that both find the same variables of each template. Theirs include functions of the sandbox, and names
    that a template sets itself."""
    functions = {"raise_exception", "strftime_now", "namespace", "range", "dict", "cycler", "joiner", "lipsum"}
    for name, source in found.items():
        ours, others = CompiledTemplate(source).variables, set(theirs[name]) - functions
        assert ours <= others, name
        for other in others - ours:
            assert re.search(rf"{{%-?\s*(?:set|for|macro)\b[^%]*\b{other}\b", source), f"{name}: {other}"


def reasons(case: Case, shown: str) -> Iterator[str]:
    """Yield why a client's messages are not rendered as they are, given what transformers shows of them."""
    client = case.client
    if client.tools and case.given["tools"] is None:
        yield "Calls in the template's form are not read, so the tools are explained in the messages."
    texts = [text for message in client.messages for text in texts_of(message)]
    texts += [tool["function"]["name"] for tool in client.tools]
    if not all(text.strip() in shown for text in texts):
        yield "The template hides a part of them."
    if any("tool_calls" in message for message in client.messages):
        yield "The arguments of a call are an object."
    if any("strict" in tool["function"] for tool in client.tools):
        yield "The model does not see strict, and sees parameters where there are none."
    if any(message["role"] == "developer" for message in client.messages):
        yield "A developer's message is a system message."
    if any(isinstance(message["content"], list) for message in client.messages):
        yield "Parts are a text where the template would print a list."


def texts_of(message: Entry) -> list[str]:
    """The texts of a message's content."""
    content = message["content"]
    return [part["text"] for part in content] if isinstance(content, list) else [content or ""]


def test_our_text_is_that_of_transformers(
    cases: list[Rendered], record_property: Callable[[str, object], None]
) -> None:
    """For the messages that our template got, both give the same text, or both refuse."""
    families = {one.case.template for one in cases}
    differing = [one for one in cases if one.case.text != one.ours.get("text", "")]
    listed = [one for one in differing if one.case.conversation in OURS_IS_RIGHT]
    record_property(
        "printed", f"{len(cases) - len(differing)} of {len(cases)} prompts of {len(families)} templates agree"
    )
    assert len(families) >= FEWEST_FAMILIES
    assert [(one.case.template, one.case.conversation) for one in differing if one not in listed] == []
    for one in listed:
        assert one.ours["text"] == one.case.text.rstrip(), OURS_IS_RIGHT[one.case.conversation]


def test_messages_that_need_no_fitting_are_rendered_as_sent(
    cases: list[Rendered], record_property: Callable[[str, object], None]
) -> None:
    """For the client's own messages, transformers gives our text, or refuses, or there is a reason for ours."""
    counts: Counter[str] = Counter()
    unexplained = []
    for one in cases:
        shown = one.sent.get("text")
        if shown is None:
            counts["served, though refused as sent"] += bool(one.case.text)
        elif shown == one.case.text:
            counts["as sent"] += 1
        elif any(reasons(one.case, shown)) or one.case.conversation in OURS_IS_RIGHT:
            counts["fitted"] += 1
        else:
            unexplained.append((one.case.template, one.case.conversation))
    record_property("printed", ", ".join(f"{count} {what}" for what, count in counts.items()))
    assert unexplained == []
    assert counts["as sent"] > len(cases) / 2


@pytest.mark.parametrize("messages", ORDERS.values(), ids=ORDERS)
def test_real_templates_take_messages_in_any_order(real: dict[str, ChatTemplate], messages: list[Entry]) -> None:
    """None refuses an order of roles, and none hides a message."""
    for name, template in real.items():
        for tools in ((), (LOOK,)):
            text = template.render(prompt(messages, tools))
            assert [m["content"] for m in messages if m["content"] and m["content"] not in text] == [], name


def test_what_transformers_renders_is_not_refused(cases: list[Rendered]) -> None:
    """No conversation is refused that transformers renders, in whatever order its roles are."""
    assert [
        (one.case.template, one.case.conversation) for one in cases if one.case.refused and "text" in one.sent
    ] == []


def test_marks_change_no_prompt_of_a_real_template(oracle: Path, real: dict[str, ChatTemplate]) -> None:
    """Marks on what a request wrote change neither text nor tokens, and no question adds control tokens."""
    found = {}
    for name, source in sources(oracle).items():
        special = special_of(source)
        marking = ChatTemplate(source, **TOKENS, clock=lambda: NOW, special=special)
        found[name] = list(differences(real[name], marking, special))
    assert {name: differing for name, differing in found.items() if differing} == {}
