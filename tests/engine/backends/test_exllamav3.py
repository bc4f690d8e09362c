"""The ExLlamaV3 backend on the library's real generator, on the CPU. N-gram guesses, quantised weights and
quantised caches run only on a GPU."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import text_request

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("jan.engine.backends.exllama.v3", reason="ExLlamaV3 is not installed", exc_type=ImportError)
pytest.importorskip("triton", reason="Triton is not installed, which ExLlamaV3 imports")
pytest.importorskip("support.exllamav3_cpu", reason="ExLlamaV2 is not installed", exc_type=ImportError)
pytestmark = pytest.mark.torch

import torch  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from support.exllamav2_cpu import any_device  # noqa: E402
from support.exllamav3_cpu import CpuDevice  # noqa: E402
from support.server import DEFAULT_CONFIG  # noqa: E402

from jan.cli.commands import main  # noqa: E402
from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options  # noqa: E402
from jan.engine.backends.exllama.v3 import ExLlamaV3Backend, ExLlamaV3Options  # noqa: E402
from jan.engine.base import (  # noqa: E402
    Delta,
    Finished,
    GenerationRequest,
    Output,
    Sampling,
    TokenPrompt,
)
from jan.engine.formats import OutputFormat  # noqa: E402
from jan.errors import ConfigurationError, InternalError  # noqa: E402

GREEDY = Sampling(temperature=0)
COLOUR = {
    "type": "object",
    "properties": {"red": {"enum": [1, 2]}},
    "required": ["red"],
    "additionalProperties": False,
}


def make(folder: Path, **options: Any) -> ExLlamaV3Backend:
    chosen = {"slots": 4, "context": 512, "chunk": 256, **options}
    return ExLlamaV3Backend(ExLlamaV3Options(model=str(folder), **chosen), CpuDevice())


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> Iterator[ExLlamaV3Backend]:
    backend = make(tiny_folder)
    backend.load(lambda part: None)
    yield backend
    backend.close()


def answers(backend: Any, *requests: GenerationRequest) -> list[tuple[str, Output]]:
    """Run requests side by side; returns text and end of each."""
    for job_id, request in enumerate(requests):
        job = backend.prepare(request)
        assert backend.has_room(job)
        backend.begin(job_id, job)
    texts, ends = [""] * len(requests), {}
    while len(ends) < len(requests):
        for job_id, output in backend.step():
            if isinstance(output, Delta):
                texts[job_id] += output.text
            else:
                ends[job_id] = output
    return [(text, ends[job_id]) for job_id, text in enumerate(texts)]


def test_the_same_weights_give_the_same_likelihoods_as_exllamav2(
    loaded: ExLlamaV3Backend, tiny_folder: Path
) -> None:
    """Both libraries, with their stand-ins, compute the same model. (This library can not run the bundled model:
    it pads its rows of 576 numbers to 640 and does not cut them off again.)"""
    other = ExLlamaV2Backend(ExLlamaV2Options(model=str(tiny_folder), slots=1, context=512), any_device())
    other.load(lambda part: None)
    request = GenerationRequest(
        prompt=TokenPrompt(tuple(range(100, 420))), max_tokens=1, logprobs=5, sampling=GREEDY
    )
    ours, theirs = (first_logprobs(backend, request) for backend in (loaded, other))
    assert ours.keys() == theirs.keys()
    assert list(ours.values()) == pytest.approx([theirs[token] for token in ours], abs=0.05)
    other.close()


def first_logprobs(backend: Any, request: GenerationRequest) -> dict[tuple[int, ...], float]:
    """Return the log probabilities of the likeliest tokens, by their bytes."""
    backend.begin(0, backend.prepare(request))
    while not (outputs := backend.step()):
        pass
    delta = outputs[0][1]
    assert isinstance(delta, Delta)
    return {tuple(top.bytes or ()): top.logprob for top in delta.logprobs[0].top_logprobs}


def test_an_answer_goes_to_the_last_token_of_the_context(tiny_folder: Path) -> None:
    """The library keeps one cache token of each job free, so the cache has one page more than the context."""
    backend = make(tiny_folder, context=256, slots=1)
    backend.load(lambda part: None)
    sampling = Sampling(temperature=0, logit_bias=dict.fromkeys(backend._tokenizer.stop_tokens, -100.0))
    [(_, end)] = answers(backend, GenerationRequest(prompt=TokenPrompt(tuple(range(100, 350))), sampling=sampling))
    assert isinstance(end, Finished)
    assert (end.completion_tokens, end.reason) == (6, "length")
    backend.close()
    with pytest.raises(ConfigurationError, match="less than one request may take: 512"):
        make(tiny_folder, context=256, cache_tokens=256)


def test_a_known_beginning_is_not_computed_again(loaded: ExLlamaV3Backend) -> None:
    """Whole pages of an earlier prompt count as cached."""
    loaded.reset()
    prompt = TokenPrompt(tuple(range(100, 500)))
    ends = [answers(loaded, GenerationRequest(prompt=prompt, max_tokens=2))[0][1] for _ in range(2)]
    assert all(isinstance(end, Finished) for end in ends)
    assert [end.cached_tokens >= 256 for end in ends if isinstance(end, Finished)] == [False, True]


# --- whose pages they are ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def owned(tiny_folder: Path) -> Iterator[ExLlamaV3Backend]:
    backend = make(tiny_folder, cache_tokens=2048, context=1024)
    backend.load(lambda part: None)
    yield backend
    backend.close()


def cached(backend: ExLlamaV3Backend, prompt: tuple[int, ...], owner: str) -> int:
    anonymous = owner.startswith("ip:")
    request = GenerationRequest(
        prompt=TokenPrompt(prompt), owner=owner, anonymous=anonymous, max_tokens=2, sampling=GREEDY
    )
    [(_, end)] = answers(backend, request)
    assert isinstance(end, Finished)
    return end.cached_tokens


@pytest.mark.parametrize("length", [600, 100], ids=["whole pages", "part of a page"])
def test_what_others_wrote_is_not_reused(owned: ExLlamaV3Backend, length: int) -> None:
    """By default, only the owner of a prompt finds it cached, in whole pages and in parts of one. Callers without
    credentials share theirs, and find nothing of known users."""
    owned.reset()
    prompt = tuple(range(100, 100 + length))
    assert cached(owned, prompt, "ann") == 0
    assert cached(owned, prompt, "bob") == 0
    assert cached(owned, prompt, "ann") > 50
    assert cached(owned, prompt, "bob") > 50
    assert cached(owned, prompt, "ip:10.0.0.1") == 0
    assert cached(owned, prompt, "ip:10.0.0.2") > 50


def test_pages_that_were_taken_and_not_written_are_their_writers(owned: ExLlamaV3Backend) -> None:
    """A request that took another owner's old pages, and was cancelled before it wrote, leaves them unchanged."""
    owned.reset()
    prompt = tuple(range(100, 200))
    assert cached(owned, prompt, "ann") == 0
    for job_id, length in enumerate((1020, 1000)):  # together every page there is
        request = GenerationRequest(prompt=TokenPrompt((5,)), owner="bob", max_tokens=length)
        owned.begin(job_id, owned.prepare(request))
    assert owned._free_pages() == 0
    owned.cancel(0)
    owned.cancel(1)
    assert cached(owned, prompt, "bob") == 0
    assert cached(owned, prompt, "ann") > 50


def test_a_page_that_the_answer_filled_is_its_owners(owned: ExLlamaV3Backend) -> None:
    """The next turn of a conversation finds the last answer cached, but not if another owner sends it."""
    owned.reset()
    ends = dict.fromkeys(owned._tokenizer.stop_tokens, -100.0)
    request = GenerationRequest(
        prompt=TokenPrompt(tuple(range(100, 300))),
        owner="ann",
        max_tokens=100,
        sampling=Sampling(temperature=0, logit_bias=ends),
    )
    job = owned.prepare(request)
    owned.begin(1, job)
    while owned._running:
        owned.step()
    turn = tuple(job.library_job.sequences[0].sequence_ids.torch()[0].tolist())
    assert len(turn) == 300
    # By a name that begins with the salt: the library finds it whole, and for nobody else.
    assert job.library_job._hash(0, job.library_job._salt) in owned._generator.pagetable.unreferenced_pages
    assert cached(owned, (*turn, 7), "bob") == 0
    assert cached(owned, (*turn, 7), "ann") >= 256


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7, seed=3),
        Sampling(temperature=1.0, top_k=20, top_p=0.9, min_p=0.01, seed=3),
        Sampling(temperature=0.9, repeat_penalty=1.2, presence_penalty=0.5, seed=3),
    ],
)
def test_a_seed_gives_the_same_answer_again(loaded: ExLlamaV3Backend, sampling: Sampling) -> None:
    """A seed repeats the answer with each of the library's steps and with our rules; another seed gives another
    answer."""
    again = [answers(loaded, text_request("Hello", max_tokens=8, sampling=sampling))[0][0] for _ in range(2)]
    assert again[0] == again[1]
    other = Sampling(temperature=sampling.temperature, seed=4)
    assert answers(loaded, text_request("Hello", max_tokens=8, sampling=other))[0][0] != again[0]


def test_penalties_forbid_what_was_said(loaded: ExLlamaV3Backend) -> None:
    """A bias makes one token the likeliest, and a larger penalty lets it come only once."""
    sampling = Sampling(temperature=0, logit_bias={1000: 50.0}, presence_penalty=100.0)
    prompt = TokenPrompt((1000, 1000))
    said = loaded._tokenizer.text_of([1000])
    [(text, _)] = answers(loaded, GenerationRequest(prompt=prompt, max_tokens=6, sampling=sampling))
    assert text.startswith(said)
    assert text.count(said) == 1


def test_a_draft_model_changes_no_answer(loaded: ExLlamaV3Backend, tiny_folder: Path) -> None:
    """Answers are the same with a draft model: greedy, with penalties, and under a schema."""
    requests = [
        text_request("one two one two", max_tokens=12, sampling=GREEDY),
        text_request("one two", max_tokens=12, sampling=Sampling(temperature=0, repeat_penalty=1.5)),
        text_request("Hi", max_tokens=40, sampling=GREEDY, output=OutputFormat(json_schema=json.dumps(COLOUR))),
    ]
    backend = make(tiny_folder, draft_model=str(tiny_folder))
    backend.load(lambda part: None)
    expected, got = answers(loaded, *requests), answers(backend, *requests)
    assert [text for text, _ in got] == [text for text, _ in expected]
    assert json.loads(got[2][0])["red"] in (1, 2)
    backend.close()


def test_what_fails_in_one_prompt_fails_that_request_alone(
    loaded: ExLlamaV3Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library reports the failure among its results, and the request beside it is answered to its end."""
    model, prefill = loaded._generator.model, loaded._generator.model.prefill

    def fails(input_ids: Any, params: Any) -> Any:
        if 4021 in input_ids:
            raise RuntimeError("broken")
        return prefill(input_ids, params)

    monkeypatch.setattr(model, "prefill", fails)
    requests = [
        GenerationRequest(prompt=TokenPrompt(tokens), max_tokens=4) for tokens in ((5, 4021, 6), (5, 6, 7))
    ]
    [(_, failed), (_, answered)] = answers(loaded, *requests)
    assert isinstance(failed, InternalError)
    assert isinstance(answered, Finished)
    assert not loaded._generator.num_remaining_jobs()


def test_a_folder_of_another_format(tiny_folder: Path, tmp_path: Path) -> None:
    """The message names the format, and the formats that the engine takes."""
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((tiny_folder / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "exl2"}}))
    with pytest.raises(ConfigurationError, match=r"quantised as 'exl2'\. This engine takes EXL3"):
        make(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_says_so_in_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    """`jan check`, like `jan serve`, ends with one line that names the model and what is missing."""
    config = tmp_path / "jan.yaml"
    options = f"{{model: {tiny_folder}, context: 256}}"
    config.write_text(f"extends: {DEFAULT_CONFIG}\nmodels: [{{id: big, engine: exllamav3, options: {options}}}]\n")
    result = CliRunner().invoke(main, ["check", str(config)])
    assert result.exit_code != 0
    [line] = result.output.strip().splitlines()
    assert "(big): The exllamav3 engine needs an NVIDIA GPU, and this machine shows none" in line
