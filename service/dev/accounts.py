"""Accounts for servers that don't run as root, and the directories that these accounts can use."""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NOTE: Final = "home"  # file in the server's directory that contains the path of its data directory
_ORDINARY_USERS: Final = ("postgres", "nobody")
_OPEN_TO_ALL: Final = Path("/var/tmp")  # noqa: S108 - survives a reboot; mkdtemp creates directories with mode 0700


@dataclass(frozen=True)
class Account:
    """The data directory, program directory, and command prefix of the account that runs a server."""

    home: Path
    programs: Path
    prefix: Sequence[str] = ()
    user: str | None = None

    def own(self, path: Path) -> None:
        if self.user:
            shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)


def account_for(directory: Path, programs: Path) -> Account:
    """Return the current account; for root, a user namespace or, if namespaces are forbidden, an ordinary user."""
    if os.geteuid() != 0:
        return Account(directory, programs)
    user = _ordinary_user()
    if _can_run(_namespace(user)):
        return Account(directory, programs, prefix=_namespace(user))
    return _account_of(user, directory, programs)


def erase(directory: Path) -> None:
    """Delete the data of a server, including a data directory outside `directory`."""
    note = directory / _NOTE
    if note.exists():
        shutil.rmtree(note.read_text())
    shutil.rmtree(directory)


def _ordinary_user() -> pwd.struct_passwd:
    return next(entry for name in _ORDINARY_USERS for entry in pwd.getpwall() if entry.pw_name == name)


def _namespace(user: pwd.struct_passwd) -> Sequence[str]:
    """Return a prefix that maps root to the user (initdb rejects root) but keeps access to root's directories."""
    return ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}")


def _can_run(prefix: Sequence[str]) -> bool:
    try:
        return subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _account_of(user: pwd.struct_passwd, directory: Path, programs: Path) -> Account:
    """Create separate directories for an ordinary user who has no access to `directory` or `programs`."""
    home = _home_of(user, directory / _NOTE)
    become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    usable = programs if _is_public(programs) else _copy_programs(programs, home)
    return Account(home, usable, prefix=(*become, "--pdeathsig=INT"), user=user.pw_name)


def _home_of(user: pwd.struct_passwd, note: Path) -> Path:
    """Return the directory named in `note`, or a new one if the note or its directory is missing."""
    if note.exists() and (stored := Path(note.read_text())).is_dir():
        return stored
    home = Path(tempfile.mkdtemp(prefix="zof-results-", dir=_OPEN_TO_ALL))
    os.chown(home, user.pw_uid, user.pw_gid)
    note.write_text(str(home))
    return home


def _is_public(folder: Path) -> bool:
    """Return whether all users can open the folder."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


def _copy_programs(programs: Path, home: Path) -> Path:
    """Copy the wheel's directory tree: its programs load libraries from paths relative to themselves."""
    packages = programs.parents[2]
    for tree in (programs.parent, *packages.glob(f"{programs.parents[1].name}.libs")):
        shutil.copytree(tree, home / tree.relative_to(packages), dirs_exist_ok=True)
    return home / programs.relative_to(packages)
