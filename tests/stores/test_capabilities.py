"""A scenario that needs a promise which its store doesn't give is refused when it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pieces import SCENARIO

from lab.base import BadInput
from lab.ports import Capabilities
from lab.scenario import Source
from lab.stores import STORES
from lab.stores.memory import Memory
from lab.wiring import plan


class ByItem(Memory):
    name = "toy.items"
    capabilities = Capabilities(atomic="item")


def refused(store: type[Memory], folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> str:
    spec = replace(STORES["memory"], name=store.name, path=f"{__name__}:{store.__name__}")
    monkeypatch.setitem(STORES._shipped, store.name, spec)
    path = folder / "mine.toml"
    more = "\n".join(["[[projection]]", 'name = "mine"', f'store = "{store.name}"', 'subscribe = "catch-up"', *lines])
    path.write_text(f"{SCENARIO}\n{more}\n")
    try:
        plan(Source(path))
    except BadInput as error:
        return str(error)
    return ""


def test_what_lands_item_by_item_can_not_add_up_nor_remember_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(ByItem, tmp_path, monkeypatch) == ""
    said = refused(ByItem, tmp_path, monkeypatch, 'keeps = "totals"')
    assert "projection.mine.keeps" in said
    assert "count twice" in said
    assert "projection.mine.guard" in refused(ByItem, tmp_path, monkeypatch, 'guard = "dedupe"')


def test_what_shows_a_write_at_once_is_refused_a_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(ByItem, tmp_path, monkeypatch, "refresh = 1.0")
    assert "projection.mine.refresh" in said
    assert "it has no refresh" in said
