"""What stands around a function in a repository's Python files: its imports, constants and helpers, read as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from feast.repo_operations import get_repo_files

from e2i_fs.on_demand import borrowed_names, kept_text
from e2i_fs_feast.neutral_types import NoNeutralFormError

__all__ = ["Surroundings"]


class Surroundings:
    """The Python files of the repository in ``folder``; none of them is run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, text: str, function: str, names: Sequence[str]) -> list[str]:
        """Return the statements that give ``function``, whose text is ``text``, the ``names`` it takes from its module.

        Imports first, then constants and helpers in their order in the file. Raises `NoNeutralFormError` for a name that no
        file says, or that comes from a module of the repository itself.
        """
        if not names:
            return []
        for source, tree in self._trees():
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.name == function and kept_text(source, node) == text:
                    return self._gathered(source, tree, list(names))
        raise NoNeutralFormError(
            f"its function uses {names[0]!r} from outside its body, and no Python file of the repository has the function"
        )

    def _trees(self) -> Iterator[tuple[str, ast.Module]]:
        for file in get_repo_files(self._folder):
            try:
                source = file.read_text(encoding="utf-8")
                yield source, ast.parse(source)
            except (OSError, SyntaxError, ValueError):
                continue  # a file that Python cannot read has not made the function

    def _gathered(self, source: str, tree: ast.Module, wanted: list[str]) -> list[str]:
        imports: dict[str, None] = {}
        others: dict[int, str] = {}
        seen: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in seen:
                continue
            seen.add(name)
            statement, needs = self._statement(source, tree, name)
            if isinstance(statement, str):
                imports[statement] = None
            else:
                others[statement[0]] = statement[1]
            wanted += needs
        return [f"{line}\n" for line in imports] + [others[line] for line in sorted(others)]

    def _statement(self, source: str, tree: ast.Module, name: str) -> tuple[str | tuple[int, str], list[str]]:
        """Return the import of ``name``, or the line and text that make it, and what that needs itself."""
        for node in reversed(tree.body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name.partition(".")[0]) == name:
                        return self._import(node, alias, name), []
            elif isinstance(node, ast.FunctionDef) and node.name == name and not node.decorator_list:
                text = kept_text(source, node)
                return (node.lineno, text), borrowed_names(text, name)
            elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                try:
                    ast.literal_eval(node.value)
                except ValueError:
                    break
                return (node.lineno, f"{name} = {ast.unparse(node.value)}\n"), []
        raise NoNeutralFormError(
            f"its function uses {name!r} from outside its body, which is no import, constant or plain function of its file"
        )

    def _import(self, node: ast.Import | ast.ImportFrom, alias: ast.alias, name: str) -> str:
        module = alias.name if isinstance(node, ast.Import) else node.module or ""
        first = module.partition(".")[0]
        if (isinstance(node, ast.ImportFrom) and node.level) or any(
            (self._folder / at).exists() for at in (f"{first}.py", first)
        ):
            raise NoNeutralFormError(f"its function uses {name!r} of the repository's own module {module!r}")
        what = ast.unparse(alias)
        return f"import {what}" if isinstance(node, ast.Import) else f"from {module} import {what}"
