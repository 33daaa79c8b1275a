"""The documents point to what exists, their commands are accepted, and pages of scripts are up to date."""

import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml

import duetto
from duetto.cli import COMMANDS
from duetto.training.config_io import load_config

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TOP = [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES = sorted(DOCS.rglob("*.md"))


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", [*TOP, *PAGES], ids=identify)
def test_links_point_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(listed(navigation)) == [str(page.relative_to(DOCS)) for page in PAGES]


def listed(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    for entry in (
        entries.values() if isinstance(entries, dict) else entries if isinstance(entries, list) else ()
    ):
        yield from listed(entry)


def test_the_reference_has_every_public_name() -> None:
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: duetto\.(\w+)$", page, re.MULTILINE)) == sorted(duetto.__all__)


def test_the_pages_of_the_models_and_of_the_papers_are_generated() -> None:
    models = runpy.run_path(str(ROOT / "scripts" / "model_cards.py"))
    papers = runpy.run_path(str(ROOT / "scripts" / "papers_page.py"))
    assert models["page"]() == models["PAGE"].read_text(encoding="utf-8")
    assert models["licences"]() == models["LICENCES"].read_text(encoding="utf-8")
    assert papers["page"]() == papers["PAGE"].read_text(encoding="utf-8")


def test_pictures_are_small() -> None:
    pictures = [path for path in DOCS.rglob("*") if path.suffix in (".png", ".jpg", ".webp", ".svg")]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 200_000] == []


def test_the_citation_and_the_changelog_name_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == duetto.__version__
    assert citation["cff-version"] == "1.2.0"
    assert f"## [{duetto.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `duetto` command of a page: in blocks, and in code that begins with one."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^    (.*duetto .*)$", re.sub(r"\\\n\s*", " ", text), re.MULTILINE)
    lines += re.findall(r"(?<![`\w])`((?:[^`\n]*\| )?duetto [a-z][^`\n]*)`", text)
    parts = [part for line in lines for part in re.split(r"\s(?:\\?\||<|>|&&|#|;)\s|; ", f"{line} ")]
    words = [[word for word in shlex.split(part) if word not in ("$", "do")] for part in parts]
    return [
        arguments for program, *arguments in filter(None, words) if program.endswith("duetto") and arguments
    ]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=identify)
def test_printed_commands_have_options_that_exist(page: Path) -> None:
    for name, *arguments in commands(page):
        if name == "COMMAND" or any("$" in argument for argument in arguments):
            continue
        assert name in COMMANDS
        if not arguments:
            continue  # a mention of the command
        numbers = ["4" if argument == "N" else argument for argument in arguments]
        try:
            getattr(import_module(f"duetto.cli.{name}"), name).make_context(name, numbers).close()
        except click.MissingParameter:
            pass  # a mention of its options
        except click.exceptions.Exit:
            assert "--help" in arguments


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != DOCS], ids=identify)
def test_printed_settings_exist(page: Path) -> None:
    """`--set` of every training command of a page, with the shell variables of its blocks."""
    blocks = "\n".join(re.findall(r"^    (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE))
    if "duetto train" not in blocks:
        return
    script = f"pip() {{ :; }}\nduetto() {{ printf '%s\\0' \"$@\"; echo; }}\n{blocks}"
    done = subprocess.run(
        ["/bin/bash", "-c", script], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    runs = [line.split("\0")[:-1] for line in done.stdout.splitlines() if line.startswith("train\0")]
    assert runs
    for _, recipe, *options in runs:
        if recipe.lower() != recipe:
            continue  # a placeholder
        overrides = [value for option, value in pairwise(options) if option == "--set"]
        load_config(recipe, overrides)
