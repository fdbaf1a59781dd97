"""The replay of a policy of automatic quarantine on the states that the cases of a project had after each run."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from service.domain.ids import CaseKey, parse_case_id
from service.domain.statuses import StateValue
from service.domain.timestamps import parse_timestamp
from service.quarantines.model import PolicyQuarantine, QuarantinePolicy


class PolicyReplay:
    """The quarantines of a policy after each run, and what follows for the failing runs of pull requests.

    `excused_failures` are those in quarantined cases. The last run of a pull request passes `max_failures: 0` only
    thanks to the policy if it has no other failure.
    """

    def __init__(self, policy: QuarantinePolicy, executed: int) -> None:
        self.counts = {
            "limit": policy.find_limit(executed), "quarantined": 0, "largest_number_at_once": 0, "ended_broken": 0,
            "released_healthy": 0, "excused_failures": 0, "pull_requests_that_would_pass": 0,
        }  # fmt: skip
        self._policy = policy
        self._active: dict[CaseKey, PolicyQuarantine] = {}
        self._run_keys: list[str] = []  # newest first
        self._steps: list[tuple[datetime, frozenset[CaseKey]]] = []

    def apply(self, run: Mapping[str, Any]) -> None:
        """Apply the policy after the next run of the default branch."""
        now = parse_timestamp(run["completed_at"])
        states: dict[CaseKey, StateValue] = dict.fromkeys(_keys(run["flaky"]), "flaky")
        states |= dict.fromkeys(_keys(run["broken"]), "broken")
        self._run_keys.insert(0, f"{len(self._steps):09}")
        active = {case: quarantine for case, quarantine in self._active.items() if quarantine.expires_at > now}
        decision = self._policy.decide(states, active.values(), (), self._run_keys, self.counts["limit"], now)
        for quarantine in decision.changed:
            active[quarantine.case_key] = quarantine
            if quarantine.is_ended:
                del active[quarantine.case_key]
                self.counts["ended_broken" if quarantine.case_key in states else "released_healthy"] += 1
        for case in decision.created:
            active[case] = PolicyQuarantine(self._run_keys[0], case, now + self._policy.duration)
        self._active = active
        self._steps.append((now, frozenset(active)))
        self.counts["quarantined"] += len(decision.created)
        self.counts["largest_number_at_once"] = max(self.counts["largest_number_at_once"], len(active))

    def add_failures(self, run: Mapping[str, Any]) -> None:
        """Count the failures of a run of a pull request in cases that were quarantined when it completed."""
        index = bisect_left(self._steps, parse_timestamp(run["completed_at"]), key=lambda step: step[0])
        quarantined = self._steps[index - 1][1] if index else frozenset[CaseKey]()
        failed = _keys(run["failed_cases"])
        self.counts["excused_failures"] += len(failed & quarantined)
        if run["compared"] and run["is_last"]:
            self.counts["pull_requests_that_would_pass"] += failed <= quarantined


def _keys(case_ids: Iterable[str]) -> set[CaseKey]:
    return {key for key in map(parse_case_id, case_ids) if key is not None}
