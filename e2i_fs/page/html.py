"""The page itself: one file of HTML with its style and script in it, and with the document too where nobody serves it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

__all__ = ["MARK", "SCRIPTS", "page", "policy"]

MARK = "<!-- e2i-fs catalogue page -->"
"""The line by which a page that was written is told from anybody else's file."""

SCRIPTS = (
    "nodes", "words", "state", "marks", "charts", "shares", "views", "layers", "lineage", "answering", "events", "jobs",
    "fields", "detail", "keys", "live", "main",
)  # fmt: skip
"""The parts of the script, in order; together they are one function, so that nothing of it is global."""

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(document: Mapping[str, Any] | None = None) -> str:
    r"""Return the page, with ``document`` in it; without one it asks for ``document.json`` beside it.

    Whatever the document says, it cannot become markup or script: it is JSON without ``<``, ``>`` and ``&``, and the
    script makes text of it. The page's own policy lets nothing run but its own script, and nothing be fetched from anywhere.

    >>> told = page({"project": "</script><script>alert(1)</script>"})
    >>> "alert(1)</script>" in told, "\\u003c/script\\u003e" in told
    (False, True)
    """
    parts = {
        "mark": MARK,
        "policy": escape(policy(served=document is None), quote=True),
        "style": _style(),
        "script": _script(),
        "document": "null" if document is None else _embedded(document),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def policy(*, served: bool, header: bool = False) -> str:
    """Return the content security policy: the page's own style and script by their hashes, and nothing else.

    A page that is ``served`` may ask its own server for the document. ``header`` adds what only a header can say.
    """
    rules = {
        "default-src": "'none'",
        "script-src": _hash(_script()),
        "style-src": _hash(_style()),
        "img-src": "data:",
        "connect-src": "'self'" if served else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    if header:
        rules["frame-ancestors"] = "'none'"
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _embedded(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: _ESCAPED[found[0]], text)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@cache
def _style() -> str:
    return "\n" + _asset("page.css") + _asset("parts.css")


@cache
def _script() -> str:
    body = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'\n"use strict";\n(() => {{\n{body}\n}})();\n'


def _asset(name: str) -> str:
    return files("e2i_fs.page").joinpath("assets", name).read_text(encoding="utf-8")
