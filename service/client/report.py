"""The upload of reports from a CI job, compressed, with the state of their receipt."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from service.client.attachments import AttachmentOptions, upload_attachments
from service.client.checkout import find_checkout
from service.client.ci import current_job
from service.client.http import ClientError, Server, TemporaryFailure, read_json
from service.client.job_keys import JobKeys
from service.client.job_outputs import write_outputs
from service.client.path_prefixes import FoundPrefixes, MissingFile, find_prefixes, find_root
from service.client.report_files import OWNERS_FILE, SentReport, owners_in, pack_files, select_files
from service.client.report_options import ReportFields
from service.client.runner.spool import SpoolEntry
from service.client.runs import await_receipt, find_run
from service.client.servers import ServerKey, find_projects, open_server
from service.client.splits import describe_job, pack_assignments
from service.client.terminal import Progress, print_message, printable_line, show_progress
from service.command_line import print_line
from service.receipts.model import is_unfinished
from service.runs.model import is_untrusted_id

STORED: Final = 0
REJECTED: Final = 1
UNFINISHED: Final = 1

_INCOMPLETE: Final = ("rejected", "partial")  # receipts of reports with results that aren't stored
_RETRY_S: Final = 60
_MAX_SHOWN: Final = 50  # problems of one report


def report(
    url: str, key: ServerKey, run_id: str, patterns: Sequence[str], fields: ReportFields, *, wait_s: float | None,
    ignored: Sequence[str] = (), expects_new: bool = False, attachments: AttachmentOptions | None = None,
    splits: Sequence[Path] = (), owners: bytes | None = None,
) -> int:  # fmt: skip
    """Send all files as one upload, print the receipt and the run, and return the exit code. Raises ClientError.

    The files that match a pattern of `ignored` aren't sent. Unless a field states it, the folder to which the files in
    each report are relative is found by the files that exist, or a hint names the option.
    With `wait_s`, the command waits for at most this time until the upload is processed. With `expects_new`, a report
    that replaced results of another job causes a warning. With `attachments`, the files that the reports name are
    uploaded after the report. `splits` are files with assignments, instead of those of this job. `owners` is the file
    with the owners of the tested files.
    The upload has one receipt, which is identified by its content: a repeated upload returns the same receipt. Later
    steps of the CI job can read `run_id`, `run_url`, `receipt_id`, `project`, and `pipeline`.
    """
    files = select_files(patterns, ignored)
    fields, prefixes = locate_files(files, fields)
    job = describe_job(current_job(os.environ))
    with open_server(url, key, _RETRY_S, dict(fields)["project_id"]) as server:
        with TemporaryDirectory(prefix="zof-results-") as folder:
            assignments, fields = pack_assignments(run_id, fields, job, Path(folder), splits)
            if owners:
                (Path(folder) / OWNERS_FILE).write_bytes(owners)
            reports = pack_files(files, prefixes, Path(folder)) + assignments + owners_in(Path(folder))
            receipt = send_reports(server, run_id, reports, title_of(files), fields)
        if wait_s is not None:
            receipt = await_receipt(server, receipt, wait_s)
        run_url = server.links.run(run_id)
        print_receipt(title_of(files), receipt)
        for prefix in dict.fromkeys(prefixes.values()):
            print_line(f"  relative files are below {printable_line(prefix)}/")
        if expects_new:
            warn_if_replaced(receipt)
        print_line(f"run {printable_line(run_id)}: {run_url}")
        write_report_outputs(run_id, run_url, receipt, fields)
        if attachments and (wait_s is None or not is_unfinished(receipt)):
            upload_attachments(server, run_id, receipt, files, attachments)
    if wait_s is not None and is_unfinished(receipt):
        print_message(
            f"Error: not processed after {wait_s:g} s. The server stores the upload later: {server.readiness_url} shows"
            f" whether a consumer of reports runs"
        )
    return _exit_code(receipt, is_awaited=wait_s is not None)


def report_spool(url: str, key: ServerKey, entries: Sequence[SpoolEntry], *, wait_s: float | None) -> int:
    """Send the reports of each entry to its own run, delete the accepted entries, and return the exit code.

    An entry that can't be sent stays, and doesn't stop the others. Raises TemporaryFailure.
    """
    return max(_report_entry(url, key, entry, wait_s) for entry in entries)


def _report_entry(url: str, key: ServerKey, entry: SpoolEntry, wait_s: float | None) -> int:
    try:
        if entry.lock():
            return _send_entry(url, key, entry, wait_s)
        print_message(f"{entry.folder}: skipped, because its command is still executed")
    except TemporaryFailure:
        raise
    except (ClientError, OSError, ValueError) as error:
        print_message(f"Error: {entry.folder}: {printable_line(str(error))}")
        return REJECTED
    return STORED


def _send_entry(url: str, key: ServerKey, entry: SpoolEntry, wait_s: float | None) -> int:
    reports = entry.packed_reports()
    upload = entry.read_upload()
    if not reports:
        print_message(f"{entry.folder}: deleted, because it contains no results")
        entry.remove()
        return STORED
    with open_server(url, key, _RETRY_S, upload.project) as server:
        receipt = send_reports(server, upload.run_id, reports, entry.folder.name, upload.fields)
        if wait_s is not None:
            receipt = await_receipt(server, receipt, wait_s)
        print_receipt(entry.folder.name, receipt)
        print_line(f"run {printable_line(upload.run_id)}: {server.links.run(upload.run_id)}")
    entry.remove()
    return _exit_code(receipt, is_awaited=wait_s is not None)


def _exit_code(receipt: Mapping[str, Any], *, is_awaited: bool) -> int:
    if is_awaited and is_unfinished(receipt):
        return UNFINISHED
    return REJECTED if receipt["status"] in _INCOMPLETE else STORED


def locate_files(files: Sequence[Path], fields: ReportFields) -> tuple[ReportFields, Mapping[Path, str]]:
    """Return the fields with the root of absolute paths, and the folder to which the files in each report are relative.

    Prints a hint or a warning if files that a report names aren't found.
    """
    if "root" not in dict(fields) and (root := find_root(files)):
        fields = [*fields, ("root", root)]
    stated_prefix = dict(fields).get("path_prefix")
    prefixes, missing = find_prefixes(files) if stated_prefix is None else FoundPrefixes({})
    if missing:
        _print_missing(missing)
    if stated_prefix and not (find_checkout() / stated_prefix).is_dir():
        print_message(
            f"warning: --path-prefix: the checkout has no folder {stated_prefix}, so links to files are wrong"
        )
    return fields, prefixes


def default_project(url: str, key: JobKeys) -> str:
    """Return the only project whose trusted publisher accepts this CI job. Raises ClientError."""
    projects = find_projects(url, key, _RETRY_S)
    if len(projects) == 1 and projects[0]:
        return projects[0]
    listed = f", which is one of: {', '.join(filter(None, projects))}" if len(projects) > 1 else ""
    raise ClientError(f"--project: must be set{listed}, or set RESULTS_PROJECT")


def _print_missing(missing: MissingFile) -> None:
    file, report, folder = (
        printable_line(str(each)) for each in (missing.file, missing.report, missing.folder or "FOLDER")
    )
    print_message(
        f"hint: {file}, which {report} names, was not found from the root of the repository, so links to files can be"
        f" wrong. State the folder to which these files are relative: --path-prefix {folder}, or --path-prefix . for"
        " the root"
    )


def send_reports(
    server: Server, run_id: str, reports: Sequence[SentReport], title: str, fields: ReportFields,
    on_sent: Callable[[], None] = lambda: None,
) -> dict[str, Any]:  # fmt: skip
    """Send the compressed reports, the archives, and the assignments as a form, and return the receipt.

    `on_sent` is called for each part that is sent. Raises ServerError, and ClientError if the run of the same upload
    has been deleted.
    """
    path = f"/runs/{quote(run_id, safe='')}/report"
    with ExitStack() as opened:
        progress = opened.enter_context(show_progress(title, sum(each.path.stat().st_size for each in reports)))
        form = []
        for name, file_path, media_type, prefix, field in reports:
            file = _SentFile(opened.enter_context(file_path.open("rb")), progress, on_sent)
            form.append((field, (name, file, media_type, _headers(prefix))))
        with server.open("POST", path, files=form, params=fields) as response:
            receipt: dict[str, Any] = read_json(response)
    if not is_unfinished(receipt) and not is_untrusted_id(run_id):
        _check_repeated(server, run_id, receipt)
    return receipt


def _headers(path_prefix: str) -> dict[str, str]:
    """Return the headers of a part. Servers of earlier versions ignore them."""
    return {"Path-Prefix": quote(path_prefix)} if path_prefix else {}


class _SentFile:
    """An open file of a form, which reports the progress of the upload. A retry reads it again from its start."""

    def __init__(self, file: BinaryIO, progress: Progress, on_sent: Callable[[], None]) -> None:
        self._file = file
        self._progress = progress
        self._on_sent = on_sent
        self._sent = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def seek(self, position: int) -> int:
        """Move to a position, as each request does before it reads the file."""
        self._advance(self._file.seek(position) - self._sent)
        return position

    def fileno(self) -> int:
        """Return the file descriptor, from which httpx reads the size."""
        return self._file.fileno()

    def _advance(self, count: int) -> None:
        self._on_sent()
        self._sent += count
        self._progress.advance(count)


def _check_repeated(server: Server, run_id: str, receipt: Mapping[str, Any]) -> None:
    """Raise ClientError if the run of an upload that was stored earlier has been deleted."""
    if find_run(server, run_id) is None:
        raise ClientError(
            f"run {run_id} was deleted after this upload was stored ({receipt['id']}), and the server doesn't store the"
            " same upload again. To store it again, use another run ID, or add a label"
        )


def print_receipt(title: str, receipt: Mapping[str, Any]) -> None:
    """Print how the server processed an upload, with the first problems."""
    results = "1 result" if receipt["results"] == 1 else f"{receipt['results']} results"
    count = "" if is_unfinished(receipt) else f", {results}"
    print_line(f"{title}: {receipt['status']}{count} ({receipt['id']})")
    if receipt["replaced"]:
        print_line(
            f"  earlier results replaced: {receipt['replaced']}, of these failing: {receipt['replaced_failing']}"
        )
    for problem in receipt["problems"][:_MAX_SHOWN]:
        result = "" if problem["index"] is None else f"result {problem['index']} {problem['name'] or ''}: "
        print_line(f"  {printable_line(result + problem['reason'])}")
    if len(receipt["problems"]) > _MAX_SHOWN:
        print_line(f"  and {len(receipt['problems']) - _MAX_SHOWN} more")


def title_of(files: Sequence[Path]) -> str:
    """Return the name of an upload in messages."""
    return printable_line(str(files[0])) if len(files) == 1 else f"{len(files)} files"


def warn_if_replaced(receipt: Mapping[str, Any]) -> None:
    """Warn if the results of another job can be lost, because nothing distinguishes the jobs."""
    if receipt["replaced"] and not receipt.get("shard") and not receipt.get("variant"):
        print_message(
            f"warning: this report replaced {receipt['replaced']} results of another report of this pipeline, "
            f"{receipt['replaced_failing']} of them failing. If another job of a matrix sent that report, give each "
            "job its own variant, for example --variant os:linux"
        )


def write_report_outputs(run_id: str, run_url: str, receipt: Mapping[str, Any], fields: ReportFields) -> None:
    """Write the outputs of the CI job that name the upload."""
    stated = dict(fields)
    write_outputs(
        {
            "run_id": run_id, "run_url": run_url, "receipt_id": receipt["id"], "project": stated["project_id"],
            "pipeline": stated.get("pipeline"),
        }
    )  # fmt: skip
