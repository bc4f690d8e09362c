"""Inputs that a fuzzer found, or that once broke something, read again without a fuzzer."""

import importlib

import pytest

from fuzz.runs import TARGETS, inputs_of


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_the_corpus_are_read_as_they_should_be(name: str) -> None:
    """Right inputs, and the small corpus: what comes out is what each target's oracle allows."""
    target = importlib.import_module(f"fuzz.{name}")
    kept = inputs_of(name)
    assert kept, "The corpus is empty."
    for data in [*target.seeds(), *kept]:
        target.check(data)
