"""A projection of `eventsourcing` is right under the promise of that library, and the text says what others take."""

from __future__ import annotations

from following import Followed

from lab.kit.properties import tried
from lab.testing import check


def test_its_projection_passes_where_every_change_comes_once_and_in_order() -> None:
    result = check(Followed, delivery="in-order", histories=2)
    assert result.verdict == "pass", result.text()
    assert {item.prop: item.verdict for item in result.verdicts} == dict.fromkeys(tried("in-order"), "pass")
    assert "pass under in-order delivery" in result.text()


def test_under_another_promise_the_text_says_what_it_would_need() -> None:
    """Its recorder refuses a tracking that it has, and one that comes too late overwrites or is refused as well."""
    result = check(Followed, histories=3, properties=["no_double_effect", "no_loss"])
    assert {item.verdict for item in result.verdicts} == {"fail"}
    text = result.text()
    assert "IntegrityError: Failed to record tracking" in text
    assert "what to do: Remember what has been applied" in text
    assert "fail under out-of-order delivery" in text
