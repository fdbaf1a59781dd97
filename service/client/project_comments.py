"""The comments of projects on a pull request: each is found by its marker, updated, or created once."""

from collections.abc import Sequence
from typing import Final

from service.client.code_hosts import CommentTarget, HostedComment
from service.client.comment_texts import ProjectComment
from service.client.terminal import print_message

_EARLIER_MARKER: Final = "<!-- zof-results -->"  # of clients whose comments didn't state the project


def write_all(target: CommentTarget, comments: Sequence[ProjectComment]) -> None:
    """Create or update the comments. Raises WriteDenied and ClientError.

    A comment with the earlier marker becomes that of the first project that has none. A comment that isn't needed is
    only updated. A code host can't prevent two jobs from creating the same comment, so each of them deletes the later
    one.
    """
    hosted = target.list_comments()
    created = []
    for comment in comments:
        existing = _find(hosted, comment.marker) or _find(hosted, _EARLIER_MARKER)[:1]
        if existing:
            _replace(target, existing, comment)
            hosted = [other for other in hosted if other not in existing]
        elif comment.is_needed:
            target.create_comment(comment.text)
            created.append(comment)
            print_message(f"{comment.description} is created")
        else:
            print_message(f"{comment.description} isn't needed, because the run has no new failures")
    if created:
        _delete_duplicates(target, created)


def _find(hosted: Sequence[HostedComment], marker: str) -> list[HostedComment]:
    """Return the comments that start with the marker. Text of a producer can contain the marker of another project."""
    return [comment for comment in hosted if comment.text.startswith(marker)]


def _replace(target: CommentTarget, existing: Sequence[HostedComment], comment: ProjectComment) -> None:
    first, *duplicates = existing
    target.update_comment(first.comment_id, comment.text)
    for duplicate in duplicates:
        target.delete_comment(duplicate.comment_id)
    print_message(f"{comment.description} is updated")


def _delete_duplicates(target: CommentTarget, created: Sequence[ProjectComment]) -> None:
    """Keep only the first of several comments of a project, which another job can have created at the same time."""
    hosted = target.list_comments()
    for comment in created:
        if len(existing := _find(hosted, comment.marker)) > 1:
            _replace(target, existing, comment)
