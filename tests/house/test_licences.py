"""Whoever installs this server may use, change and pass on all of what that installs."""

from email.message import Message
from typing import cast

import pytest
from support.dependency import allowed, licence, missing, pulled_in, refused


@pytest.mark.parametrize(
    "extra", ["", "cpu", "pull", "gpu", "gpu3", "otel", "bench"], ids=lambda extra: extra or "core"
)
def test_everything_that_is_pulled_in_may_be_used_by_anyone(extra: str) -> None:
    if absent := missing(extra):
        assert extra, f"the core's own requirements aren't installed: {absent}"
        pytest.skip(f"the extra {extra!r} isn't installed: no {', '.join(absent)}")
    packages = pulled_in(extra)
    assert refused((name, cast(Message, package.metadata)) for name, package in packages.items()) == {}


def test_what_others_pull_in_counts_too() -> None:
    """Nothing here names cffi: it comes by cryptography alone."""
    assert {"pyjwt", "cryptography", "cffi", "pymongo"} <= pulled_in().keys()
    assert "pytest" not in pulled_in()


def metadata(**fields: str | list[str]) -> Message:
    made = Message()
    for name, given in fields.items():
        for value in [given] if isinstance(given, str) else given:
            made[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    "fields",
    [
        {"License_Expression": "GPL-3.0-or-later"},
        {"License_Expression": "MIT AND LGPL-2.1-only"},
        {"License_Expression": "MIT AND (AGPL-3.0-only OR GPL-2.0-only)"},
        {"License_Expression": "GPL-2.0-only WITH Classpath-exception-2.0"},
        {"License_Expression": "LicenseRef-Proprietary"},
        {"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"},
        {"Classifier": "License :: OSI Approved :: GNU Affero General Public License v3", "License": "MIT"},
        {
            "Classifier": [
                "License :: OSI Approved :: MIT License",
                "License :: OSI Approved :: GNU Lesser General Public License v3 or later (LGPLv3+)",
            ]
        },
        {"Classifier": "License :: Other/Proprietary License"},
        {"License": "GPL"},
        {"License": "GNU GPL v3, or MIT for friends"},
        {"License": "MIT WITH love"},
        {"License": "MIT OR"},
        {"License": ""},
        {},
    ],
    ids=str,
)
def test_the_check_finds_what_may_not_be(fields: dict[str, str | list[str]]) -> None:
    made = metadata(**fields)
    assert refused([("made-up", made)]) == {"made-up": licence(made)}


@pytest.mark.parametrize(
    "expression",
    ["MIT", "Apache-2.0 OR GPL-2.0-only", "MPL-2.0 AND MIT", "(MIT OR GPL-3.0-only) AND BSD-3-Clause",
     "Apache-2.0 WITH LLVM-exception"],
)  # fmt: skip
def test_a_choice_of_licences_needs_one_that_is_allowed(expression: str) -> None:
    assert allowed(expression)
