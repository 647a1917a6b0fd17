"""What the documentation shows exists: its links, its pages' place in the table of contents, its code, its commands."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from tests.docs import markdown

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [path for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))) if path.exists()]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
SHOP_COMMANDS = {path.stem for path in (ROOT / "example_project").glob("*/management/commands/[a-z]*.py")}
PYTHONS = ("python", "python3", ".venv/bin/python", ".venv/bin/python3")
#: What a reader's own project has, and this checkout has not.
READERS_OWN = {"manage.py"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_and_image_leads_somewhere(page: Path) -> None:
    assert markdown.broken_links(page, ROOT) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_examples_compile(page: Path) -> None:
    for fence in markdown.fences(page.read_text(encoding="utf-8")):
        if fence.language in {"python", "py"}:
            # Blank lines in front give an error the line of the page.
            compile("\n" * (fence.line - 1) + fence.body, str(page), "exec", dont_inherit=True)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_in_examples_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = [words for f in markdown.fences(text) if f.language == "console" for words in markdown.commands(f)]
    assert [problem for words in shown if (problem := what_is_wrong(words))] == []


def test_table_of_contents_lists_every_page() -> None:
    index = DOCS / "index.md"
    listed = {
        (DOCS / target.partition("#")[0]).resolve()
        for target in markdown.links(index.read_text(encoding="utf-8"))
        if target.partition("#")[0]
    }
    pages = {page for page in PAGES if page.is_relative_to(DOCS)} - {index}
    assert sorted(str(page.relative_to(DOCS)) for page in pages - listed) == []


def what_is_wrong(words: list[str]) -> str | None:
    """Why a command cannot be run by a reader, or None. Programs of others are not judged."""
    program, *rest = words
    if program.endswith("manage.py"):
        return wrong_management(program, rest)
    if Path(program).name not in {Path(name).name for name in PYTHONS}:
        return wrong_script(program) if program.startswith(("./", ".ci/")) else None
    while rest and rest[0].startswith("-") and rest[0] not in {"-m", "-c"}:
        rest = rest[2:] if rest[0] in {"-W", "-X"} else rest[1:]
    if not rest or rest[0] == "-c":
        return None
    if rest[0] == "-m":
        return wrong_module(rest[1])
    return wrong_management(rest[0], rest[1:]) if rest[0].endswith("manage.py") else wrong_script(rest[0])


def wrong_script(path: str) -> str | None:
    return None if path in READERS_OWN or (ROOT / path).is_file() else f"there is no {path}"


def wrong_module(name: str) -> str | None:
    """Modules of this checkout are looked for as files: importing them could start them."""
    if name.split(".")[0] in {"tests", "django_wsgiperf"}:
        file = ROOT.joinpath(*name.split("."))
        exists = file.with_suffix(".py").is_file() or (file / "__main__.py").is_file()
        return None if exists else f"there is no module {name} to run"
    return None if importlib.util.find_spec(name.split(".")[0]) else f"there is no module {name}"


def wrong_management(script: str, words: list[str]) -> str | None:
    """A management command must exist, and take the options that are shown."""
    if problem := wrong_script(script):
        return problem
    if not words or words[0].startswith("-"):
        return None
    name, *rest = words
    known = get_commands()
    if name not in known:
        return None if name in SHOP_COMMANDS else f"there is no command {name!r}"
    app = known[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    parser = command.create_parser("manage.py", name)
    takes = {**parser._option_string_actions}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and rest:
            if rest[0] not in action.choices:
                return f"{name} has no subcommand {rest[0]!r}"
            takes |= action.choices[rest[0]]._option_string_actions
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in takes]
    return f"{name} takes no {', '.join(unknown)}" if unknown else None
