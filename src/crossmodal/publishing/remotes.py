"""The DVC remote to publish to: a configured one, or a folder or URL that is added as one."""

import re
from pathlib import Path

from crossmodal.errors import UserError, nearest
from crossmodal.publishing import dvc


def settings(root: Path) -> dict[str, str]:
    """DVC's settings of a repository, local ones included, as `section.name`: value."""
    return dict(line.split("=", 1) for line in dvc.run(root, "config", "--list").splitlines() if "=" in line)


def configured(found: dict[str, str]) -> dict[str, str]:
    """Name and URL of each remote in `settings`."""
    keys = [key for key in found if key.startswith("remote.") and key.endswith(".url")]
    return {key.removeprefix("remote.").removesuffix(".url"): found[key] for key in keys}


def choose(root: Path, given: str | None) -> tuple[str, str]:
    """Name and URL of the remote to publish to; a new folder or URL is added to .dvc/config as a remote.

    Args:
        root: the repository.
        given: a remote's name, a folder (written with a /), or a URL such as s3://bucket/folder; None for the
            default remote, or the only one.

    Raises:
        UserError: there is no such remote, or no default.
    """
    found = settings(root)
    known = configured(found)
    if given is None:
        name = found.get("core.remote") or (next(iter(known)) if len(known) == 1 else None)
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
    dvc.run(root, "remote", "add", name, url)
    return name, url


def _new_name(given: str, known: dict[str, str]) -> str:
    place = given.split("://")[1] if "://" in given else Path(given).resolve().name
    stem = re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-") or "store"
    return next(name for name in (stem, *(f"{stem}-{k}" for k in range(2, 1000))) if name not in known)
