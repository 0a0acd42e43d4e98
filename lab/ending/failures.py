"""What an exception means that nothing else has caught: the environment, the lab itself, or bad input.

Engines raise types of their own for a full disk or a file that can't be opened. Their codes and texts are recognised
here, so that each of them is told in the same words.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

from lab.errors import BadInput, LabError, Problem
from lab.formatting import first_line, one_line

# The exit status of what is wrong with the machine or with the lab itself.
INTERNAL = 4

# SQLite doesn't say why a file can't be opened.
CANT_OPEN = -1
# What may be the reason for an exception that was raised while another was handled.
_BEHIND = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}

_ROOM = "make room there, or choose another place: --runs, --folder, TMPDIR"
_RIGHTS = "check the rights there, or choose another place: --runs, --folder, TMPDIR"
_MENDING: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("no space left on device", _ROOM),
    errno.EDQUOT: ("the quota of disk space is used up", _ROOM),
    errno.EFBIG: ("a file would be larger than it may be", "raise the limit: `ulimit -f`, or another file system"),
    errno.EROFS: ("the file system is read-only", "choose another place: --runs, --folder, TMPDIR"),
    errno.EACCES: ("permission denied", _RIGHTS),
    errno.EPERM: ("operation not permitted", _RIGHTS),
    errno.ENOENT: ("no such file or folder", "it was moved or deleted: put it back, or begin again"),
    errno.ESTALE: ("the file is gone from its server", "begin again"),
    errno.EEXIST: ("exists already", "move it away, or choose another place"),
    errno.ENOTDIR: ("not a folder", "move it away, or choose another place"),
    errno.EISDIR: ("a folder, where a file is wanted", "move it away, or choose another place"),
    errno.ELOOP: ("a link that leads to itself", "remove it, or choose another place"),
    errno.ENAMETOOLONG: ("a name that is too long for the file system", "choose a shorter place"),
    errno.EMFILE: ("too many open files", "raise the limit: `ulimit -n 4096`"),
    errno.ENFILE: ("too many open files on this machine", "close other programs"),
    errno.ENOMEM: ("out of memory", "close other programs, or choose a smaller scenario"),
    errno.EAGAIN: ("the machine allows no further process or thread", "raise the limit: `ulimit -u`"),
    errno.EIO: ("input/output error", "the disk fails: choose another place"),
    CANT_OPEN: ("can't be opened", "check the rights there, and the limit of open files: `ulimit -n`"),
    errno.EPIPE: ("the reader of a pipe has ended", "leave it running, or lead the output into a file"),
    errno.EBADF: ("a stream that is closed", "leave standard output open, or lead it into a file"),
}
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: CANT_OPEN,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
# Texts of engines that name no errno.
_TEXTS = {
    "database or disk is full": errno.ENOSPC,
    "storagefull": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": CANT_OPEN,
    "out of memory error": errno.ENOMEM,
    "failed to allocate": errno.ENOMEM,
    "bad allocation": errno.ENOMEM,
    "bad_alloc": errno.ENOMEM,
}
# As Rust writes it, in two ways, and as Python and DuckDB do. A `code` alone may be any program's exit status.
_CODE = re.compile(r"(?:os error |\berrno:? ?|\bos \{ code: )(\d+)", re.IGNORECASE)
_PATH = re.compile(r"""["'`](/[^"'`]+)["'`]""")
_CURRENT = "the current folder"
_AT = "lab: at work in "
_PACKAGE = Path(__file__).parent.parent


@contextmanager
def at_work_in(place: str | Path) -> Iterator[None]:
    """Let an exception that leaves the block say where it came, for engines that name no file."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{_AT}folder {place}" if isinstance(place, Path) else f"{_AT}{place}")
        raise


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that an exception has ended."""
    return error.exit_status if isinstance(error, LabError) else INTERNAL


def told(error: BaseException) -> Sequence[Problem]:
    """Return what an exception means, each thing with its place and the way out."""
    if isinstance(error, BadInput):
        return error.problems
    code = environment(error)
    if isinstance(error, LabError) and code is None:
        return [Problem("lab", str(error))]
    if code is not None:
        (what, way_out), place = _MENDING.get(code, (os.strerror(code), "")), _place(error, code)
        if code == errno.ENOMEM:
            what += _limit(error)
        return [Problem(place, what, "go to another folder" if place == _CURRENT else way_out)]
    if isinstance(error, ImportError):
        way_out = "install it again: pip install --force-reinstall 'polyglot-lab'"
        return [Problem("lab", f"can't be imported: {one_line(error)}", way_out)]
    if isinstance(error, SystemExit | GeneratorExit):
        called = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else "GeneratorExit"
        return [Problem("lab", f"{called} was called in the midst of the work{_where(error)}", "mend what calls it")]
    way_out = "a defect, and no verdict: `--debug` shows the traceback"
    return [Problem("lab", f"internal error: {one_line(error)}{_where(error)}", way_out)]


def _limit(error: BaseException) -> str:
    """What is said of the memory: an engine may be at its own limit, while the machine has more."""
    said = [first_line(each) for each in _chain(error) if str(each) and _code(each) == errno.ENOMEM]
    return f": {said[0].removeprefix('Out of Memory Error: ')}" if said else ""


def environment(error: BaseException) -> int | None:
    """Return the errno by which an exception, or one that caused it, says what is wrong with the machine."""
    caused = {id(each) for each in _chain(error, contexts=False)}
    for each in _chain(error):
        code = _code(each)
        if code is not None and (id(each) in caused or code in _BEHIND):
            return code
    return None


def _code(error: BaseException) -> int | None:
    """Return the errno that this one exception has, or that its text names."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, sqlite3.Error) and (code := getattr(error, "sqlite_errorcode", 0) & 0xFF) in _SQLITE:
        return _SQLITE[code]
    if isinstance(error, LabError | AssertionError | LookupError):
        return None
    text = one_line(error).lower()
    for found in map(int, _CODE.findall(text)):
        if found in _MENDING:
            return found
    for code in _MENDING.keys() - {CANT_OPEN}:
        if os.strerror(code).lower() in text:
            return code
    return next((code for words, code in _TEXTS.items() if words in text), None)


def _chain(error: BaseException | None, contexts: bool = True) -> Iterator[BaseException]:
    """Yield the exception, what it was raised from, and with `contexts` what was being handled then."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        behind = error.__context__ if contexts and not error.__suppress_context__ else None
        error = error.__cause__ or behind


def _place(error: BaseException, code: int) -> str:
    """Return the file or the folder that it is about."""
    files = [str(each.filename) for each in _chain(error) if isinstance(each, OSError) and each.filename is not None]
    folders: list[str] = [
        line.removeprefix(_AT)
        for each in _chain(error)
        for line in getattr(each, "__notes__", [])
        if line.startswith(_AT)
    ]
    if code == errno.ENOENT and not _there():
        return _CURRENT
    if code in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN):
        return "lab"
    if folders and (code in (errno.ENOSPC, errno.EDQUOT) or not files):
        return folders[0]
    if files:
        return files[0]
    named = _PATH.search(one_line(error))
    return named.group(1) if named else "lab"


def _there() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109 - what is asked is whether it raises
    except OSError:
        return False


def _where(error: BaseException) -> str:
    """Return in which line of the lab it came, as far as that is known."""
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    return "".join(f" ({Path(frame.filename).relative_to(_PACKAGE)}:{frame.lineno})" for frame in own[-1:])
