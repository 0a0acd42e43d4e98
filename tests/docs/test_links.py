"""Every link, anchor, file and picture that a document names is there."""

from __future__ import annotations

import re

import pytest
from documents import PAGES, ROOT, anchors, quoted, text

ENDINGS = "py|md|toml|ipynb|json|svg|png|html|yml|lock|css|js"
# Files that a reader has, or that a run leaves behind.
STAND_INS = {
    "mine.toml",
    "America/Puerto_Rico",
    "NAME.toml",
    "report.html",
    "manifest.json",
    "results.json",
    "results.md",
    "sweep.json",
}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    here = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (here / file).resolve() if file else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    here = (ROOT / page).parent
    rooms = [path for path in (ROOT / "lab").iterdir() if path.is_dir()]
    spans = (span for span in quoted(page) if span not in STAND_INS and not span.startswith("runs/"))
    for span in spans:
        if re.fullmatch(rf"[\w./-]+\.({ENDINGS})|[\w-]+/[\w./-]*", span):
            places = (here, ROOT, ROOT / "lab", ROOT / "tests", *rooms)
            assert any((place / span).exists() for place in places), f"{page}: {span}"


def test_every_document_is_reached_from_the_readme() -> None:
    reached, open_pages = {"README.md"}, ["README.md"]
    while open_pages:
        page = open_pages.pop()
        for link in re.findall(r"\]\(([^)\s#]+\.md)", text(page)):
            target = str(((ROOT / page).parent / link).resolve().relative_to(ROOT)) if "://" not in link else page
            if target not in reached:
                reached.add(target)
                open_pages.append(target)
    assert set(PAGES) - reached == set()


def test_the_pictures_are_small_enough() -> None:
    assert [path.name for path in (ROOT / "docs").iterdir() if path.stat().st_size > 150_000] == []


def test_the_readme_is_short() -> None:
    assert len(text("README.md").splitlines()) < 200
