"""The outcome of a gate as text for terminals, Markdown for the summary of a CI job, JSON, and outputs of the job."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from service.client.changes import ResultGroup, RunChanges, merge_by_details
from service.client.checkout import RepositoryPaths
from service.client.gate_outcomes import GateOutcome, RunOutcome
from service.client.http import ConsoleLinks, JsonObject
from service.client.markdown import Links, RunText, code_span, describe_problem, render_changes
from service.client.runs import format_counts
from service.client.terminal import printable_line, to_json
from service.command_line import print_line
from service.comparison.model import describe_missing_items, describe_variant, full_name
from service.domain.texts import Quote
from service.failures.model import to_line
from service.gates.model import describe_failed_rules, describe_permitted_failures
from service.identity.keys.model import creator_of

_MAX_SUMMARY: Final = 500_000  # characters; GitHub accepts 1 MiB
_NOT_STORED: Final = (
    "decision not stored: this requires the permission reports:create, and a CI job can store only decisions about the"
    " runs of its pipeline and branch"
)
_COLORS: Final = {"passed": "green", "waived": "green", "blocked": "red"}
_MAX_OUTPUT: Final = 500_000  # characters; the outputs of a job of GitHub have at most 1 MB
_FAILURES: Final = {
    "new_failures": "new", "known_failures": "known", "flaky_failures": "flaky", "quarantined_failures": "quarantined",
}  # fmt: skip


class StyledLine(NamedTuple):
    """A line of text without control characters. A line with a color is bold."""

    text: str
    color: str | None = None


def print_styled(lines: Iterable[StyledLine], *, err: bool) -> None:
    """Print lines on stdout or stderr."""
    for text, color in lines:
        styles = {"bold": True, "fg": color} if color else {}
        print_line(text, err=err, **styles)


def describe_gate(outcome: GateOutcome, links: ConsoleLinks) -> Iterator[StyledLine]:
    """Yield the projects of a pipeline and those that are missing, and then each run with a decision."""
    if outcome.selection.pipeline and outcome.runs:
        yield _bold_line(_describe_pipeline(outcome), outcome.state)
        if missing := outcome.describe_missing_projects():
            yield _bold_line(missing, "blocked" if outcome.lacks_projects else "passed")
    for run in outcome.runs:
        if run.decision and run.changes:
            yield from _describe_run(run.decision, run.changes, links, outcome.limits)


def _describe_pipeline(outcome: GateOutcome) -> str:
    states = ", ".join(f"{run.project} {run.state}" for run in outcome.runs)
    projects = outcome.projects
    several = f"{len(projects)} projects" if projects else "no project was evaluated"
    evaluated = f"only {projects[0]}" if len(projects) == 1 else several
    return f"{outcome.state}: pipeline {outcome.selection.pipeline}, {evaluated}: {states}"


def _describe_run(decision: JsonObject, changes: RunChanges, links: ConsoleLinks, limits: str) -> Iterator[StyledLine]:
    if missing := changes.describe_missing_parts(decision):
        yield _bold_line(missing, decision["decision"])
    yield _bold_line(_describe_headline(decision, changes), decision["decision"])
    details = [format_counts(changes.run), printable_line(changes.describe_baseline())]
    for group in changes.groups():
        details += _describe_group(changes, group)
    details += _describe_reasons(decision)
    details += [f"limits   {text}" for text in _describe_limits(decision, limits)]
    details += _describe_links(decision, changes.run, links)
    yield from map(StyledLine, details)


def _bold_line(text: str, decision: str) -> StyledLine:
    return StyledLine(printable_line(text), _COLORS.get(decision, "yellow"))


def _describe_headline(decision: JsonObject, changes: RunChanges) -> str:
    name = f" by gate {decision['gate']} version {decision['gate_version']}" if decision["gate"] else ""
    found = describe_permitted_failures(decision, explain_status=not changes.unexplained_status)
    status = changes.unexplained_status if found else changes.run["status"]
    run = f"run {changes.run['run_id']}" + (f" ({status})" if status else "")
    return f"{decision['decision']}{name}: " + (f"{found} in {run}" if found else run)


def _describe_group(changes: RunChanges, group: ResultGroup) -> Iterator[str]:
    yield f"{group.title}: {group.total}"
    for results in group.tests():
        yield from _describe_test(changes, results)
    if group.omitted:
        yield f"  and {group.omitted} more"


def _describe_test(changes: RunChanges, results: Sequence[JsonObject]) -> Iterator[str]:
    """Yield one entry of a list. Variants of the test with the same details share them."""
    first, is_merged = results[0], len(results) > 1
    name = printable_line(full_name(first | {"variant": {}} if is_merged else first))
    yield f"  {name} ({_count_variants(results)})" if is_merged else f"  {name}"

    def describe(result: JsonObject) -> Iterator[str]:
        yield from filter(None, (result["failure_summary"], changes.evidence(result)))

    for details, variants in merge_by_details(results, describe).items():
        if is_merged:
            yield f"    {printable_line('; '.join(describe_variant(each) or 'no variant' for each in variants))}"
        yield from (f"    {'  ' * is_merged}{printable_line(detail)}" for detail in details)


def _count_variants(results: Sequence[JsonObject]) -> str:
    """Return the number of variants, or of results if cases with different IDs have the same name and variant."""
    are_variants = len(set(map(describe_variant, results))) == len(results)
    return f"{len(results)} {'variants' if are_variants else 'results'}"


def _describe_reasons(decision: JsonObject, quote: Quote = printable_line) -> Iterator[str]:
    """Yield why the run is blocked, and who waived it and why."""
    yield from map(printable_line, describe_failed_rules(decision))
    if items := describe_missing_items(decision, quote):
        yield items
    if waiver := decision["waiver"]:
        yield f"waived by {quote(creator_of(waiver))}: {quote(waiver['reason'])}"


def _describe_limits(decision: JsonObject, limits: str) -> Iterator[str]:
    """Yield the limits that decided, unless a gate did. The default surprises: it also blocks known failures."""
    if decision["gate"] is None and limits:
        yield limits
    elif decision["gate"] is None:
        is_known = decision["failures"]["known"] or decision["failures"]["flaky"]
        advice = "; with --max-new-failures 0, only new failures block" if is_known else ""
        yield f"max_failures: 0 (default){advice}"


def _describe_links(decision: JsonObject, run: JsonObject, links: ConsoleLinks) -> Iterator[str]:
    yield f"run      {links.run(run['run_id'])}"
    yield f"decision {links.decision(decision['id'])}" if decision["id"] else _NOT_STORED
    if run.get("ci_url"):
        yield f"ci       {printable_line(run['ci_url'])}"


def list_problems(outcome: GateOutcome) -> list[str]:
    """Return why runs have no decision, and what the pipeline and its runs lack, unless it is allowed to be missing."""
    found = [f"run {run.run_id}{':' * run.is_error} {run.problem}" for run in outcome.runs if run.problem]
    lacking = [outcome.describe_missing_projects() if outcome.lacks_projects else None]
    lacking += [_describe_lacking_parts(run) for run in outcome.runs]
    return [*found, *outcome.problems, *filter(None, lacking)]


def _describe_lacking_parts(run: RunOutcome) -> str | None:
    missing = (run.decision or {}).get("missing_parts") or ()
    if run.changes is None or all(part["allowed"] for part in missing):
        return None
    return run.changes.describe_missing_parts(run.decision)


def render_summary(outcome: GateOutcome, links: ConsoleLinks, paths: RepositoryPaths) -> str:
    """Return the Markdown of the outcome."""
    stated = [*map(code_span, outcome.problems), outcome.describe_missing_projects(code_span)]
    sections = [f"**{text}**\n" for text in stated if text]
    sections += [
        _render_run(run, Links(links, paths), _MAX_SUMMARY // len(outcome.runs), outcome.limits) for run in outcome.runs
    ]
    return "\n".join(sections)


def _render_run(run: RunOutcome, links: Links, max_length: int, limits: str) -> str:
    decision, changes = run.decision, run.changes
    title = f"{run.state.capitalize()}: {code_span(run.project)}"
    if decision is None or changes is None:
        problem = code_span(run.problem or "") if run.is_error else describe_problem(run.problem or "")
        return f"### {title}\n\n{problem}\n"
    status = changes.unexplained_status
    title += f" ({status})" if status else ""
    found = describe_permitted_failures(decision, explain_status=not status)
    title += f", {found}" if found else ""
    text = RunText(changes, title, changes.describe_missing_parts(decision, code_span))
    notes = list(_describe_reasons(decision, code_span))
    notes += [f"Limits: {text}" for text in _describe_limits(decision, limits)]
    return "\n\n".join([render_changes(text, links, max_length).rstrip("\n"), *notes]) + "\n"


def format_document(outcome: GateOutcome, links: ConsoleLinks) -> str:
    """Return the outcome as a JSON document on one line. docs/gates.md describes its fields."""
    document = {
        "outcome": outcome.state,
        "exit_code": outcome.exit_code,
        "pipeline": outcome.selection.pipeline,
        "projects": outcome.projects,
        "missing_projects": [missing._asdict() for missing in outcome.missing_projects],
        "problems": list(outcome.problems),
        "runs": [_write_run(run, links) for run in outcome.runs],
    }
    return to_json(document)


def _write_run(run: RunOutcome, links: ConsoleLinks) -> JsonObject:
    """Return what is known about a run. Without a decision, `problem` states the reason."""
    stored, decision, changes = run.run or {}, run.decision, run.changes
    return {
        "run_id": run.run_id,
        "run_url": links.run(run.run_id),
        "project_id": stored.get("project_id"),
        "status": stored.get("status"),
        "counts": stored.get("counts"),
        "outcome": run.state,
        "exit_code": run.exit_code,
        "problem": run.problem and to_line(run.problem),
        "warnings": list(run.warnings),
        "decision": decision,
        "decision_url": links.decision(decision["id"]) if decision and decision["id"] else None,
        "reasons": describe_failed_rules(decision) if decision else [],
        "missing": changes.describe_missing_parts(decision) if changes else None,
        "baseline": changes.baseline if changes else None,
        "changes": changes.comparison["counts"] if changes else None,
        "failures": [_write_failure(result, links) for result in changes.failures] if changes else [],
    }


def _write_failure(result: JsonObject, links: ConsoleLinks) -> JsonObject:
    return {
        "id": result["id"],
        "url": links.result(result["id"]),
        "name": full_name(result),
        "file": result["file"],
        "change": result["change"],
        "failure_summary": result["failure_summary"],
    }


def describe_outputs(outcome: GateOutcome, links: ConsoleLinks) -> dict[str, object]:
    """Return the outputs of the job. Numbers are the sums of all decisions. Values of one run exist only for one."""
    decisions, document = [run.decision for run in outcome.runs if run.decision], format_document(outcome, links)
    outputs: dict[str, object] = {
        "outcome": outcome.state,
        "exit_code": outcome.exit_code,
        "pipeline": outcome.selection.pipeline,
        "projects": ",".join(outcome.projects),
        "blocked_projects": ",".join(sorted({run.project for run in outcome.runs if run.state == "blocked"})),
        **{name: sum(decision["failures"][kind] for decision in decisions) for name, kind in _FAILURES.items()},
        "missing_parts": sum(len(decision.get("missing_parts") or ()) for decision in decisions),
        "missing_projects": ",".join(missing.project for missing in outcome.missing_projects),
        "json": document if len(document) <= _MAX_OUTPUT else None,
    }
    if len(outcome.runs) == 1:
        outputs |= _describe_only_run(outcome.runs[0], links)
    return outputs


def _describe_only_run(run: RunOutcome, links: ConsoleLinks) -> dict[str, object]:
    return {
        "project": run.run and run.project,
        "run_id": run.run_id,
        "run_url": links.run(run.run_id),
        "decision_id": run.decision and run.decision["id"],
    }
