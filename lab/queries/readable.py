"""Parameters and answers as people read them: whole units of decimals as the decimals that they stand for."""

from __future__ import annotations

from lab.decimals import readable_row
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query


def answered(query: Query, row: Row) -> Row:
    """Return a row of an answer."""
    return readable_row([column.kind for column in KINDS[query.kind].columns(query) or ()], row)


def asked(query: Query, parameters: Row) -> Row:
    """Return a set of parameters."""
    return readable_row([one.kind for one in KINDS[query.kind].parameters(query)], parameters)
