"""The `export` command, and the format that the name of its file states."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from click.core import ParameterSource

from service.client.arguments import NAME, filter_options, selected_filters, server_options, timeout_option
from service.command_line import NameChoice, print_line
from service.domain.filters import filter_parameters
from service.exports.columns import ANY_COLUMNS, EXPORT_CONTENTS, columns_of
from service.exports.model import COMPRESSION_SUFFIXES, COMPRESSIONS, EXPORT_FORMATS

if TYPE_CHECKING:
    from service.client.servers import ServerKey


_COMPRESSION_OF_SUFFIX: Final = {suffix: name for name, suffix in COMPRESSION_SUFFIXES.items() if suffix}
_FILTERS: Final = filter_parameters("exports")
_SPREADSHEET: Final = "Spreadsheets open CSV files: use the suffix .csv."
_ARCHIVE: Final = "Use the suffix .gz or .zst to compress the file."
_COLUMNAR: Final = "Use the suffix .parquet."
# Suffixes of formats that the server doesn't write. Any other unknown suffix, such as a part of a date, is ignored.
_HINTS: Final = {
    **dict.fromkeys(("xlsx", "xlsm", "xls", "ods", "numbers"), _SPREADSHEET),
    **dict.fromkeys(("zip", "bz2", "xz", "7z", "tar", "tgz", "br"), _ARCHIVE),
    **dict.fromkeys(("arrow", "feather", "orc", "avro"), _COLUMNAR),
    "tsv": "Use the suffix .csv.",
    "jsonl": "Use the suffix .ndjson.",
    "xml": "Use the suffix .json.",
}


class FileOptions(NamedTuple):
    """The format and compression of a file."""

    format: str
    compression: str | None


def _check_target(_: click.Context, __: click.Parameter, target: Path) -> Path:
    if str(target) != "-" and not target.resolve().parent.is_dir():
        raise click.BadParameter(f"'{target}' must be a file in an existing folder, or - for stdout.")
    return target


@click.command()
@server_options
@click.option(
    "-o", "--output", "target", required=True, callback=_check_target,
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help="File to write, or - for stdout. An existing file is replaced after the download is complete; a pipe or device"
    " is written directly.",
)  # fmt: skip
@click.option(
    "--format", type=NameChoice(tuple(EXPORT_FORMATS)),
    help="Format of the file.  [default: the suffix of the file name, or csv]",
)  # fmt: skip
@click.option(
    "--compression", type=NameChoice(COMPRESSIONS),
    help="Compression of the file, or of the pages of a Parquet file.  [default: none; zstd for Parquet]",
)  # fmt: skip
@click.option(
    "--content", type=NameChoice(EXPORT_CONTENTS), default="results", show_default=True,
    help="Rows of the file. Runs support only the filters of runs.",
)  # fmt: skip
@click.option(
    "--updated-since", type=NAME, metavar="POSITION",
    help="Export only runs, or the results of runs, that changed after this position of an earlier export.",
)  # fmt: skip
@click.option(
    "--print-position", is_flag=True,
    help="Print the position of the export on stdout. It is the value of --updated-since for the next export.",
)  # fmt: skip
@click.option(
    "--column", "columns", multiple=True, type=NameChoice(ANY_COLUMNS), metavar="COLUMN",
    help=f"Column to export; repeatable, in this order.  [default: {', '.join(columns_of('results'))}]",
)  # fmt: skip
@click.option("--raw", is_flag=True, help="Don't neutralize cells that a spreadsheet interprets as formulas.")
@filter_options(_FILTERS)
@timeout_option("the server has created the file")
@click.option(
    "--export-id", type=NAME, metavar="EXPORT",
    help="Download the file of this export (exp_…) instead of creating a new one.",
)  # fmt: skip
def export(
    url: str, key: "ServerKey", target: Path, timeout: int, export_id: str | None, print_position: bool, **options: Any
) -> None:
    """Export results or runs to a file.

    Wait until the server has created the file, download it, resume after connection errors, and check its SHA-256.

    Exit codes: 0 if the file is complete; 1 if the run of --run-id or the project doesn't exist, the export failed or
    isn't finished in time, or the server rejects the request or doesn't respond for 60 s; 2 if an option is invalid.
    """
    from service.client import export as exports

    filters = selected_filters(_FILTERS, options)
    if print_position and str(target) == "-":
        raise click.UsageError("--print-position: can't be used with --output -, because both use stdout")
    if export_id:
        _reject_other_options(options)
        job = exports.fetch(url, key, export_id, target, timeout)
    else:
        job = exports.export(url, key, _request_body(options, filters, target), target, timeout)
    if print_position:
        print_line(exports.position(job))


def _reject_other_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for options that can't apply to an existing export."""
    source = click.get_current_context().get_parameter_source
    if any(source(name) is ParameterSource.COMMANDLINE for name in options):
        raise click.UsageError(
            "--export-id: allows only --output, --timeout, --url, and --key, because the export already exists"
        )


def _request_body(options: Mapping[str, Any], filters: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Return the body of the request for a new export."""
    file = file_options(options["format"], options["compression"], target)
    selected = {**file._asdict(), "columns": list(options["columns"]), "updated_since": options["updated_since"]}
    selected["content"] = options["content"] if options["content"] != "results" else None  # unknown to older servers
    return {name: value for name, value in selected.items() if value} | {"raw": options["raw"], "filter": filters}


def file_options(format_name: str | None, compression: str | None, target: Path) -> FileOptions:
    """Return the options, or else the values that the suffixes of the file name specify, such as results.ndjson.zst.

    Raises UsageError if an option contradicts the file name, or if the name states an unsupported format.
    """
    suffix, suffix_compression = _suffixes(target)
    if hint := _HINTS.get(suffix):
        raise click.UsageError(f"--output: {target.name} can't be written. {hint}")
    named_format = suffix if suffix in EXPORT_FORMATS else None
    if format_name and named_format and format_name != named_format:
        raise click.UsageError(f"--format: {format_name} contradicts the file name {target.name}. Change one of them.")
    if compression and suffix_compression and compression != suffix_compression:
        raise click.UsageError(
            f"--compression: {compression} contradicts the file name {target.name}. Change one of them."
        )
    selected = format_name or named_format or "csv"
    if suffix_compression and selected == "parquet":
        raise click.UsageError(
            f"--output: {target.name} can't be written, because Parquet compresses its own pages. Omit the suffix"
            f" {target.suffix}, and use --compression."
        )
    return FileOptions(selected, compression or suffix_compression)


def _suffixes(target: Path) -> tuple[str, str | None]:
    """Return the suffix of the format without its dot, which can be empty, and the compression of the last suffix."""
    *_, first, last = ["", "", *target.suffixes]
    compression = _COMPRESSION_OF_SUFFIX.get(last)
    return (first if compression else last).removeprefix(".").lower(), compression
