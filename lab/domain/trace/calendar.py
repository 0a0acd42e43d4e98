"""Take written dates apart: the order of day and month of a column, and the parts of each of its values."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CLOCK = r"(?<h>\d{1,2}):(?<n>\d{2})(?::(?<s>\d{2})(?<f>[.,]\d+)?)?\s*(?<ap>[AaPp]\.?[Mm]\.?)?"
# Oracle writes 09.05.00.123456 PM.
DOTTED = CLOCK.replace(":(?<n>", "[:.](?<n>").replace("(?::(?<s>", "(?:[:.](?<s>")
ZONE = r"\s*(?<z>[Zz]|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?)?"
REGION = r"(?:\[(?<region>[A-Za-z0-9_/+-]+)\])?"
DAY_NAME = r"(?:[A-Za-z]{3,9}\.?,?\s+)?"
# The forms of a date with their names, tried one after the other.
ISO = rf"^(?<y>\d{{4}})[-/.](?<m>\d{{1,2}})[-/.](?<d>\d{{1,2}})(?:(?:[Tt]|\s+){CLOCK})?{ZONE}{REGION}$"
COMPACT = (
    r"^(?<y>\d{4})(?<m>\d{2})(?<d>\d{2})(?:[Tt ]?(?<h>\d{2}):?(?<n>\d{2}):?(?<s>\d{2})?(?<f>[.,]\d+)?)?" + ZONE + "$"
)
TURNED = rf"^(?<a>\d{{1,2}})(?<p>[-/.])(?<b>\d{{1,2}})(?<q>[-/.])(?<y>\d{{4}}|\d{{2}})(?:,?(?:[Tt]|\s+){CLOCK})?{ZONE}$"
NAMED = (
    rf"^{DAY_NAME}(?<d>\d{{1,2}})[. /-]+(?<w>[A-Za-z]{{3,9}})[. /-]+(?<y>\d{{4}}|\d{{2}})"
    rf"(?:,?[\s:Tt]+{DOTTED})?{ZONE}$",
    rf"^{DAY_NAME}(?<w>[A-Za-z]{{3,9}})\.?\s+(?<d>\d{{1,2}}),?\s+(?<y>\d{{4}})(?:,?\s+{CLOCK})?{ZONE}$",
    rf"^{DAY_NAME}(?<w>[A-Za-z]{{3,9}})\s+(?<d>\d{{1,2}})\s+{CLOCK}{ZONE}\s+(?<y>\d{{4}})$",
)
PARTS = ("y", "m", "d", "h", "n", "s", "f", "ap", "z", "region", "w", "a", "b", "p", "q")
SAMPLE = 1_000


@dataclass(frozen=True)
class DayOrder:
    """The order of day and month in a column (`dmy` or `mdy`; `ymd`: the year first), and what is to be said of it."""

    order: str
    form: str = ""
    doubt: str = ""

    @classmethod
    def of(cls, values: pl.Series, told: str | None) -> DayOrder:
        """Find the order of a column of text: by what is told, by parts above 12, by AM and PM, by the separator."""
        head = values.drop_nulls().head(SAMPLE).str.strip_chars()
        if not head.str.contains(TURNED).any():
            return cls("ymd")
        found = values.str.strip_chars().str.extract_groups(TURNED).struct.unnest()
        found = found.filter(found["a"].is_not_null() & (found["p"] == found["q"]))
        first, second = (int(found[part].cast(pl.Int64).max() or 0) for part in "ab")  # type: ignore[arg-type]
        names = {"dmy": "read as day, month, year", "mdy": "read as month, day, year"}
        if told in names:
            return cls(told, names[told])
        if first > 12 >= second or second > 12 >= first:
            order = "dmy" if first > 12 else "mdy"
            return cls(order, names[order])
        if first > 12:
            fits = {
                "dmy": int((found["b"].cast(pl.Int64) <= 12).sum()),
                "mdy": int((found["a"].cast(pl.Int64) <= 12).sum()),
            }
            order = max(fits, key=lambda one: fits[one])
            return cls(order, names[order])
        if found["ap"].is_not_null().any() or found.height == 0 or (found["a"] == found["b"]).all():
            return cls("mdy", names["mdy"])
        order = "mdy" if found["p"][0] == "/" else "dmy"
        if found["p"][0] == ".":
            return cls(order, names[order])
        other = "dmy" if order == "mdy" else "mdy"
        return cls(order, names[order], f"{names[other].removeprefix('read as ')}: --dates {other}")


def parts(text: pl.Series, written: DayOrder) -> pl.DataFrame:
    """Return `second` (since 1970, int64) and `nano` of values without blanks around them; null if it is no date."""
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, text.len())
    frame = pl.DataFrame([nothing.alias(name) for name in PARTS])
    left = pl.Series("left", [True]).new_from_index(0, text.len())
    for pattern in (ISO, TURNED, COMPACT, *NAMED):
        if not left.any():
            break
        found = text.str.extract_groups(pattern).struct.unnest()
        fits = found["y"].is_not_null() & left
        if fits.any():
            frame = frame.with_columns(
                pl.when(fits).then(found[name] if name in found.columns else None).otherwise(pl.col(name)).alias(name)
                for name in PARTS
            )
            left = left & ~fits & text.is_not_null()
    return _computed(frame, written)


def _computed(frame: pl.DataFrame, written: DayOrder) -> pl.DataFrame:
    day, month = ("b", "a") if written.order == "mdy" else ("a", "b")
    named = (
        pl.col("w")
        .str.to_lowercase()
        .str.slice(0, 3)
        .replace_strict(
            {name: str(place) for place, name in enumerate(MONTHS, 1)}, default=None, return_dtype=pl.String
        )
    )
    year = (
        pl.when(pl.col("y").str.len_bytes() == 2)
        .then(pl.when(pl.col("y") < "69").then(pl.lit("20") + pl.col("y")).otherwise(pl.lit("19") + pl.col("y")))
        .otherwise(pl.col("y"))
    )
    # 31/01-2024 is no date.
    even = pl.col("p").is_null() | (pl.col("p") == pl.col("q"))
    date = pl.concat_str(
        year, pl.coalesce("m", named, month).str.zfill(2), pl.coalesce("d", day).str.zfill(2), separator="-"
    ).str.to_date("%Y-%m-%d", strict=False)
    clock = {name: pl.col(name).cast(pl.Int64).fill_null(0) for name in ("h", "n", "s")}
    half = pl.col("ap").str.to_lowercase().str.slice(0, 1)
    hour = pl.when(half == "p").then(clock["h"] % 12 + 12).when(half == "a").then(clock["h"] % 12).otherwise(clock["h"])
    valid = even & (hour < 24) & (clock["n"] < 60) & (clock["s"] <= 60) & (half.is_null() | (clock["h"] <= 12))
    digits = pl.col("z").str.replace_all(r"\D", "")
    offset = (
        digits.str.slice(0, 2).cast(pl.Int64, strict=False).fill_null(0) * 3600
        + digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0) * 60
    )
    offset = pl.when(pl.col("z").str.contains("-", literal=True)).then(-offset).otherwise(offset)
    local = date.cast(pl.Int32).cast(pl.Int64) * 86_400 + hour * 3600 + clock["n"] * 60 + clock["s"]
    nano = pl.col("f").str.slice(1, 9).str.pad_end(9, "0").cast(pl.Int64, strict=False).fill_null(0)
    made = frame.select(
        pl.when(valid).then(local - offset.fill_null(0)).alias("second"), pl.when(valid).then(nano).alias("nano"),
        pl.when(pl.col("z").is_null()).then("region").alias("region"),
    )  # fmt: skip
    for region in made["region"].drop_nulls().unique().to_list():
        mine = pl.col("region") == region
        made = made.with_columns(
            pl.when(mine).then(_in_zone(made["second"], region)).otherwise("second").alias("second")
        )
    return made.select("second", pl.when(pl.col("second").is_not_null()).then("nano").alias("nano"))


def _in_zone(local: pl.Series, region: str) -> pl.Series:
    """Convert local times of a zone to UTC; null if there is no such zone or no such time."""
    times = pl.from_epoch(local, time_unit="s").dt.cast_time_unit("ms")
    try:
        return times.dt.replace_time_zone(region, ambiguous="earliest", non_existent="null").dt.epoch("s")
    except pl.exceptions.PolarsError:
        return local.clear(local.len())


def amount(values: pl.Series, by: int) -> tuple[pl.Series, pl.Series]:
    """Split numbers of `by` units a second into whole seconds and nanoseconds."""
    if values.dtype.is_integer():
        whole = values.cast(pl.Int64)
        rest = whole % by
        return whole // by, rest * (10**9 // by) if by <= 10**9 else rest // (by // 10**9)
    scaled = values.cast(pl.Float64).fill_nan(None)
    whole = (scaled / by).floor()
    nano = ((scaled - whole * by) * (1e9 / by)).round()
    carry = nano >= 1e9
    whole, nano = whole + carry.cast(pl.Float64), nano - 1e9 * carry.cast(pl.Float64)
    return whole.cast(pl.Int64, strict=False), nano.cast(pl.Int64, strict=False)
