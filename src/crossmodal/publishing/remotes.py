"""The DVC remote to publish to: a configured one, or a folder or URL that is added as one."""

import re
from itertools import chain, count
from pathlib import Path

from crossmodal.errors import UserError, nearest
from crossmodal.publishing import dvc


def choose(root: Path, given: str | None) -> tuple[str, str]:
    """Name and URL of the remote to publish to; a new folder or URL is added to .dvc/config as a remote.

    Args:
        root: the repository.
        given: a remote's name, a folder (written with a /), or a URL such as s3://bucket/folder; None for the
            default remote, or the only one.

    Raises:
        UserError: there is no such remote, or no default.
    """
    settings = dict(line.split("=", 1) for line in dvc.run(root, "config", "--list").splitlines() if "=" in line)
    known = {
        key.removeprefix("remote.").removesuffix(".url"): url
        for key, url in settings.items()
        if key.startswith("remote.") and key.endswith(".url")
    }
    if given is None:
        name = settings.get("core.remote") or (next(iter(known)) if len(known) == 1 else None)
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
    if "://" in given:
        url, place = given, given.split("://")[1]
    else:
        url, place = str(Path(given).resolve()), Path(given).resolve().name
    for name, other in known.items():
        if url == other or ("://" not in given and Path(other).resolve() == Path(url)):
            return name, other
    stem = re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-") or "store"
    name = next(name for name in chain([stem], (f"{stem}-{k}" for k in count(2))) if name not in known)
    dvc.run(root, "remote", "add", name, url)
    return name, url
