"""The harness that needs a server: Feast on a real Redis."""

from __future__ import annotations

from pathlib import Path

from e2i_fs_feast.conformance import FeastHarness

from tests.servers import RedisServer

__all__ = ["FeastOnRedis"]


class FeastOnRedis(FeastHarness):
    """Feast with its online rows in ``server``. Its outage is both: the server killed, and the repository taken away."""

    def __init__(self, path: Path | str, server: RedisServer) -> None:
        super().__init__(path, {"online_store": {"type": "redis", "connection_string": server.address}})
        self._server = server
        self._down = False

    def break_(self) -> None:
        """Kill the server and move the folder."""
        super().break_()
        self._server.kill()
        self._down = True

    def heal(self) -> None:
        """Start it again, with what it had saved, and move the folder back."""
        super().heal()
        self._server.start()
        self._down = False

    def mend(self) -> None:
        """Heal it if a test that failed left it broken, for the next one to have a server."""
        if self._down:
            self.heal()
