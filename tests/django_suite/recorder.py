"""A Django test runner that writes what became of each test, a JSON line a fact, so that a crash loses nothing.

It runs inside Django's runtests.py; running.py reads the file.
"""

from __future__ import annotations

import json
import os
import unittest
from typing import Any

from django.test.runner import DiscoverRunner

from tests.django_suite.engines import VARIABLE


class RecordingResult(unittest.TextTestResult):
    """The usual result, which also writes each outcome down."""

    def _write(self, test: Any, outcome: str, why: str = "") -> None:
        path = json.loads(os.environ[VARIABLE])["results"]
        with open(path, "a", encoding="utf-8") as output:
            output.write(json.dumps({"test": test.id(), "outcome": outcome, "why": why}) + "\n")

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._write(test, "passed")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._write(test, "error", self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._write(test, "failed", self.failures[-1][1])

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._write(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._write(test, "failed as expected")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._write(test, "passed unexpectedly")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            # Charged to the test: the texts of subtests may hold what differs from run to run.
            failed = issubclass(err[0], test.failureException)
            why = (self.failures if failed else self.errors)[-1][1]
            self._write(test, "failed" if failed else "error", why)


class RecordingRunner(DiscoverRunner):
    """Django's runner with that result."""

    def get_resultclass(self) -> type[RecordingResult]:
        return RecordingResult
