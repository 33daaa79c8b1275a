"""Words that readers of other tools' documents would not search for stay out of what users read first."""

import re
from pathlib import Path

import pytest

from duetto.cli import cli
from helpers.command_line import duetto

README = Path(__file__).resolve().parents[2] / "README.md"
# each a whole word or phrase: the field says model file, input, level, probability, resume, overwrite, ...
UNWANTED = [
    "bundles?", "takes? (a song |songs |it )?apart", "take apart", "hears?", "heard", "throats?", "the gate",
    "likes", "way through", "from nothing", "says? of (itself|themselves)", "do(es)? again", "goes on where",
    "in work", "true parts", "still playing", "so often", "in so many rounds", "share every", "soft songs?",
    "is no folder", "voice and (its )?music", "best of their kind", "laborator(y|ies)", "carr(y|ies) on from",
]  # fmt: skip


@pytest.mark.parametrize("name", ["README.md", "", *cli.commands])
def test_readme_and_help_use_the_words_of_the_field(name: str) -> None:
    text = (
        README.read_text("utf-8") if name == "README.md" else "\n".join(duetto(*name.split(), "--help").out)
    )
    assert len(text) > 300
    words = " ".join(text.split())
    found = [word for word in UNWANTED if re.search(rf"\b{word}\b", words, re.IGNORECASE)]
    assert found == []
