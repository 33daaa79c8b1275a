"""Words that readers of other tools' documents would not search for stay out of what users read first."""

import re
from pathlib import Path

import pytest

from duetto.cli import COMMANDS
from helpers.command_line import duetto

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
# each a whole word or phrase: the field says model file, input, level, probability, resume, overwrite, ...
UNWANTED = [
    "bundles?", "takes? (a song |songs |it )?apart", "take apart", "hears?", "heard", "throats?", "the gate",
    "likes", "way through", "from nothing", "says? of (itself|themselves)", "do(es)? again", "goes on where",
    "in work", "true parts", "still playing", "so often", "in so many rounds", "share every", "soft songs?",
    "is no folder", "voice and (its )?music", "best of their kind", "laborator(y|ies)", "carr(y|ies) on from",
]  # fmt: skip


def unwanted(text: str) -> list[str]:
    assert len(text) > 300
    words = " ".join(text.split())
    return [word for word in UNWANTED if re.search(rf"\b{word}\b", words, re.IGNORECASE)]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_uses_the_words_of_the_field(name: str) -> None:
    assert unwanted("\n".join(duetto(*name.split(), "--help").out)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documents_use_the_words_of_the_field(page: Path) -> None:
    assert unwanted(page.read_text("utf-8")) == []
