"""The page of the command names every command, and none that there is not."""

from __future__ import annotations

import re

from e2i_fs.cli.app import app
from tests.docs.pages import ROOT


def test_every_command_is_on_the_page() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z][a-z-]*)` \|", page.split("| command |", 1)[1], re.MULTILINE)
    assert sorted(listed) == sorted(str(command.name) for command in app.registered_commands)
