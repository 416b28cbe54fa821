"""Trials in a process of their own: the same numbers, stopped at a deadline, harmless when it dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from choose.conftest import asked_of, blocks
from regulars.choose.question import Question
from regulars.choose.space import Candidate
from regulars.choose.trial import Bench
from regulars.choose.worker import Apart

LONG = 120.0


@pytest.fixture(scope="module")
def asked() -> Question:
    return asked_of(blocks(n_users=60))


@pytest.fixture
def apart(asked: Question) -> Iterator[Apart]:
    with closing(Apart(asked)) as runner:
        yield runner


def pid_of(runner: Apart) -> int:
    assert runner._process is not None
    return runner._process.pid


def test_a_process_says_what_this_one_says_and_is_stopped_or_dies_without_harm(asked: Question, apart: Apart) -> None:
    als, bench = Candidate("als", {"factors": 4}), Bench(asked)
    assert (apart.prepare(als, LONG), bench.prepare(als, LONG)) == ("", "")
    theirs, ours = apart.run(als, 1.0, LONG), bench.run(als, 1.0, LONG)
    assert theirs.lists is not None
    assert ours.lists is not None
    np.testing.assert_array_equal(theirs.lists.ranked, ours.lists.ranked)
    np.testing.assert_array_equal(theirs.lists.scores, ours.lists.scores)
    assert theirs.seconds > 0

    first = pid_of(apart)
    began = time.monotonic()
    stopped = apart.run(Candidate("als", {"factors": 64, "epochs": 1_000_000}), 1.0, 0.5)
    assert stopped.trouble == "stopped after 0.5 s"
    assert time.monotonic() - began < LONG  # it is really stopped: the fit would take hours
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)

    assert apart.run(als, 1.0, LONG).trouble == ""  # and another one takes over
    os.kill(pid_of(apart), signal.SIGKILL)
    assert "died (signal 9)" in apart.run(als, 1.0, LONG).trouble
    assert apart.prepare(als, LONG) == ""
    assert apart.run(als, 1.0, LONG).trouble == ""


def test_a_fault_of_a_fit_is_told(asked: Question) -> None:
    outcome = Bench(asked).run(Candidate("bpr", {"rate": 1e6}), 1.0, LONG)
    assert outcome.lists is None
    assert "not finite" in outcome.trouble
    assert "unknown name" in Bench(asked).prepare(Candidate("als", {"factor": 3}), LONG)
