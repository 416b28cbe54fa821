"""One thread that writes: jobs that wait together share one transaction, and so one fsync (group commit)."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from regulars.core.errors import StorageError
from regulars.events.database import open_database, storage_errors, transaction

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Any]
MOST_JOBS = 256  # in one transaction


class Writer:
    """The only holder of a write connection in this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path)
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._loop, name="journal-writer", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a job in the writer's next transaction; return when that is on disk."""
        result: Result = self._hand(job).result()
        return result

    def submit(self, job: Job) -> None:
        """Hand a job over without waiting; a failure is logged."""
        self._hand(job).add_done_callback(_log_failure)

    def close(self) -> None:
        """Write what was handed over, then end the thread."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _hand(self, job: Job) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if not self._open:
                raise StorageError(str(self._path), got="a closed journal", wanted="an open one")
            self._jobs.put((job, future))
        return future

    def _loop(self) -> None:
        going = True
        while going:
            waiting = [self._jobs.get()]
            while len(waiting) < MOST_JOBS and not self._jobs.empty():
                waiting.append(self._jobs.get())
            going = None not in waiting
            if batch := [each for each in waiting if each is not None]:
                self._commit(batch)

    def _commit(self, batch: list[tuple[Job, Future[Any]]]) -> None:
        try:
            with storage_errors(self._path), transaction(self._connection):
                results = [job(self._connection) for job, _ in batch]
        except Exception as error:
            if len(batch) > 1:  # one job must not fail its neighbours
                for each in batch:
                    self._commit([each])
            else:
                batch[0][1].set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)


def _log_failure(future: Future[Any]) -> None:
    if error := future.exception():
        log.error("a submitted event was not written: %s", error)
