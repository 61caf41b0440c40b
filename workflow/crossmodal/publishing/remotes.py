"""Which DVC remote to publish to: one that is configured, or a folder or URL that becomes one."""

import configparser
import re
from pathlib import Path

from crossmodal.errors import UserError, nearest
from crossmodal.publishing import dvc


def configured(root: Path) -> dict[str, str]:
    """Name and URL of each remote, local settings included."""
    lines = dvc.run(root, "remote", "list").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)


def default(root: Path) -> str | None:
    """Name of the default remote."""
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser()
        parser.read(root / ".dvc" / name)
        if parser.has_option("core", "remote"):
            return parser.get("core", "remote")
    return None


def choose(root: Path, given: str | None) -> tuple[str, str]:
    """Name and URL of the remote to publish to; a folder or URL that no remote has becomes one, in .dvc/config.

    Args:
        root: the repository.
        given: a remote's name, a folder (written with a /), or a URL such as s3://bucket/folder; None for the
            default remote, or the only one.

    Raises:
        UserError: it is none of these, or there is no default.
    """
    known = configured(root)
    if given is None:
        name = default(root) or (next(iter(known)) if len(known) == 1 else None)
        if name is None:
            raise UserError(
                "where to? Give --remote (REMOTE=… to make): a folder, s3://bucket/folder, ssh://host/folder, or the "
                f"name of a DVC remote ({', '.join(known) or 'none is configured'})"
            )
        return name, known.get(name, name)
    if given in known:
        return given, known[given]
    if "/" not in given:
        hint = f"{nearest(given, known)}; write a folder as ./{given}"
        raise UserError(f"--remote {given}: there is no such DVC remote: {hint}")
    is_url = "://" in given
    for name, url in known.items():
        if url == given or (not is_url and Path(url).resolve() == Path(given).resolve()):
            return name, url
    name, url = _new_name(given, known), given if is_url else str(Path(given).resolve())
    dvc.run(root, "remote", "add", "--quiet", name, url)
    return name, url


def _new_name(given: str, known: dict[str, str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", given.split("://")[-1].rstrip("/").lower()).strip("-") or "store"
    stem = stem[-40:].strip("-")
    return next(name for name in (stem, *(f"{stem}-{k}" for k in range(2, 1000))) if name not in known)
