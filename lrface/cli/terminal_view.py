"""`lrface watch --show`: frames a second, latency and who is in view, in a table that is drawn again and again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from lrface.errors import LrfaceError
from lrface.redaction import escape
from lrface.tracks.latency import Latency

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lrface.inputs.video import Frame
    from lrface.types import Identification

_RATE_OVER = 50  # frames
_TIMES_A_SECOND = 4


class TerminalView:
    """Who is in view now, on stderr; a context manager. Lines printed meanwhile appear above it.

    Args:
        source: What is watched, fit to be shown.
        console: A terminal; None for stderr.
        clock: Monotonic seconds.

    Raises:
        LrfaceError: rich is not installed, or stderr is no terminal.
    """

    def __init__(
        self, source: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            import rich.console
            import rich.live
        except ImportError as error:
            raise LrfaceError("--show needs rich: pip install 'lrface[terminal]'") from error
        console = console or rich.console.Console(stderr=True)
        if not console.is_terminal:
            raise LrfaceError("--show draws on a terminal, and stderr is none: leave it out")
        self._source, self._clock = escape(source), clock
        self._frames = 0
        self._faces: Sequence[Identification] = ()
        self._latency = Latency()
        self._done_at: deque[float] = deque(maxlen=_RATE_OVER)
        self._since: dict[int, float] = {}
        self._now = 0.0
        self._live = rich.live.Live(
            get_renderable=self.table, console=console, refresh_per_second=_TIMES_A_SECOND, vertical_overflow="ellipsis"
        )

    def __enter__(self) -> TerminalView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def add(self, frame: Frame, faces: Sequence[Identification]) -> None:
        """Takes note of a frame and its faces; `lrface.watch(on_frame=)` calls it."""
        now = self._clock()
        self._frames += 1
        self._latency.add(now - frame.read_at)
        self._done_at.append(now)
        seen = {face.track: frame.time_s for face in faces if face.track is not None}
        self._since = {track: self._since.get(track, time_s) for track, time_s in seen.items()}
        self._now, self._faces = frame.time_s, list(faces)

    def table(self) -> Table:
        """The table as it is to be drawn now."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self._title()), title_justify="left", expand=False)
        for heading in ("track", "who", "similarity", "views", "width", "in view"):
            table.add_column(heading, justify="left" if heading == "who" else "right")
        for face in self._faces:
            track = face.track or 0
            table.add_row(
                str(track),
                Text("unknown" if face.name is None else escape(face.name), "" if face.name is None else "bold green"),
                "" if face.similarity is None else f"{face.similarity:.2f}",
                "" if face.views is None else f"{face.views:.1f}",
                f"{face.native_px:.0f} px",
                f"{self._now - self._since.get(track, self._now):.1f} s",
            )
        return table

    def _title(self) -> str:
        done = self._done_at
        passed = done[-1] - done[0] if len(done) > 1 else 0.0
        rate = f"{(len(done) - 1) / passed:.1f} frames/s" if passed > 0 else "no rate yet"
        return f"{self._source}: {self._frames} frames, {rate}, {self._latency}, {len(self._faces)} faces in view"
