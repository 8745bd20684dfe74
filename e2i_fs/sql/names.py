"""Names and literals in SQL, quoted so that none of them can be anything else."""

from __future__ import annotations

import re

from e2i_fs.errors import DefinitionError

__all__ = ["as_subquery", "from_clause", "identifier", "table_name"]

_PLAIN = re.compile(r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*")
_PART = re.compile(r'"((?:[^"]|"")+)"|([^."]+)')


def identifier(name: str) -> str:
    """Return a name as SQL that can only be a name.

    >>> identifier('trx"; DROP TABLE t')
    '"trx""; DROP TABLE t"'
    """
    return '"' + name.replace('"', '""') + '"'


def table_name(text: str) -> str:
    """Return a table's name as SQL: parts divided by dots, each in double quotes or as SQL reads it without.

    A part without quotes is folded to lower case, as PostgreSQL does; one that is no plain word is taken as it is.

    >>> table_name('Sales.business_metrics'), table_name('"Sales"."Q1.2024"'), table_name("t; DROP TABLE x")
    ('"sales"."business_metrics"', '"Sales"."Q1.2024"', '"t; DROP TABLE x"')
    """
    parts, at = [], 0
    while True:
        found = _PART.match(text, at)
        if found is None:
            break
        quoted, plain = found.groups()
        if plain is None:
            parts.append(quoted.replace('""', '"'))
        else:
            parts.append(plain.lower() if _PLAIN.fullmatch(plain) else plain)
        at = found.end()
        if at == len(text):
            return ".".join(identifier(part) for part in parts)
        if text[at] != ".":
            break
        at += 1
    raise DefinitionError(
        f"The table name {text!r} cannot be read. Write schema.table, with a part in double quotes if it has other characters."
    )


def as_subquery(query: str) -> str:
    """Return a whole query in brackets; a comment at its end ends before them."""
    return f"({query.strip().removesuffix(';').rstrip()}\n)"


def from_clause(table: str | None, query: str | None) -> str:
    """Return what comes after FROM for a source's table or query: it is called ``source``."""
    return f"{table_name(table) if table else as_subquery(query or '')} AS source"
