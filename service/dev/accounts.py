"""As whom a server runs that refuses to be root, and where such an account can keep its data."""

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ORDINARY_USERS: Final = ("postgres", "nobody")
_OPEN_TO_ALL: Final = Path("/var/tmp")  # noqa: S108 - it survives a reboot, and our folder in it is 0700


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
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]
    home = _OPEN_TO_ALL / f"zof-results-{digest}"
    _make_private(home, user)
    become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    copy = _copy_programs(programs, home)
    return Account(home, copy, prefix=(*become, "--pdeathsig=INT"), user=user.pw_name)


def _make_private(home: Path, owner: pwd.struct_passwd) -> None:
    try:
        home.mkdir(mode=0o700)
        os.chown(home, owner.pw_uid, owner.pw_gid)
    except FileExistsError:
        found = home.lstat()
        if home.is_symlink() or found.st_uid != owner.pw_uid or found.st_mode & 0o077:
            raise PermissionError(f"{home} belongs to someone else: remove it") from None


def _copy_programs(programs: Path, home: Path) -> Path:
    """Copies the wheel's tree, whose programs find their libraries relative to themselves."""
    packages = programs.parents[2]
    for part in (programs.parent, *packages.glob(f"{programs.parents[1].name}.libs")):
        shutil.copytree(part, home / part.relative_to(packages), dirs_exist_ok=True)
    return home / programs.relative_to(packages)
