"""The documents of the project: their text, sections, tables, code blocks, links and anchors."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("", "docs", "lab", "lab/domain/data/flights", "scenarios", "notebooks", "benchmarks")
# Every document that is kept by hand or made, by its path from the root.
PAGES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))


def text(name: str) -> str:
    """A page of the documentation."""
    return (ROOT / name).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S)


def sections(page: str) -> dict[str, str]:
    """The text below each heading, up to the next heading of any level; headings without their quotes."""
    parts = re.split(r"^#+ (.+)$", prose(page), flags=re.M)
    return {heading.replace("`", ""): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(page)}


def rows(section: str) -> dict[str, list[str]]:
    """The rows of a section's tables whose first cell is one quoted word: that word, and the other cells."""
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"`\w+`", cells[0]):
            found[cells[0].strip("`")] = cells[1:]
    return found


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text(page), flags=re.M | re.S)
    return [body for name, body in found if name == language]


def shell_lines(page: str) -> list[list[str]]:
    """Every line of every shell block, split into words; comments are left out, continued lines are joined."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def quoted(page: str) -> list[str]:
    """Every code span of a page's prose."""
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose(page))]
