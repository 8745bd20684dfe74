"""What times alone decide about a write is what comparing the rows in full decides (O-1)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.backend import OnlineRow
from e2i_fs.clock import to_us
from e2i_fs.online import GRACE_US, merge

pytestmark = pytest.mark.usefixtures("feast_library")

NOW = to_us(datetime(2024, 3, 10, tzinfo=UTC))
VIEW = fs.FeatureView(
    "v", entities=[fs.Entity("k")], schema=[fs.Field("x", fs.Float64), fs.Field("n", fs.Decimal(9, 2))]
)

times = st.sampled_from(
    [-9 * GRACE_US, -3 * GRACE_US, -GRACE_US - 1, -GRACE_US, -GRACE_US + 1, -1, 0, 1, GRACE_US]
).map(NOW.__add__)
rows = st.builds(
    lambda event, created, x, n: OnlineRow(event, created, {"x": x, "n": n}),
    times, st.sampled_from([None, NOW - 5, NOW]), st.sampled_from([None, -0.0, 0.0, 1.5]), st.sampled_from([None, "1.00", "2.50"]),
)  # fmt: skip


@pytest.mark.rule("O-1")
@given(st.lists(rows, max_size=4), rows, st.sampled_from([1, 2]), st.sampled_from(["ours", "touched", "theirs"]))
def test_times_alone_decide_what_comparing_decides(
    before: list[OnlineRow], new: OnlineRow, generation: int, writer: str
) -> None:
    """Or they leave it open. Rows of another generation are not there; what Feast has written since is always compared."""
    from e2i_fs_feast.merging import by_times, merged
    from e2i_fs_feast.rows import HIDDEN, Layout, Stored

    layout, written = Layout(VIEW, 1), Layout(VIEW, generation)
    kept = merge((), before, VIEW, at_us=NOW)
    stored, hidden = None, None
    if kept:
        stamp = kept[0].event_us
        contents = dict(written.encode(kept, stamp))
        if writer == "touched":
            contents["x"] = written.encode([OnlineRow(stamp, None, {"x": 77.0})], stamp)["x"]
        elif writer == "theirs":
            del contents[HIDDEN]
        stored = Stored(contents, stamp, stamp)
        hidden = written.hidden(stored)
    decided = by_times(stored, hidden, layout, [new], at_us=NOW)
    if decided is not None:
        there = () if stored is None else layout.decode(stored, hidden).rows
        assert repr(decided) == repr(merged(there, [new], VIEW, at_us=NOW))
    plain = not kept or (len(kept) == 1 and writer == "ours" and max(kept[0].event_us, new.event_us) <= NOW - GRACE_US)
    if plain and (not kept or kept[0].event_us != new.event_us):
        assert decided is not None, "the plain case must be quick"
