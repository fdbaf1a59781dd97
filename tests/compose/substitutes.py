"""Images that replace those of compose.yaml on machines whose network has no container registry.

PostgreSQL has the version of compose.yaml, because the tests use it too. RabbitMQ and Redis are those of Debian.
"""

import shutil
import ssl
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import certifi

from service.dev.postgres import wheel_programs
from tests.containers.base_images import PYTHON, BaseImage, root_archive
from tests.containers.engine import pip_configuration

_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CERTIFICATES: Final = "etc/pip-certificates.pem"
_POSTGRES: Final = wheel_programs().parents[1]
_POSTGRES_FOLDERS: Final = {f"opt/{folder.name}": folder for folder in (_POSTGRES, Path(f"{_POSTGRES}.libs"))}


@dataclass(frozen=True)
class Substitute:
    """A base image, and the files and folders of this machine that it also contains, by their path."""

    image: BaseImage
    files: Mapping[str, Path] = field(default_factory=dict)


def _script(path: str, text: str) -> str:
    """Return a shell command that writes an executable script."""
    return f"cat >{path} <<'END OF SCRIPT'\n{text}END OF SCRIPT\nchmod 755 {path}\n"


_START_POSTGRES: Final = """\
#!/bin/sh
set -eu
export PGDATA=/var/lib/postgresql/18/docker
mkdir -p "$PGDATA"
chown -R postgres:postgres /var/lib/postgresql
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    as_postgres initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --locale=C.UTF-8 --auth=trust
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | as_postgres postgres --single -j postgres
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups \\
    postgres -c "listen_addresses=*" -c unix_socket_directories=/tmp
"""
_START_RABBITMQ: Final = """\
#!/bin/sh
set -eu
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
export HOME=/var/lib/rabbitmq RABBITMQ_LOGS=-
exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups /usr/lib/rabbitmq/bin/rabbitmq-server
"""

SUBSTITUTES: Final = (
    Substitute(PYTHON),
    Substitute(
        BaseImage(
            "docker.io/library/postgres:18.6-trixie",
            ("passwd", "util-linux"),
            "useradd --system --uid 999 --home-dir /var/lib/postgresql --create-home postgres\n"
            + _script("/usr/local/bin/start", _START_POSTGRES),
            (
                f"ENV PATH=/opt/{_POSTGRES.name}/pginstall/bin:{_SEARCH_PATH}",
                "VOLUME /var/lib/postgresql",
                'ENTRYPOINT ["start"]',
                "STOPSIGNAL SIGINT",
            ),
        ),
        _POSTGRES_FOLDERS,
    ),
    Substitute(
        BaseImage(
            "docker.io/library/rabbitmq:4.2",
            ("rabbitmq-server", "util-linux"),
            "rm -rf /var/lib/rabbitmq/.erlang.cookie\nmkdir -p /etc/rabbitmq/conf.d\n"
            + _script("/usr/local/bin/start", _START_RABBITMQ),
            (f"ENV PATH={_SEARCH_PATH}", "VOLUME /var/lib/rabbitmq", 'ENTRYPOINT ["start"]'),
        )
    ),
    Substitute(
        BaseImage(
            "docker.io/library/redis:8.2-alpine",
            ("redis-server", "redis-tools"),
            "mkdir /data\n",
            (
                f"ENV PATH={_SEARCH_PATH}",
                "VOLUME /data",
                "WORKDIR /data",
                # As in the official image, other containers can connect without a password.
                r'ENTRYPOINT ["sh", "-c", "exec \"$@\" --protected-mode no", "start"]',
            ),
        )
    ),
)


def load(substitute: Substitute, folder: Path) -> None:
    """Import the image into the engine of DOCKER_HOST."""
    path = folder / "root.tar"
    shutil.copyfile(root_archive(substitute.image), path)
    files, changes = {**substitute.files}, [*substitute.image.changes]
    if substitute.image is PYTHON:
        files |= package_index_files(folder)
        changes.append(f"ENV PIP_CERT=/{_CERTIFICATES}")
    with tarfile.open(path, "a") as archive:
        for name, source in files.items():
            archive.add(source, name)
    options = [f"--change={change}" for change in changes]
    subprocess.run(["docker", "import", *options, path, substitute.image.name], check=True, stdout=subprocess.DEVNULL)
    path.unlink()


def package_index_files(folder: Path) -> dict[str, Path]:
    """Return files with which pip in a container reaches the package index of this machine. A build has no mounts."""
    configuration = folder / "pip.conf"
    configuration.write_text(pip_configuration())
    certificates = ssl.get_default_verify_paths().cafile or certifi.where()
    return {"etc/pip.conf": configuration, _CERTIFICATES: Path(certificates).resolve()}
