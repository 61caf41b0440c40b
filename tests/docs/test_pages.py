"""The docs pages against the program: navigation, commands, options, quoted messages, links of the README."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from crossmodal.cli import app
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def names_of_pages() -> set[str]:
    return {path.stem for path in (*DOCS.glob("*.md"), *DOCS.glob("*.ipynb"))}


def test_navigation_lists_every_page_once() -> None:
    trees = re.findall(r"```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    listed = "".join(trees).split()
    assert sorted(listed) == sorted(names_of_pages() - {"index"})


def test_index_links_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+)\.(?:md|ipynb)", (DOCS / "index.md").read_text()))
    assert linked == names_of_pages() - {"index"}


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (REPOSITORY / "README.md").read_text())
    missing = [link for link in links if "://" not in link and not (REPOSITORY / link).exists()]
    assert links and not missing


def code_of(page: Path) -> list[str]:
    """Lines of the blocks of code without a language, and inline code; continued lines are joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(\S*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    inline = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]
    return [line for language, block in blocks if not language for line in block.splitlines()] + inline


def calls_of(program: str, page: Path) -> list[list[str]]:
    """The words after each call of a program in a page's code; brackets of optional parts and comments left out."""
    parts = [part.strip() for line in code_of(page) for part in re.split(r"&&|\|\||;", line)]
    called = [part for part in parts if part.startswith(f"{program} ")]
    return [shlex.split(re.sub(r"[\[\]]", " ", part), comments=True)[1:] for part in called]


@EACH_PAGE
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in calls_of("crossmodal", page):
        command = typer.main.get_command(app)
        rest = list(words)
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"{page.name}: crossmodal {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= known, f"{page.name}: crossmodal {' '.join(words)}"


@EACH_PAGE
def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for words in calls_of("make", page):
        assert words[0] in targets, f"{page.name}: make {' '.join(words)}"


def test_the_checks_see_commands() -> None:
    assert len(calls_of("crossmodal", DOCS / "data.md")) > 10
    assert calls_of("make", REPOSITORY / "README.md")


def texts_of_the_program() -> str:
    """Every constant text of the library."""
    texts = []
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_quoted_messages_are_those_of_the_program() -> None:
    """Inline code before the colon of a list's entry in troubleshooting.md, in parts between "…"."""
    entries = re.findall(r"^- ((?:`[^`]+`|[^`:])+)", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [" ".join(span.split()) for entry in entries for span in re.findall(r"`([^`]+)`", entry)]
    texts = texts_of_the_program()
    parts = [part.strip() for span in quoted for part in span.split("…")]
    assert len(quoted) > 30
    assert [part for part in parts if part not in texts] == []
