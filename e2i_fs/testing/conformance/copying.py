"""The part of the group *core* that is about backends that can be copied: what they give away is all that they were written (X-4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar

from e2i_fs.backend import Copyable, OnlineRow
from e2i_fs.clock import to_us
from e2i_fs.config import load_config
from e2i_fs.definitions import Field
from e2i_fs.entries import widened
from e2i_fs.errors import InvalidBatchError
from e2i_fs.ops.ledger import Ledger
from e2i_fs.plugins import Plugins
from e2i_fs.routing import Single, change_catalog
from e2i_fs.store import Store
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Said, Sample
from e2i_fs.testing.findings import Mismatch
from e2i_fs.testing.kit import Kit
from e2i_fs.testing.memory import MemoryBackend

__all__ = ["CopyingTests"]

_NOON = 43_200.0
_MANY = 1_500


class CopyingTests:
    """Tests of `Copyable`."""

    group: ClassVar[str] = "core"

    @proves("G-3", "X-4", "W-2", "O-2")
    def test_g3_a_copy_of_the_backend_answers_the_same(self, kit: Kit) -> None:
        """Batches with their ids and online rows, those ahead of the clock too, written elsewhere answer the same there."""
        kit.need_can("copyable")
        with kit.check("G-3"):
            sample, other = Sample(kit), Sample(kit, "other")
            sample.apply()
            other.apply()
            if kit.can.append:
                sample.append((1, 0, 1), (2, 0, 2), batch_id="a")
                sample.append((1, 60, 3), (3, 60, None), batch_id="b/1")
                other.append((6, 0, 9), batch_id="of the other")
            if sample.online_too:
                _online(sample, (1, 0, 1), (2, 0, 2), (3, 60, None))
                _online(sample, (1, _NOON - 0.5, 3), (1, _NOON + 30, 4), (4, _NOON + 30, 5), (4, _NOON + 40, 6))
                _online(sample, *((10 + n, 0, n) for n in range(_MANY)))
                _online(other, (6, 0, 9))
            if kit.can.append:
                sample.apply(Field("y", sample.value_type))  # the batches before lack it
                sample.append((5, 0, 1), batch_id="c", more=[Field("y", sample.value_type)])
            with _copied(sample) as (copy, backend):
                _same(sample, copy, backend)
                if kit.can.append:
                    _ids(sample, backend)
                kit.clock.advance(timedelta(seconds=35))
                sample.tell("35 s later")
                _same(sample, copy, backend)
                if sample.online_too:
                    said = "Rows that waited for their time, in the copy:"
                    kit.is_("G-3", said, sample.online(1, 4, store=copy), [sample.answer(4), sample.answer(5)])


def _online(sample: Sample, *rows: Said) -> None:
    """Write online past the store, at the present moment."""
    sample.tell(f"write online to {sample.name} at midday", *rows)
    keys, made = sample.online_batch(*rows)
    sample.kit.backend.online_write(sample.name, keys, made, at_us=to_us(sample.kit.clock.now()))


@contextmanager
def _copied(sample: Sample) -> Iterator[tuple[Store, MemoryBackend]]:
    """Open a store over a `MemoryBackend` that was written what the backend gives away, twice."""
    kit = sample.kit
    source = kit.backend
    assert isinstance(source, Copyable)
    made = MemoryBackend("copy", kit.clock)
    catalog = source.definitions()
    change_catalog(made, lambda own: own.holding(catalog))
    view, join_keys = catalog.view(sample.name), catalog.join_keys(sample.name)
    sample.tell("copy what batches and online_rows give into a memory backend, twice over")
    for _ in range(2):
        if kit.can.append:
            for batch_id, rows in source.batches(sample.name):
                made.append(sample.name, widened(rows, view, join_keys), batch_id=batch_id)
        for keys, rows_online, at_us in source.online_rows(sample.name):
            made.online_write(sample.name, keys, rows_online, at_us=at_us)
            _all_there(sample, made, keys, rows_online)
    config = load_config({"backend": "memory", "state": str(kit.folder / "copy")})
    with Store(Single("copy", made, kit.clock), config, Plugins(), Ledger(None), kit.clock) as store:
        yield store, made


def _all_there(sample: Sample, made: MemoryBackend, keys: Sequence[Any], rows: Sequence[OnlineRow]) -> None:
    """Raise unless every row of a piece was kept: its ``at_us`` is not later than any of them."""
    kept = {
        (key, row.event_us)
        for all_keys, all_rows, _ in made.online_rows(sample.name)
        for key, row in zip(all_keys, all_rows, strict=True)
    }
    gone = [(key, row) for key, row in zip(keys, rows, strict=True) if (key, row.event_us) not in kept]
    if gone:
        raise Mismatch(
            "G-3",
            "online_write elsewhere, with the at_us of the piece, does not keep all rows of a piece of online_rows.",
            expected="every row of the piece is kept; the least event time of its rows will do as at_us",
            got=f"{len(gone)} of {len(rows)} rows are gone, the first {gone[0]}",
        )


def _same(sample: Sample, copy: Store, backend: MemoryBackend) -> None:
    """Raise unless the copy answers as the backend does, from history and online, now and a moment ago."""
    kit = sample.kit
    keys = [1, 2, 3, 4, 5, 6]
    if kit.can.append:
        for at in (0, 59, 60, _NOON):
            for feature in ("x", "y"):
                own = sample.history(*keys, at=at, feature=feature)
                said = f"History of {feature} at {at:g} s, in the copy:"
                kit.is_("G-3", said, sample.history(*keys, at=at, store=copy, feature=feature), own)
    if sample.online_too:
        many = [*keys, *range(10, 10 + _MANY)]
        own = sample.online(*many)
        if own[len(keys)] == ABSENT:
            raise Mismatch("G-3", "A row that was written online is not there.", expected="a row", got="none")
        found = sample.online(*many, store=copy)
        differing = [(key, a, b) for key, a, b in zip(many, found, own, strict=True) if a != b]
        kit.is_("G-3", "Keys that the copy answers otherwise online (key, copy, backend):", differing[:5], [])
        asked, _ = sample.online_batch(*((key, 0, None) for key in keys))
        before = to_us(kit.clock.now()) - 1_000_000
        answers = [b.online_read(sample.name, asked, at_us=before) for b in (backend, kit.backend)]
        events = [[None if row is None else row.event_us for row in rows] for rows in answers]
        kit.is_("G-3", "Event times online one second ago, in the copy:", events[0], events[1])


def _ids(sample: Sample, backend: MemoryBackend) -> None:
    """Raise unless a batch that is written again is known in the copy by its id, and another under that id refused."""
    kit = sample.kit
    view, join_keys = backend.definitions().view(sample.name), backend.definitions().join_keys(sample.name)
    batches: dict[str, list[Said]] = {"a": [(1, 0, 1), (2, 0, 2)], "b/1": [(1, 60, 3), (3, 60, None)]}
    for batch_id, rows in batches.items():
        again = widened(sample.table(*rows), view, join_keys)
        done = backend.append(sample.name, again, batch_id=batch_id)
        kit.is_("W-2", f"The batch {batch_id!r} again, in the copy:", done, False)
    others = widened(sample.table((1, 0, 7)), view, join_keys)
    kit.raises(
        "W-2",
        InvalidBatchError,
        lambda: backend.append(sample.name, others, batch_id="a"),
        "other rows are appended to the copy with the batch_id 'a'",
    )
