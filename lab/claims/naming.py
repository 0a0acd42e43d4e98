"""Check that the names in a claim are those of something that its run will have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.base import TRUTH, Problem, nearest
from lab.checks import OF_RUNS
from lab.claims.expression import Call, Misstated
from lab.claims.grammar import read
from lab.scenario import ClaimTable
from lab.scenario.text import cut

TEMPERATURES = ("hot", "cold")
_AROUND = 24


@dataclass(frozen=True)
class Names:
    """What a run will have: the queries of each projection, and the queries of the source of truth under `TRUTH`.

    `missing` are the quantities that it won't have, each with the reason.
    """

    queries: Mapping[str, Collection[str]]
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def projections(self) -> list[str]:
        """Return the names of the projections."""
        return [name for name in self.queries if name != TRUTH]


def problems(claims: Sequence[ClaimTable], names: Names, file: str) -> list[Problem]:
    """Return everything that is wrong with a scenario's claims."""
    found = []
    for number, claim in enumerate(claims, 1):
        where = f"{file}: claim.{claim.name or f'#{number}'}.that"
        try:
            for call in read(claim.that).calls:
                for error in _wrong(call, names):
                    found.append(_problem(where, claim.that, error))
        except Misstated as error:
            found.append(_problem(where, claim.that, error))
    return found


def _problem(where: str, text: str, error: Misstated) -> Problem:
    """Say what is wrong and where: the place is counted from 1, and shown by the text around it."""
    rest = text[error.at : error.at + _AROUND]
    shown = f"`{cut(rest)}`" if rest.strip() else "the end"
    return Problem(where, f"at {error.at + 1}, {shown}: {error.what}", error.way_out)


def _wrong(call: Call, names: Names) -> Iterator[Misstated]:
    if reason := names.missing.get(call.quantity.name):
        yield Misstated(reason, call.at)
    places = dict(zip((kind.rstrip("?") for kind in call.quantity.arguments), call.places, strict=False))
    projection, query = call.argument("projection"), call.argument("query")
    known = [*names.projections, *([TRUTH] if "query" in places else [])]
    if projection is not None and projection not in known:
        what = "the source of truth is no projection" if projection == TRUTH else "no projection is called"
        told = what if projection == TRUTH else f"{what} `{projection}`"
        yield Misstated(told, places["projection"], nearest(projection, known))
    elif projection is not None and query is not None and query not in names.queries.get(projection, ()):
        yield _unasked(projection, query, names, places["query"])
    for kind, valid in (("check", OF_RUNS), ("temperature", TEMPERATURES)):
        if (given := call.argument(kind)) is not None and given not in valid:
            yield Misstated(f"no {kind} is called `{given}`", places[kind], nearest(given, valid))


def _unasked(projection: str, query: str, names: Names, at: int) -> Misstated:
    asked = names.queries.get(projection, ())
    if query not in {name for each in names.queries.values() for name in each}:
        return Misstated(f"no query is called `{query}`", at, nearest(query, asked))
    others = sorted(name for name, each in names.queries.items() if query in each)
    return Misstated(f"`{projection}` is not asked `{query}`", at, f"these are: {', '.join(others)}")
