"""The tables of what is random: delays, and the time that a modelled store takes. Each is drawn from the run's seed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lab.scenario.limits import DELAY_VALUES_MAX, PARTS_MAX, PATH_MAX
from lab.scenario.values import FileName, Probability, ScenarioTable, Seconds, Word

# Below a tenth, a Pareto law has values that no run comes to the end of.
Shape = Annotated[float, Field(ge=0.1, le=1_000.0, allow_inf_nan=False)]
Sigma = Annotated[float, Field(ge=0.0, le=5.0)]
# The standard deviation of a lognormal's logarithm, unless it is given.
SIGMA = 1.0
# The keys that only some kinds have, and which of them each kind has.
_OWN = {"sigma", "shape", "scale", "values", "file", "column", "parts"}
_KEYS: dict[str, set[str]] = {
    "lognormal": {"sigma"},
    "pareto": {"shape", "scale"},
    "gamma": {"shape"},
    "empirical": {"values", "file", "column"},
    "mixture": {"parts"},
}


class DelayLaw(ScenarioTable):
    """What each kind of delay has; times in seconds."""

    kind: Literal["constant", "exponential", "lognormal", "pareto", "gamma", "empirical", "mixture"] = "constant"
    mean: Seconds = 0.0
    sigma: Sigma | None = None
    shape: Shape | None = None
    scale: Seconds | None = None
    values: tuple[Seconds, ...] | None = Field(None, strict=False, min_length=1, max_length=DELAY_VALUES_MAX)
    file: str | None = Field(None, min_length=1, max_length=PATH_MAX)
    column: Word | None = None

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        own = {name for name in _OWN if getattr(self, name, None) is not None}
        if strange := own - _KEYS.get(self.kind, set()):
            raise ValueError(f"a delay of kind `{self.kind}` has no `{min(strange)}`")
        if self.kind in ("empirical", "mixture") and self.mean:
            raise ValueError(f"a delay of kind `{self.kind}` has no `mean`: it follows from the rest")
        if self.kind == "pareto":
            self._pareto()
        if self.kind == "gamma" and self.shape is None:
            raise ValueError("a gamma needs its `shape`, for example shape = 2")
        if self.kind == "empirical" and (self.values is None) == (self.file is None):
            raise ValueError("an empirical delay needs either `values`, a list of seconds, or a `file` of them")
        if self.column is not None and self.file is None:
            raise ValueError("`column` is a column of a `file`, and there is none")
        return self

    def _pareto(self) -> None:
        if self.shape is None:
            raise ValueError("a Pareto needs its `shape`, for example shape = 2.5")
        if self.scale is not None and self.mean:
            raise ValueError("a Pareto has a `mean` or a `scale` (its smallest value), not both")
        if self.scale is None and not self.mean:
            raise ValueError("a Pareto needs a `mean` or a `scale`, its smallest value")
        if self.scale is None and self.shape <= 1:
            raise ValueError("a Pareto of a shape up to 1 has no mean: give its `scale`, the smallest value")

    @property
    def width(self) -> float:
        """The standard deviation of a lognormal's logarithm."""
        return SIGMA if self.sigma is None else self.sigma

    @property
    def smallest(self) -> float:
        """The scale of a Pareto, which is its smallest value; computed from the mean if that is given."""
        assert self.shape is not None
        return self.mean * (self.shape - 1) / self.shape if self.scale is None else self.scale


class DelayPart(DelayLaw):
    """One part of a mixture: a share of the delays are drawn from this law."""

    kind: Literal["constant", "exponential", "lognormal", "pareto", "gamma", "empirical"] = "constant"
    share: Probability


class Delay(DelayLaw):
    """A distribution of delays: `mean` in seconds; `sigma` is the standard deviation of a lognormal's logarithm.

    `shape` is that of a Pareto or of a gamma, `scale` the smallest value of a Pareto. An `empirical` one draws from
    `values`; a `mixture` from one of its `parts`, by their shares.
    """

    parts: tuple[DelayPart, ...] | None = Field(None, strict=False, min_length=1, max_length=PARTS_MAX)

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.kind == "mixture":
            if self.parts is None:
                raise ValueError("a mixture needs `parts`, each with its share and its law")
            if abs((whole := sum(part.share for part in self.parts)) - 1) > 1e-9:
                raise ValueError(f"the shares of the parts add up to {whole:g}, not to 1")
        return self


class ServiceModel(ScenarioTable):
    """A modelled store: a batch of n rows takes `per_batch + per_row * n` seconds, exactly or on average.

    Any other distribution than `constant` multiplies that with a random factor of mean 1, drawn for each batch.
    `empirical` takes the times of a measured run instead: `run` is its folder.
    """

    distribution: Literal["constant", "exponential", "lognormal", "gamma", "empirical"] = "constant"
    per_batch: Seconds = 0.000_5
    per_row: Seconds = 0.000_01
    sigma: Sigma | None = None
    shape: Shape | None = None
    run: str | None = Field(None, min_length=1, max_length=PATH_MAX)
    projection: FileName | None = None

    @model_validator(mode="after")
    def _keys_of_its_distribution(self) -> Self:
        for key, kind in (("shape", "gamma"), ("sigma", "lognormal")):
            if getattr(self, key) is not None and self.distribution != kind:
                raise ValueError(f"the distribution `{self.distribution}` has no `{key}`")
        formula = {"per_batch", "per_row"} & self.model_fields_set
        if self.distribution == "empirical" and formula:
            raise ValueError(f"an empirical distribution has no `{min(formula)}`: its times are those of the run")
        if self.distribution == "gamma" and self.shape is None:
            raise ValueError("a gamma needs its `shape`, for example shape = 2")
        if self.distribution == "empirical" and self.run is None:
            raise ValueError("an empirical distribution needs `run`, the folder of a measured run")
        if self.distribution != "empirical" and (self.run or self.projection):
            raise ValueError(f"the distribution `{self.distribution}` is drawn from no `run`")
        return self
