"""The harness: how the tests and `e2i-fs certify acme` open the store, and how they reach it without the backend."""

from __future__ import annotations

import e2i_fs as fs
import pyarrow as pa
from e2i_fs.testing import Harness

from e2i_fs_acme.backend import DATABASES


class AcmeHarness(Harness):
    """One store for one test. Only `open` is a must; what the others show is not examined without them."""

    @property
    def place(self) -> str:
        """The ``path`` of the configuration, in the empty folder ``self.path`` that each test is given."""
        return str(self.path / "store")

    def open(self) -> fs.FeatureStore:
        """Return a store on the place. Called twice, it opens two handles on the same rows."""
        return fs.connect({"backend": "acme", "path": self.place}, clock=self.clock)

    def raw_write(self, view: str, rows: pa.Table) -> None:
        """Add rows to history as another program would."""
        kept = DATABASES[self.place].views[view].batches
        kept[f"raw-{len(kept)}"] = rows

    def raw_read(self, view: str) -> pa.Table:
        """Return the appended history as it lies in the store."""
        batches = DATABASES[self.place].views[view].batches.values()
        return pa.concat_tables(batches, promote_options="default") if batches else pa.table({})

    def break_(self) -> None:
        """Take the store away, as an outage does: open handles notice too."""
        DATABASES[self.place].away = True

    def heal(self) -> None:
        """Bring it back as it was."""
        DATABASES[self.place].away = False
