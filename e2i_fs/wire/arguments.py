"""What tools are called with: strict models, and a refusal that names every place where arguments do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from e2i_fs.errors import did_you_mean, suggested
from e2i_fs.wire.refusals import InvalidArgumentsError

__all__ = ["Strict", "checked", "misfit"]

_MOST = 20


class Strict(BaseModel):
    """A form that takes what it names, in the type it names, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False)


S = TypeVar("S", bound=Strict)


def checked(model: type[S], given: Mapping[str, Any]) -> S:
    """Return the arguments in their model, or raise `InvalidArgumentsError` with every problem.

    >>> class Asked(Strict):
    ...     limit: int = 20
    >>> checked(Asked, {"limit": 3}).limit
    3
    """
    place = next(_not_json(given), None)
    if place is not None:
        raise _refused(
            [{"where": place, "problem": "NaN and Infinity are not JSON", "nearest": []}],
            "Write null where a value is missing.",
        )
    try:
        # As JSON, for in strict mode that is where lists and forms are taken as what they are.
        return model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise misfit(model, error, "Correct what is named; the tool's input schema says what is taken.") from error


def misfit(model: type[BaseModel], error: ValidationError, fix: str) -> InvalidArgumentsError:
    """Return the refusal of what does not fit a model: every place, what is wrong there, and the nearest keys."""
    schema = model.model_json_schema(by_alias=True)
    found = error.errors(include_url=False, include_input=False)
    return _refused([_problem(e, schema) for e in found[:_MOST]], fix, len(found) - _MOST)


def _refused(problems: list[dict[str, Any]], fix: str, left_out: int = 0) -> InvalidArgumentsError:
    shown = "; ".join(f"{p['where']}: {p['problem']}" for p in problems)
    more = f"; and {left_out} more" if left_out > 0 else ""
    nearest = list(dict.fromkeys(name for p in problems for name in p["nearest"]))
    return InvalidArgumentsError(
        f"The arguments do not fit: {shown}{more}", fix=fix, nearest=nearest, problems=problems
    )


def _problem(error: Any, schema: dict[str, Any]) -> dict[str, Any]:
    loc = error["loc"]
    where = ".".join(map(str, loc)) or "arguments"
    if error["type"] != "extra_forbidden":
        return {"where": where, "problem": error["msg"], "nearest": []}
    hint = did_you_mean(str(loc[-1]), _known(schema, schema, loc[:-1]))
    return {"where": where, "problem": f"there is no such key.{hint}".rstrip("."), "nearest": suggested(hint)}


def _known(schema: dict[str, Any], at: dict[str, Any], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a JSON schema takes at a path, as pydantic spells paths (a union's branch is a step)."""
    if "$ref" in at:
        return _known(schema, schema["$defs"][at["$ref"].rpartition("/")[2]], path)
    if not path:
        branches = [_known(schema, branch, ()) for branch in (*at.get("anyOf", ()), *at.get("oneOf", ()))]
        return [*at.get("properties", {}), *(key for branch in branches for key in branch)]
    step, rest = path[0], path[1:]
    mapping = at.get("discriminator", {}).get("mapping", {})
    if step in mapping:
        return _known(schema, {"$ref": mapping[step]}, rest)
    if isinstance(step, int) and "items" in at:
        return _known(schema, at["items"], rest)
    if step in at.get("properties", {}):
        return _known(schema, at["properties"][step], rest)
    return [key for branch in (*at.get("anyOf", ()), *at.get("oneOf", ())) for key in _known(schema, branch, path)]


def _not_json(value: Any, place: str = "") -> Iterator[str]:
    """Yield where a value holds a number that JSON has no word for, though many a reader takes one."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _not_json(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _not_json(inner, f"{place}.{i}")
