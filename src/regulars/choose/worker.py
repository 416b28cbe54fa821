"""Trials in a process of their own, which can be stopped at a deadline and may die without harm.

`python -m regulars.choose.worker FD` is that process: it reads a `Question` from the connection, then one trial after
another, and answers each. A fresh interpreter, not a fork: the parent has threads and a database
open. Messages are pickled, between two processes of this package; nothing of it is ever kept.
"""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.connection import Connection, Pipe

from regulars.choose.question import Question
from regulars.choose.space import Candidate
from regulars.choose.trial import Bench, Outcome

LAST_WORDS = 2.0  # seconds that a process which hung up is given to say how it ended


class Apart:
    """Trials in one process of their own; it is started when first needed, and anew after one was stopped or died."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._met: set[str] = set()  # models that the process was made ready for

    def prepare(self, candidate: Candidate, limit_s: float) -> str:
        """See `Runner`; the start of a process is part of it."""
        if candidate.model in self._met:
            return ""
        answer = self._asked((candidate, None), limit_s)
        trouble = answer.trouble if isinstance(answer, Outcome) else answer
        if not trouble:
            self._met.add(candidate.model)
        return trouble

    def run(self, candidate: Candidate, share: float, limit_s: float) -> Outcome:
        """See `Runner`."""
        answer = self._asked((candidate, share), limit_s)
        return answer if isinstance(answer, Outcome) else Outcome(trouble=answer)

    def _asked(self, task: tuple[Candidate, float | None], limit_s: float) -> Outcome | str:
        """The process's answer, or what went wrong instead."""
        try:
            connection = self._connection or self._start()
            connection.send(task)
            if connection.poll(max(0.0, limit_s)):
                answer: Outcome | str = connection.recv()
                return answer
        except (EOFError, OSError):
            return f"its process died ({self._end(LAST_WORDS)})"
        self._end()
        return f"stopped after {limit_s:.1f} s"

    def close(self) -> None:
        """End the process; a fit under way is given up."""
        if self._connection is not None:
            self._end()

    def _start(self) -> Connection:
        mine, theirs = Pipe()
        fd = theirs.fileno()
        words = [sys.executable, "-m", "regulars.choose.worker", str(fd)]
        self._process = subprocess.Popen(words, pass_fds=(fd,), stdin=subprocess.DEVNULL)  # noqa: S603 - our own
        theirs.close()
        self._connection = mine
        mine.send(self._question)
        return mine

    def _end(self, patience: float = 0.0) -> str:
        """Stop the process, at once unless told to wait; how it ended."""
        if self._connection is not None:
            self._connection.close()
        process, self._process, self._connection, self._met = self._process, None, None, set()
        if process is None:
            return "it never ran"
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def serve(connection: Connection) -> None:
    """Answer trials until the other end is closed."""
    try:
        bench = Bench(connection.recv())
        while True:
            candidate, share = connection.recv()
            if share is None:
                connection.send(bench.prepare(candidate, 0.0))
            else:
                connection.send(bench.run(candidate, share, 0.0))
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
