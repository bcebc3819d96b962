"""Engines of SQL databases by URL or file, with the driver each takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import ConfigError, DataError

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["connect"]

_DRIVERS = {
    "postgresql": "psycopg",
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "mssql": "pyodbc",
    "oracle": "oracledb",
    "duckdb": "duckdb_engine",
}


def connect(url: str) -> sa.Engine:
    """Return an engine that keeps no connection open between two readings.

    Parameters
    ----------
    url : str
        SQLAlchemy's, or the path of a SQLite or DuckDB file.

    Raises
    ------
    ConfigError
        If the URL is none, or SQLAlchemy or the driver is not installed.
    DataError
        If the file does not exist.
    """
    try:
        import sqlalchemy as sa
    except ImportError:
        raise ConfigError(
            "`source` must have SQLAlchemy to read a database; got none installed; install it"
            " with: pip install factorlab[sql]"
        ) from None
    if "://" not in url:
        kind = "duckdb" if url.lower().endswith(".duckdb") else "sqlite"
        url = f"{kind}:///{url}"
    try:
        parsed = sa.make_url(url)
        backend, driver = parsed.get_backend_name(), _DRIVERS.get(parsed.get_backend_name())
        if "+" not in parsed.drivername and driver and backend != "duckdb":
            parsed = parsed.set(drivername=f"{backend}+{driver}")
        if backend in ("sqlite", "duckdb") and parsed.database and not _exists(parsed.database):
            raise DataError(f"`source` must exist; got no file {parsed.database}; check the path")
        # Without a pool nothing is left open between two readings.
        return sa.create_engine(parsed, poolclass=sa.NullPool)
    except sa.exc.NoSuchModuleError:
        known = ", ".join(["sqlite", *_DRIVERS])
        raise ConfigError(
            f"`source` must be a URL of {known}; got {url.split(':')[0]!r}; mend it, or"
            " install its driver with: pip install factorlab[sql]"
        ) from None
    except sa.exc.ArgumentError:
        raise ConfigError(
            "`source` must be a URL such as postgresql://user:password@host/database; got"
            " something else before '://'; mend it, with special characters percent-encoded"
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`source` must have a driver; got no module {error.name!r}; install it with: pip"
            f" install {error.name} (PostgreSQL, MySQL and DuckDB: pip install factorlab[sql])"
        ) from None


def _exists(path: str) -> bool:
    return path == ":memory:" or Path(path).is_file()
