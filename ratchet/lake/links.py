"""Which files of a folder that somebody sends are read: none that a link fetches from elsewhere on this machine."""

from pathlib import Path

from ratchet.settings import settings


def unreadable(file: Path, folder: Path) -> tuple[str, str] | None:
    """Why a file in that folder is not read, and what to do; None if it is.

    Links as DVC and git-annex make them are followed to the folder itself and to those that a setting names: who may
    send a folder could read any file of this machine otherwise.
    """
    try:
        if not file.is_file():
            kind = "a link to nothing" if file.is_symlink() and not file.exists() else "no file"
            return f"it is {kind}", "Give the file itself; `dvc pull` or `git annex get` fetches it"
        target = file.resolve()
    except OSError as error:
        return f"it cannot be read ({error.strerror})", "Give it a shorter name, or the right to be read"
    if any(target.is_relative_to(root.resolve()) for root in (folder, *settings().linked_folders)):
        return None
    return f"it leads into {target.parent}, outside the folder", "Name that folder in RATCHET_LINKS"
