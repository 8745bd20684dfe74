"""The part of the group *core* that is about changes beside others: views of like names, and handles that knew what was (R-4, R-5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pyarrow as pa

from e2i_fs.definitions import Field
from e2i_fs.errors import UnsupportedError
from e2i_fs.testing.conformance.errors import answers_to
from e2i_fs.testing.conformance.rules import proves
from e2i_fs.testing.conformance.samples import ABSENT, Sample, numbered
from e2i_fs.testing.kit import Kit

__all__ = ["ChangingTests"]


class ChangingTests:
    """Tests of deleting and changing views."""

    group: ClassVar[str] = "core"

    @proves("R-4", "P-7")
    def test_r4_deleting_a_view_leaves_views_of_names_like_it(self, kit: Kit) -> None:
        """A name that another begins with, or matches as a pattern, is another name: only the deleted view's rows go."""
        names = ("v", "v_1", "vx1", "v1", "av", "v 1", "v%", "v%1", "V_1")  # one that is refused must be the last
        with kit.check("R-4"):
            samples = [Sample(kit, name) for name in names]
            for number, sample in enumerate(samples):
                try:
                    sample.apply()
                except UnsupportedError:  # a store whose names have no case says so, as it should
                    samples.remove(sample)
                    continue
                sample.write((1, 0, number), key="batch")
            self._keys_that_go_on(kit, samples[0], samples)
            there = list(enumerate(samples))
            for gone in ("v", "v_1", "v%"):
                samples[0].tell(f"delete the view {gone}")
                kit.store.delete(gone)
                there = [(number, sample) for number, sample in there if sample.name != gone]
                for number, sample in there:
                    says = f"Deleting {gone!r} took rows of {sample.name!r}."
                    sample.expect("R-4", says, 1, expected=[sample.answer(number)])
            samples[0].apply()
            samples[0].expect("R-4", "A row of the deleted view answers.", 1, expected=[ABSENT])

    def _keys_that_go_on(self, kit: Kit, first: Sample, samples: Sequence[Sample]) -> None:
        """Keys of the view ``v`` with which its name goes on to a name and a key of another view are other keys too."""
        if first.key_type.kind == "string":
            keys = [f"1{between}n1" for between in "_ %"] + ["_1n1", "%n1"]
            table = first.table(*((0, 0, 20) for _ in keys)).set_column(0, "k", pa.array(keys))
            first.tell(f"write to v, {first.target}: the keys {keys} with x={numbered(first.value_type, 20)!r}")
            kit.store.write(first.name, table, to=first.target)
            for where, got in answers_to(kit, first, keys, table.slice(0, 1)).items():
                says = f"The rows of v under keys with which its name goes on like others', {where}:"
                kit.is_("P-7", says, got, [first.answer(20)] * len(keys))
        for number, sample in enumerate(samples):
            says = f"The row of the view {sample.name!r} when there are others of names like it."
            sample.expect("P-7", says, 1, expected=[sample.answer(number)])

    @proves("R-5", "R-4", "R-1")
    def test_r5_a_change_made_by_one_handle_is_the_others_at_once(self, kit: Kit) -> None:
        """Another ttl, a field more, a view deleted and made anew: a handle that knew it as it was writes and reads it as it is."""
        kit.need_can("persistent")
        with kit.check("R-5"):
            store, other, sample = kit.store, kit.handle(), Sample(kit)
            sample.apply()
            sample.write((1, 0, 1), store=other)
            sample.expect("R-5", "Its own write:", 1, expected=[sample.answer(1)], store=other)
            told = replace(sample.view(), ttl=timedelta(days=2), description="told anew")
            store.apply([told])
            kit.is_("R-5", "The view, changed by the first handle:", other.get_feature_view("sample"), told)
            more = Field("y", sample.value_types[-1])
            added = Sample(kit, value_type=more.dtype)  # speaks of y's values
            sample.tell(f"apply sample again through the first handle, with the field y {more.dtype!r} more")
            store.apply([replace(told, schema=[*told.schema, more])])
            table = sample.table((1, 60, 2), more=[more])
            sample.tell("write to sample through another handle, with y", (1, 60, 2))
            other.write("sample", table, to=sample.target)
            for handle, who in ((store, "the first handle"), (other, "the handle that wrote it")):
                for asked, can in ((sample.history, kit.can.append), (sample.online, kit.can.online)):
                    if can:
                        got = asked(1, store=handle, feature="y")
                        kit.is_(
                            "R-5",
                            f"A field added by the first handle, written by another, to {who}:",
                            got,
                            [added.answer(2)],
                        )
            sample.tell("delete sample through the first handle, and apply it anew")
            store.delete("sample")
            store.apply([sample.view()])
            sample.write((2, 0, 3), store=store)  # as many batches as there were before
            sample.write((3, 0, 4), store=store)
            expected = [ABSENT, sample.answer(3), sample.answer(4)]
            sample.expect("R-4", "The view made anew, to another handle:", 1, 2, 3, expected=expected, store=other)
            says = "A batch of the deleted view counts as one of the new view, for another handle."
            sample.write((1, 0, 1), key="batch", store=other)
            sample.expect("R-4", says, 1, expected=[sample.answer(1)])
