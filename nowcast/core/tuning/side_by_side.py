"""A search's processes side by side: each takes one trial after another, until none is left."""

from dataclasses import dataclass

from nowcast.core.execution.executor import Executor, Place, carry_out
from nowcast.core.terminal.progress import line
from nowcast.core.tuning.search import Search, Searcher
from nowcast.core.tuning.trials import Trials, quiet


@dataclass(frozen=True)
class TryingSettings:
    """The `Work` of one process of a search.

    Args:
        search: what and where.
        name: of the study.
        number: of the process, for people.
    """

    search: Search
    name: str
    number: int

    @property
    def title(self) -> str:
        """See `Work`."""
        return f"process {self.number} of the search for {self.search.variant}"

    def is_ready(self) -> bool:
        """See `Work`."""
        return True

    def do(self, place: Place) -> None:
        """See `Work`."""
        with quiet():
            trials = Trials(self.name, self.search.tune, self.search.folder, self.search.url)
            Searcher(self.search, trials, place.ranks).work()


def search_side_by_side(search: Search, name: str, trials: Trials, executor: Executor) -> None:
    """Run all trials, as many at a time as the executor has room for.

    Args:
        search: what and where.
        name: of the study.
        trials: the study, to see how far it is.
        executor: runs them.

    Raises:
        Interrupted: a signal came; all trials are saved.
        RunError: a process died or failed; the others have gone on.
    """
    total = search.tune.trials or search.tune.size or 0
    works = [TryingSettings(search, name, n) for n in range(1, min(executor.room, total) + 1)]
    with line(search.variant, total, unit="settings tried") as settings:

        def look(_: int) -> None:
            done = len(trials.all()) - len(trials.unfinished())
            if done != settings.done:
                settings.set(done, total)

        carry_out(works, executor, look)
