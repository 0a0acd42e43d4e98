"""What a projector says of itself: its columns and keys, how large its numbers are, and what its rows are."""

from __future__ import annotations

from typing import Any

from lab.base import DTYPES, BadInput, Kind, Problem, Unavailable, nearest
from lab.kit.history import COLUMNS, META, Shape

# The columns of a join's rows.
JOINED: dict[str, Kind] = {"customer": "int", "amount": "int", "name": "str"}


def bad(where: str, what: str, way_out: str = "") -> BadInput:
    """One thing that is wrong."""
    return BadInput([Problem(where, what, way_out)])


def shape_of(one: Any, name: str) -> Shape:
    """What its history looks like: `lab_columns`, `lab_key`, `lab_bits` and `lab_view`. Raises BadInput."""
    return shaped(
        getattr(one, "lab_columns", None) or COLUMNS,
        getattr(one, "lab_key", None) or "int",
        name,
        getattr(one, "lab_bits", 64),
        getattr(one, "lab_view", None),
    )


def sourced(one: Any, name: str) -> None:
    """Refuse a poller's `lab_source` that is no engine, or whose server or driver isn't there. Raises BadInput."""
    found = getattr(one, "lab_source", "sqlite")
    if found == "sqlite":
        return
    if found != "postgres":
        raise bad(name, f"there is no source `{found}`", "valid: sqlite, postgres")
    try:
        from lab.servers.postgres import SERVER

        SERVER.connect().close()
    except ModuleNotFoundError as error:
        raise bad(
            name, f"its table is to be on PostgreSQL: {error}", "pip install 'polyglot-lab[postgresql]'"
        ) from None
    except Unavailable as error:
        raise bad(name, f"its table is to be on PostgreSQL: {error}", SERVER.start) from None


def shaped(
    columns: Any, key: Any, name: str, bits: Any = 64, view: Any = None, words: tuple[str, str] = ("lab_", "dict")
) -> Shape:
    """Return the shape of histories with these columns, keys of this type, and rows of this view. Raises BadInput.

    `words` are how what declares them writes it: before each name, and what maps names to types.
    """
    prefix, mapping = words
    if not isinstance(columns, dict):
        raise bad(name, f"`{prefix}columns` is no {mapping}", 'for example {"name": "str", "salary": "float"}')
    parts = key if isinstance(key, dict) else {}
    for column, kind in (columns | parts).items():
        if not isinstance(kind, str) or kind not in DTYPES:
            raise bad(f"{name}, column {column}", f"there is no type `{kind}`", nearest(str(kind), DTYPES))
        if column in META:
            raise bad(f"{name}, column {column}", "every change has this one already", "leave it out of the columns")
    if not parts and key not in ("int", "str"):
        raise bad(
            name, f"a key can't be of type `{key}`", "valid: int, str, or a dict with the name and type of each part"
        )
    if parts and (len(parts) < 2 or any(kind not in ("int", "str") for kind in parts.values())):
        raise bad(
            name, "a key of parts has two or more, each int or str", 'for example {"region": "str", "number": "int"}'
        )
    if not isinstance(bits, int) or not 8 <= bits <= 64:
        raise bad(name, f"`{prefix}bits` is {bits!r}", "from 8 to 64: how large its whole numbers are, with their sign")
    by, sums, join = _view(view, columns, bool(parts) or key != "int", name)
    wanted = JOINED if join else columns
    return Shape("parts" if parts else key, tuple(wanted.items()), bits, tuple(parts.items()), by, sums, join)


def _view(view: Any, columns: dict[str, Any], keyed: bool, name: str) -> tuple[str, tuple[str, ...], bool]:
    """The group and the sums of an aggregate, and whether it is a join."""
    if view is None:
        return "", (), False
    way_out = 'for example {"by": "city", "sum": ["amount"]}, or "join"'
    if keyed:
        raise bad(name, "`lab_view` and `lab_key` can't be had together", "leave `lab_key` out")
    if view == "join":
        return "", (), True
    if not isinstance(view, dict) or set(view) != {"by", "sum"} or not isinstance(view["sum"], list | tuple):
        raise bad(name, f"`lab_view` is {view!r}", way_out)
    by, sums = view["by"], tuple(view["sum"])
    if columns.get(by) != "str":
        raise bad(name, f"`{by}` is no column of type str", "groups are made by one: name it in `lab_columns`")
    for column in sums:
        if columns.get(column) not in ("int", "float"):
            raise bad(
                name, f"`{column}` is no column of type int or float", "sums are of those: name it in `lab_columns`"
            )
    return by, sums, False
