"""The documentation's tests see what they are there to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import markdown
from tests.docs.test_links import what_is_wrong


def test_links_images_references_and_html_are_seen() -> None:
    page = '[a](one.md) ![b](two.png "title")\n\n[c]: three.md\n\n<img alt="" src="four.svg">\n'
    assert markdown.links(page) == ["one.md", "two.png", "three.md", "four.svg"]


def test_links_to_other_sites_and_links_in_code_are_not_ours() -> None:
    page = "[a](https://example.org) `[b](no.md)`\n\n```text\n[c](no.md)\n```\n"
    assert markdown.links(page) == []


def test_anchors_are_made_from_headings() -> None:
    page = '# What it *is*: `serve`\n\n## Twice\n\n## Twice\n\n<a id="own"></a>\n\n```console\n# no heading\n```\n'
    assert markdown.anchors(page) == {"what-it-is-serve", "twice", "twice-1", "own"}


def test_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Here\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md) [b](other.md#here) [c](other.md#there) [d](#nowhere) [e](..)\n", encoding="utf-8")
    assert markdown.broken_links(page, tmp_path.resolve()) == [
        "gone.md: there is no gone.md",
        "other.md#there: other.md has no heading #there",
        "#nowhere: page.md has no heading #nowhere",
        "..: that is outside the checkout",
    ]


def test_fence_in_a_list_loses_its_indentation_and_knows_its_line() -> None:
    page = "- one\n\n  ```python\n  if True:\n      pass\n  ```\n"
    assert list(markdown.fences(page)) == [markdown.Fence("python", "if True:\n    pass\n", 4)]


def test_commands_lose_prompts_variables_and_comments() -> None:
    body = "$ WSGIPERF_THREADS=2 python manage.py serve \\\n    --threads 4  # four\nits output\n$ a && b | c\n"
    fence = markdown.Fence("console", body, 1)
    assert list(markdown.commands(fence)) == [
        ["python", "manage.py", "serve", "--threads", "4"],
        ["a"],
        ["b"],
        ["c"],
    ]


@pytest.mark.parametrize(
    "command",
    [
        "python manage.py migrate --noinput",
        "python3 tests/run.py --fast",
        "python -m pip install django-wsgiperf",
        "python -W error -m tests._run.wheel",
        "curl -i http://127.0.0.1:8000/",
        ".ci/run",
    ],
)
def test_command_that_exists_is_accepted(command: str) -> None:
    assert what_is_wrong(command.split()) is None


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("python manage.py serv", "there is no command 'serv'"),
        ("python manage.py migrate --nowhere", "migrate takes no --nowhere"),
        ("python3 tests/gone.py", "there is no tests/gone.py"),
        ("python -m tests.gone", "there is no module tests.gone to run"),
        ("./gone.sh", "there is no ./gone.sh"),
    ],
)
def test_command_that_does_not_exist_is_named(command: str, problem: str) -> None:
    assert what_is_wrong(command.split()) == problem
