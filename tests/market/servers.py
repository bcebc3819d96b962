"""Database servers that the tests start for themselves and stop again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _program(*names: str) -> str | None:
    folders = [str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders, "/usr/sbin"])
    return next((found for n in names if (found := shutil.which(n, path=path))), None)


def _owner(folder: Path, name: str) -> dict[str, str]:
    """Let a server that refuses to run as root run as its own user."""
    if os.name != "posix" or os.geteuid() != 0:
        return {}
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    user = name if name in known else "nobody"
    shutil.chown(folder, user)
    # The parents must let that user pass.
    for parent in folder.parents:
        if str(parent).startswith(("/tmp/", "/var/tmp/")):
            parent.chmod(parent.stat().st_mode | 0o011)
    return {"user": user}


@contextlib.contextmanager
def _running(command: list[str], ready, **kwargs) -> Iterator[None]:
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kwargs
    )
    try:
        deadline = time.monotonic() + 30
        while not ready():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"{Path(command[0]).name} did not start on this machine")
            time.sleep(0.1)
        yield
    finally:
        # PostgreSQL waits for its clients on SIGTERM and ends their sessions on SIGINT.
        server.send_signal(signal.SIGINT if "postgres" in command[0] else signal.SIGTERM)
        server.wait(20)


def _answers(url: str):
    import sqlalchemy as sa

    def ready() -> bool:
        engine = sa.create_engine(url)
        try:
            with engine.connect():
                return True
        except sa.exc.OperationalError:
            return False
        finally:
            engine.dispose()

    return ready


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start a PostgreSQL server in `folder`; give the URL of its database."""
    initdb, server = _program("initdb"), _program("postgres")
    if not initdb or not server:
        pytest.skip("PostgreSQL is not installed: no initdb and postgres programs")
    data = folder / "data"
    data.mkdir(parents=True)
    user = _owner(data, "postgres")
    made = subprocess.run(
        [initdb, "-D", str(data), "-U", "wind", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        capture_output=True,
        cwd=data,
        **user,
    )
    if made.returncode:
        pytest.skip(f"PostgreSQL cannot make a database here: {made.stderr.decode()[-200:]}")
    port = _free_port()
    url = f"postgresql+psycopg://wind:pass%40word@127.0.0.1:{port}/postgres"
    quick = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]
    place = ["-p", str(port), "-k", str(data)]
    command = [server, "-D", str(data), *place, *quick]
    with _running(command, _answers(url), cwd=data, **user):
        yield url


@contextlib.contextmanager
def mariadb(folder: Path) -> Iterator[str]:
    """Start a MariaDB server in `folder`; give the URL of its database."""
    install, server = _program("mariadb-install-db"), _program("mariadbd")
    if not install or not server:
        pytest.skip("MariaDB is not installed: no mariadb-install-db and mariadbd programs")
    data = folder / "data"
    data.mkdir(parents=True)
    user = _owner(data, "mysql")
    own = [f"--user={user['user']}"] if user else []
    plain = ["--no-defaults", f"--datadir={data}", *own]
    access = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    made = subprocess.run([install, *plain, *access], capture_output=True)
    if made.returncode:
        pytest.skip(f"MariaDB cannot make a database here: {made.stderr.decode()[-200:]}")
    port = _free_port()
    url = f"mysql+pymysql://root@127.0.0.1:{port}/mysql"
    place = [f"--port={port}", f"--socket={data}/s.sock", "--bind-address=127.0.0.1"]
    quick = ["--innodb-flush-log-at-trx-commit=0", f"--pid-file={data}/pid"]
    with _running([server, *plain, *place, *quick], _answers(url)):
        import sqlalchemy as sa

        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE DATABASE wind CHARACTER SET utf8mb4"))
        engine.dispose()
        yield url.replace("/mysql", "/wind")
