"""Check that the names in a claim are those of something that its run will have, or has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.base import TRUTH, Problem, nearest
from lab.checks import OF_RUNS
from lab.claims.expression import Call, Misstated
from lab.claims.grammar import read
from lab.runs import Run
from lab.scenario import ClaimTable
from lab.scenario.text import cut

TEMPERATURES = ("hot", "cold")
# How the parts of a page are read; `lab.measure.pages` follows them.
POLICIES = ("none", "slowest", "each")
# What the claims of a run are called as a suite of tests, beside its projections.
SUITE = "claims"
_AROUND = 24


@dataclass(frozen=True)
class Names:
    """What a run has: the queries of each projection, and the queries of the source of truth under `TRUTH`.

    `missing` are the quantities, checks and temperatures that it doesn't have, and `TRUTH` if that isn't asked, each
    with the reason and the way out.
    """

    queries: Mapping[str, Collection[str]]
    missing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    pages: Collection[str] = ()

    @property
    def projections(self) -> list[str]:
        """Return the names of the projections."""
        return [name for name in self.queries if name != TRUTH]

    @classmethod
    def of(cls, run: Run) -> Names:
        """Return the names in a finished run."""
        queries: dict[str, list[str]] = {entry["name"]: [] for entry in run.manifest["projections"]}
        asked = run.table("queries").select("projection", "query").unique(maintain_order=True)
        for projection, query in asked.iter_rows():
            queries.setdefault(projection, []).append(query)
        return cls(queries, pages=[page["name"] for page in run.manifest.get("pages") or ()])


def called(claim: ClaimTable, number: int) -> str:
    """Return what a claim is called: without a name by its number, from 1."""
    return claim.name or f"claim-{number}"


def problems(claims: Sequence[ClaimTable], names: Names, file: str) -> list[Problem]:
    """Return everything that is wrong with a scenario's claims."""
    found = []
    named = {claim.name.lower() for claim in claims if claim.name}
    for number, claim in enumerate(claims, 1):
        where = f"{file}: claim.{claim.name or f'#{number}'}"
        if claim.name is None and called(claim, number) in named:
            what = f"without a name it is called `{called(claim, number)}`, and another claim has that name"
            found.append(Problem(where, what, "give it a name, or rename the other one"))
        found += wrong(claim.that, names, f"{where}.that")
    return found


def wrong(that: str, names: Names, where: str) -> list[Problem]:
    """Return what is wrong with the text of one claim."""
    try:
        calls = read(that).calls
    except Misstated as error:
        return [_problem(where, that, error)]
    return [_problem(where, that, error) for call in calls for error in _wrong(call, names)]


def _problem(where: str, text: str, error: Misstated) -> Problem:
    """Say what is wrong and where: the place is counted from 1, and shown by the text around it."""
    rest = text[error.at : error.at + _AROUND]
    shown = f"`{cut(rest)}`" if rest.strip() else "the end"
    return Problem(where, f"at {error.at + 1}, {shown}: {error.what}", error.way_out)


def _wrong(call: Call, names: Names) -> Iterator[Misstated]:
    if call.quantity.name in names.missing:
        yield _missing(names, call.quantity.name, call.at)
    places = dict(zip((kind.rstrip("?") for kind in call.quantity.arguments), call.places, strict=False))
    projection, query = call.argument("projection"), call.argument("query")
    known = [*names.projections, *([TRUTH] if "query" in places else [])]
    if projection == TRUTH and "query" in places and TRUTH in names.missing:
        yield _missing(names, TRUTH, places["projection"])
    elif projection is not None and projection not in known:
        what = "the source of truth is no projection" if projection == TRUTH else "no projection is called"
        told = what if projection == TRUTH else f"{what} `{projection}`"
        yield Misstated(told, places["projection"], nearest(projection, known))
    elif projection is not None and query is not None and query not in names.queries.get(projection, ()):
        yield _unasked(projection, query, names, places["query"])
    kinds = {"check": OF_RUNS, "temperature": TEMPERATURES, "page": names.pages, "policy": POLICIES}
    for kind, valid in kinds.items():
        if (given := call.argument(kind)) is not None and given not in valid:
            yield Misstated(f"no {kind} is called `{given}`", places[kind], nearest(given, valid))
        elif given is not None and given in names.missing:
            yield _missing(names, given, places[kind])


def _missing(names: Names, what: str, at: int) -> Misstated:
    reason, way_out = names.missing[what]
    return Misstated(reason, at, way_out)


def _unasked(projection: str, query: str, names: Names, at: int) -> Misstated:
    asked = names.queries.get(projection, ())
    if query not in {name for each in names.queries.values() for name in each}:
        return Misstated(f"no query is called `{query}`", at, nearest(query, asked))
    others = sorted(name for name, each in names.queries.items() if query in each)
    return Misstated(f"`{projection}` is not asked `{query}`", at, f"asked it are: {', '.join(others)}")
