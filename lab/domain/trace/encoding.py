"""Give a file of text in UTF-8, whatever its encoding; bytes that are no text are refused with their line."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lab.base import BadInput, NotReadable, Problem

BLOCK = 1 << 22
# The first bytes of a file that say its encoding; those of UTF-32 begin like those of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
WAY_OUT = "say its encoding, for example latin-1, cp1252 or utf-16: --encoding latin-1"
QUOTE, LINE_FEED, RETURN = b'"\n\r'


@contextmanager
def as_utf8(path: Path, told: str | None) -> Iterator[Path]:
    """Yield the file itself if it is UTF-8, else a copy of it in UTF-8 that is removed afterwards.

    A file whose lines end with carriage returns alone is copied with line feeds.

    The encoding is the one that is told, or the one that the file's first bytes say. Raises NotReadable with the line
    of the first bytes that are no text, and BadInput for an encoding that doesn't exist.
    """
    encoding = _known(told) if told else _marked(path)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        file = path
        if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
            _confirm(path)
        else:
            file = Path(folder) / "copy.csv"
            _transcode(path, encoding, file)
        yield even_lines(file, Path(folder)) if _only_returns(file) else file


def _only_returns(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(BLOCK)
    return b"\r" in head and b"\n" not in head


def _known(name: str) -> str:
    try:
        if codecs.lookup(name)._is_text_encoding:
            return name
    except LookupError:
        pass
    raise BadInput([Problem(f"encoding `{name}`", "no encoding of text is called so", "latin-1, cp1252, utf-16, ...")])


def _marked(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    return next((encoding for mark, encoding in MARKS if head.startswith(mark)), "utf-8")


def _confirm(path: Path) -> None:
    """Raise NotReadable unless every byte of the file is UTF-8."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole = decoder.getstate()[0] + block
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += whole[: error.start].count(b"\n")
                nulls = whole.count(b"\0") > len(whole) // 8
                raise NotReadable(f"{path}, line {line}", "not text in UTF-8", _way_out(nulls)) from None
            if line == 1 and b"\0" in block[:100] and block.count(b"\0") > len(block) // 8:
                raise NotReadable(str(path), "not text in UTF-8: every other byte is 0", _way_out(nulls=True))
            line += block.count(b"\n")
    if rest := decoder.getstate()[0]:
        raise NotReadable(f"{path}, line {line}", f"not text in UTF-8: it ends with {rest!r}", WAY_OUT)


def _way_out(nulls: bool) -> str:
    return "say its encoding: --encoding utf-16-le or utf-16-be" if nulls else WAY_OUT


def _transcode(path: Path, encoding: str, copy: Path) -> None:
    line = 1
    try:
        with path.open(encoding=encoding, newline="") as source, copy.open("w", encoding="utf-8", newline="") as target:
            while block := source.read(BLOCK):
                line += block.count("\n")
                target.write(block)
    except (UnicodeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise NotReadable(f"{path}, after line {line}", f"not text in {encoding}: {why}", "say another one") from None


def even_lines(path: Path, folder: Path) -> Path:
    """Write a copy in which every line ends with a line feed, and line ends within quotation marks are as they were.

    DuckDB refuses files whose lines end in several ways.
    """
    copy, odd, ended = folder / "even.csv", 0, False
    with path.open("rb") as source, copy.open("wb") as target:
        while block := source.read(BLOCK):
            found = np.frombuffer(block, np.uint8)
            quotes = np.cumsum(found == QUOTE) + odd
            odd = int(quotes[-1] % 2)
            outside = quotes % 2 == 0
            returns = (found == RETURN) & outside
            after = np.empty(found.size, bool)
            after[0], after[1:] = ended, returns[:-1]
            ended = bool(returns[-1])
            # A line feed after a carriage return has been written already, as that carriage return.
            target.write(np.where(returns, LINE_FEED, found)[~(after & outside & (found == LINE_FEED))].tobytes())
    return copy
