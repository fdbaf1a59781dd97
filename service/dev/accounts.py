"""As whom a server runs that refuses to be root, and where such an account can keep its data."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NOTE: Final = "home"  # in the server's directory: where its data is instead
_ORDINARY_USERS: Final = ("postgres", "nobody")
_OPEN_TO_ALL: Final = Path("/var/tmp")  # noqa: S108 - it survives a reboot, and what mkdtemp makes in it is 0700


@dataclass(frozen=True)
class Account:
    """Where a server keeps its data and finds its programs, and the command that runs them as the account."""

    home: Path
    programs: Path
    prefix: Sequence[str] = ()
    user: str | None = None

    def own(self, path: Path) -> None:
        if self.user:
            shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)


def account_for(directory: Path, programs: Path) -> Account:
    """Ourselves; as root, ourselves in a user namespace or, where these are forbidden, an ordinary user."""
    if os.geteuid() != 0:
        return Account(directory, programs)
    user = _ordinary_user()
    if _works(_namespace(user)):
        return Account(directory, programs, prefix=_namespace(user))
    return _account_of(user, directory, programs)


def erase(directory: Path) -> None:
    """Deletes what a server kept, wherever its account kept it."""
    note = directory / _NOTE
    if note.exists():
        shutil.rmtree(note.read_text())
    shutil.rmtree(directory)


def _ordinary_user() -> pwd.struct_passwd:
    return next(entry for name in _ORDINARY_USERS for entry in pwd.getpwall() if entry.pw_name == name)


def _namespace(user: pwd.struct_passwd) -> Sequence[str]:
    """Lets root look like the user (initdb asks for its name) and yet keep its own folders, /root included."""
    return ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}")


def _works(prefix: Sequence[str]) -> bool:
    try:
        return subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _account_of(user: pwd.struct_passwd, directory: Path, programs: Path) -> Account:
    """An ordinary user may be let into neither `directory` nor the programs' folder: it gets its own."""
    home = _home_of(user, directory / _NOTE)
    become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    copy = _copy_programs(programs, home)
    return Account(home, copy, prefix=(*become, "--pdeathsig=INT"), user=user.pw_name)


def _home_of(user: pwd.struct_passwd, note: Path) -> Path:
    """The folder that the note names; a new one where the note is gone, and with it the state it belonged to."""
    if note.exists() and (kept := Path(note.read_text())).is_dir():
        return kept
    home = Path(tempfile.mkdtemp(prefix="zof-results-", dir=_OPEN_TO_ALL))
    os.chown(home, user.pw_uid, user.pw_gid)
    note.write_text(str(home))
    return home


def _copy_programs(programs: Path, home: Path) -> Path:
    """Copies the wheel's tree, whose programs find their libraries relative to themselves."""
    packages = programs.parents[2]
    for part in (programs.parent, *packages.glob(f"{programs.parents[1].name}.libs")):
        shutil.copytree(part, home / part.relative_to(packages), dirs_exist_ok=True)
    return home / programs.relative_to(packages)
