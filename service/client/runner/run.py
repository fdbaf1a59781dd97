"""The command `run`: a test command is executed, its reports are delivered, and its failure is excused or not.

The exit code is that of the command, or 0 if each cause of the failure is proven to be a quarantined test.
"""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

from service.client.attachments import AttachmentOptions
from service.client.http import ClientError, finish_in_time
from service.client.report import locate_files, title_of
from service.client.report_files import list_files, select_files
from service.client.report_options import UploadOptions
from service.client.runner.conditions import REPORTS, SERVER, Doubt, Finished, find_doubts
from service.client.runner.deliver import (
    DeliveredReports,
    Destination,
    StatedFailure,
    attach,
    deliver,
    find_quarantines,
)
from service.client.runner.evidence import install_probe, read_evidence
from service.client.runner.execute import ChildProcess
from service.client.runner.spool import FOLDER_VARIABLE, SpoolEntry
from service.client.runner.tools import Tool, usual_reports
from service.client.terminal import print_message, printable_line, to_json

_CLIENT_VARIABLE: Final = "RESULTS_CLIENT"  # a list in JSON

FileState = tuple[int, int, int]  # time of the last change, size, and number


class RunRequest(NamedTuple):
    """A command, and how its reports are found and delivered. `destination` is None if it isn't known.

    `patterns` are the reports that the user names. `stated_code` is the exit code that, according to the user, only
    failed tests cause.
    """

    command: Sequence[str]
    upload: UploadOptions
    destination: Destination | None
    tool: Tool | None
    patterns: Sequence[str]
    ignored: Sequence[str]
    stated_code: int | None
    allow_missing_cases: bool
    attachments: AttachmentOptions | None
    timeout_s: float
    spool: Path

    @property
    def is_live(self) -> bool:
        """Whether a plugin of the tool can write the report."""
        return not self.patterns and self.tool is not None and self.tool.reports_live


def run(request: RunRequest) -> int:
    """Execute the command, deliver its reports, and return the exit code. No error of the delivery changes it."""
    patterns = request.patterns or (usual_reports(request.tool) if request.tool else [])
    before: Mapping[Path, FileState] = {}
    entry = None
    try:
        before = _find_states(patterns)
        entry = _open_entry(request)
    except Exception as error:
        _print_error(error)
    outcome = ChildProcess(request.command).run(_environment(request, entry))
    if entry is None:
        return outcome.code
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is only for the command
            finished = Finished(outcome, request.tool, request.stated_code, read_evidence(entry.folder))
            return _finish(request, finished, entry, patterns, before)
    except Exception as error:
        _print_error(error)
        return outcome.code


def _print_error(error: Exception) -> None:
    with contextlib.suppress(OSError):  # stderr can be closed, or a full disk
        print_message(f"Error: the reports aren't delivered: {printable_line(repr(error))}")


def _open_entry(request: RunRequest) -> SpoolEntry:
    """Return the folder of the execution, in a temporary folder if the spool can't be used. Raises OSError."""
    try:
        entry = SpoolEntry.create(request.spool, request.upload, live=request.is_live)
    except OSError as error:
        spool = Path(mkdtemp(prefix="zof-results-"))
        print_message(f"warning: {spool} replaces the spool {request.spool}, which can't be used: {error}")
        entry = SpoolEntry.create(spool, request.upload, live=request.is_live)
    install_probe(entry.folder)
    if request.is_live and request.destination:
        destination = request.destination
        try:
            found = finish_in_time(lambda heartbeat: find_quarantines(destination, request.upload, heartbeat))
            entry.write_quarantines(found)
        except Exception as error:  # also of a response with other content
            print_message(f"warning: the quarantines are unknown, so that their failures count for -x: {error}")
    return entry


def _environment(request: RunRequest, entry: SpoolEntry | None) -> Mapping[str, str]:
    """Return the variables of the command: defaults of `split`, the folder for evidence, and where pytest finds it."""
    fields = request.upload.fields
    stated = {
        _CLIENT_VARIABLE: to_json(_own_command()), "RESULTS_PROJECT": request.upload.project,
        "RESULTS_RUN_ID": "" if "pipeline" in dict(fields) else request.upload.run_id,
        "RESULTS_VARIANT": "\n".join(value for name, value in fields if name == "variant"),
    }  # fmt: skip
    variables = {**os.environ, **{name: value for name, value in stated.items() if value}}
    variables.pop(FOLDER_VARIABLE, None)
    if entry is None:
        return variables
    paths = [str(entry.folder), *filter(None, [variables.get("PYTHONPATH")])]
    return {**variables, FOLDER_VARIABLE: str(entry.folder), "PYTHONPATH": os.pathsep.join(paths)}


def _own_command() -> Sequence[str]:
    """Return the command that starts this client again: a script, client.pyz, or a package."""
    spec = sys.modules["__main__"].__spec__
    program = ["-m", spec.parent] if spec and spec.parent else [str(Path(sys.argv[0]).absolute())]
    return [sys.executable, *program]


def _find_states(patterns: Sequence[str]) -> dict[Path, FileState]:
    """Return the state of each file that is a report of an earlier execution, unless the command writes it again."""
    states = {}
    for path in (path for pattern in patterns for path in list_files(pattern)):
        with contextlib.suppress(OSError):  # a broken link, or a file that was deleted just now
            status = path.stat()
            states[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return states


def _finish(
    request: RunRequest, finished: Finished, entry: SpoolEntry, patterns: Sequence[str],
    before: Mapping[Path, FileState],
) -> int:  # fmt: skip
    """Deliver the reports, print the decision, and return the exit code."""
    code = finished.outcome.code
    doubts = find_doubts(finished) if code else []
    if code and request.ignored:
        doubts.append(Doubt(REPORTS, "--ignore can leave out failures"))
    files: list[Path] = []
    delivery = None
    try:
        files = _select_files(request, entry, patterns, before)
    except ClientError as error:
        doubts.append(Doubt(REPORTS, str(error)))
        entry.remove()
    if files:
        excuse = None if doubts or not code else StatedFailure(finished.stated_failures, request.allow_missing_cases)
        delivery, found = _deliver(request, entry, files, excuse, is_certain=not doubts)
        doubts += found
    code = _print_decision(code, doubts, delivery)
    if delivery and request.attachments and request.destination:
        _attach(request, request.destination, delivery, files, request.attachments)
    return code


def _select_files(
    request: RunRequest, entry: SpoolEntry, patterns: Sequence[str], before: Mapping[Path, FileState]
) -> list[Path]:
    """Return the live reports, or the files that the command has written. Raises ClientError."""
    if live := entry.live_reports():
        return live
    states = _find_states(patterns)
    unchanged = {path for path, state in states.items() if state == before.get(path) or state[0] < entry.created_ns}
    if not request.patterns:  # of the usual paths, at most one exists
        patterns = [pattern for pattern in patterns if not set(list_files(pattern)).issubset(unchanged)]
    if not patterns:
        raise ClientError("the command has written no report at a usual path of its tool. Name its reports: --report")
    return select_files(patterns, request.ignored, unchanged)


def _deliver(
    request: RunRequest, entry: SpoolEntry, files: Sequence[Path], excuse: StatedFailure | None, *, is_certain: bool
) -> tuple[DeliveredReports | None, Sequence[Doubt]]:
    """Return the delivery, or None if it failed, and the reasons why the failures aren't excused.

    Unless it `is_certain` that the tool reached its end, only items of splits with results count as executed.
    """
    try:
        delivery = _send(request, entry, files, excuse, is_certain=is_certain)
    except Exception as error:  # also of a response with other content
        if entry.folder.exists():
            print_message(f"The reports stay in {entry.folder}. Send them later: zof-results report {entry.folder}")
        return None, [Doubt(SERVER, str(error) if isinstance(error, ClientError) else repr(error))]
    return delivery, delivery.doubts


def _send(
    request: RunRequest, entry: SpoolEntry, files: Sequence[Path], excuse: StatedFailure | None, *, is_certain: bool
) -> DeliveredReports:
    fields, prefixes = locate_files(files, request.upload.fields)
    reports, destination = entry.pack(files, prefixes, fields, is_certain=is_certain), request.destination
    upload = request.upload._replace(fields=entry.read_upload().fields)
    is_live = files[0].parent == entry.folder
    title = f"report of {request.tool.title}" if is_live and request.tool else title_of(files)
    if destination is None:
        raise ClientError("RESULTS_URL or RESULTS_API_KEY isn't set")
    return finish_in_time(
        lambda heartbeat: deliver(destination, upload, entry, reports, title, excuse, request.timeout_s, heartbeat),
        request.timeout_s,
    )


def _print_decision(code: int, doubts: Sequence[Doubt], delivery: DeliveredReports | None) -> int:
    """Print why the exit code is changed or not, and return it."""
    if code == 0:
        for doubt in doubts:
            print_message(f"warning: {printable_line(doubt.text)}")
        return 0
    if doubts or delivery is None:
        print_message(f"run: the exit code stays {code}, because the failures can't be excused:")
        for condition, text in doubts:
            print_message(f"  {condition}: {printable_line(text)}")
        return code
    print_message(f"run: the exit code is 0 instead of {code}, because all failing tests are quarantined:")
    for name in delivery.excused:
        print_message(f"  {printable_line(name)}")
    return 0


def _attach(
    request: RunRequest, destination: Destination, delivery: DeliveredReports, files: Sequence[Path],
    options: AttachmentOptions,
) -> None:  # fmt: skip
    try:
        finish_in_time(
            lambda heartbeat: attach(destination, request.upload, delivery.receipt, files, options, heartbeat),
            request.timeout_s,
            request.timeout_s,  # large files take longer than the usual silence
        )
    except (ClientError, OSError) as error:
        print_message(f"warning: attachments: {error}")
