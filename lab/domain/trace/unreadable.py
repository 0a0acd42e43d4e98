"""Text that is known and is no data: each kind is refused by its name, with the way out, and not taken for rows."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path

from lab.base import NotReadable

HEAD = 1 << 14  # Bytes that are looked at.
LINES = 60  # Lines that are looked at.
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
STATEMENT = re.compile(
    r"\s*(?:(?:CREATE|DROP|ALTER|LOCK)\s+(?:TABLE|DATABASE|SCHEMA|TYPE|EXTENSION)|INSERT\s+(?:INTO|IGNORE)\b.*(?:\(|\bVALUES\b|\bSELECT\b)|"
    r"COPY\s+\S+\s*(?:\(.*\))?\s+FROM\s+stdin|BEGIN\s*(?:TRANSACTION)?;|SET\s+\S+\s*(?:=|TO)|PRAGMA\s+\w+|USE\s+\S+;)",
    re.IGNORECASE,
)
DUMP = re.compile(r"-- (?:MySQL dump|MariaDB dump|PostgreSQL database|SQLite|phpMyAdmin|Dump)", re.IGNORECASE)
REMARK = re.compile(r"\s*(?:--|#|/\*|$)")
BINARY_LOG = re.compile(r"# at \d+$|#\d{6}\s+\d+:\d\d:\d\d server id|### (?:INSERT INTO|UPDATE|DELETE FROM) ")
DECODED = re.compile(r"table \S+: (?:INSERT|UPDATE|DELETE|TRUNCATE):")
# A line between the header and the rows of a table that is printed for people.
RULE = re.compile(r"[\s|+:=-]*-{2,}[\s|+:=-]*")
AS_CSV = "export it as CSV"


def refuse_text(path: Path, named_csv: bool = False) -> None:
    """Raise NotReadable for a web page, XML, SQL, a decoded log or a printed table; for JSON that is called CSV.

    `named_csv`: the name says that it is text with delimiters.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head.decode("utf-16" if head[:2] in UTF_16 else "utf-8-sig", errors="replace").lstrip()
    what, way_out = told(text, named_csv)
    if what:
        raise NotReadable(str(path), what, way_out)


def told(text: str, named_csv: bool) -> tuple[str, str]:
    """Return what a text is by how it begins, and the way out; empty for anything that may be data."""
    start = text[:200].lower()
    if re.match(r"<!doctype html|<html\b|<head\b|<table\b", start):
        return "a web page (HTML)", "download the file that it leads to, or save it as CSV"
    if start.startswith("<?xml") or (re.match(r"<[a-z][\w:.-]*[\s/>]", start) and re.search(r"</|/>", text)):
        return "XML", "write its records as JSON lines or CSV"
    lines = text.splitlines()[:LINES]
    if any(BINARY_LOG.match(line) for line in lines):
        return "the text of mysqlbinlog", "read the binary log by Debezium or Maxwell"
    if any(DECODED.match(line) for line in lines):
        return "the text of PostgreSQL's test_decoding", "let wal2json or Debezium read the log"
    first = next((line for line in lines if not REMARK.match(line)), "")
    if STATEMENT.match(first) or any(DUMP.match(line) for line in lines):
        return "statements of SQL", "load them into a database and name that, or export each table as CSV"
    if not named_csv:
        return "", ""
    if _is_json(text):
        return "JSON, though its name says something else", "rename it: orders.json"
    if any(RULE.fullmatch(line) and re.search(r"[|+]|-\s+-", line) for line in lines[:4]):
        return "a table that is printed for reading, with lines between its columns", AS_CSV
    return "", ""


def _is_json(text: str) -> bool:
    """Return whether a text begins with a JSON object, or with an array of them."""
    if not text.startswith(("{", "[")):
        return False
    try:
        found, _ = json.JSONDecoder().raw_decode(text.lstrip("[ \r\n\t"))
    except ValueError:
        return False
    return isinstance(found, dict)
