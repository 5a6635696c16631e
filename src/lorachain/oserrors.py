"""What the operating system refuses, in sentences that say what to do.

Windows gives many failures one errno and tells them apart by `winerror` alone
(https://learn.microsoft.com/windows/win32/debug/system-error-codes). Libraries written in Rust
(safetensors, tokenizers) raise no OSError; their message ends with "(os error N)".
"""

from __future__ import annotations

import errno
import re

from lorachain.paths import shown

VC_REDISTRIBUTABLE = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
HOLDERS = (
    "an Explorer window or its preview, an editor, TensorBoard, another run, an antivirus or a "
    "sync program such as OneDrive"
)
_FULL = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
# ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE. A folder that is "not
# empty" (145) though it was just emptied holds a file that somebody has yet to close.
_HELD = {32, 33, 145, 1224}
_ACCESS_DENIED = 5
_NOT_FOUND = {2, 3}  # what a path that is too long gets from most calls
_TOO_LONG = 206
_NO_MEMORY = {8, 14, 1455}  # the last: the paging file is too small
_NO_LIBRARY = {126, 127, 1114}
_MAX_FOLDER = 248  # characters; a file's path may have 259

_AGAIN = "run the same command again."


def is_disk_full(error: OSError) -> bool:
    """Whether an OSError says that there is no room left (POSIX codes and Windows')."""
    full = {errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC}
    return error.errno in full or code(error) in _FULL


def held_elsewhere(error: OSError) -> bool:
    """Whether trying again may help, because another program looks at the file for the moment."""
    return isinstance(error, PermissionError) or code(error) in _HELD


def code(error: BaseException) -> int | None:
    """Windows' number of an error; None where it has none."""
    number = getattr(error, "winerror", None)
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    return number


def explain(error: BaseException) -> str | None:
    """One sentence on what was refused, and one on what to do; None for what no user can mend."""
    what = _what(error)
    return None if what is None else f"{what} {remedy(error)}"


def remedy(error: BaseException) -> str:
    """What to do about an error of reading or writing. For an unknown one: make room."""
    if _is_too_long(error):
        return (
            "Move the project to a short path (such as C:\\lorachain), or turn on long paths "
            f"(docs/windows.md), and {_AGAIN}"
        )
    if _is_library(error):
        return (
            f"Install the Microsoft Visual C++ Redistributable ({VC_REDISTRIBUTABLE}), restart, "
            f"and {_AGAIN}"
        )
    if _is_memory(error):
        return (
            "Close other programs, or let Windows manage the size of its paging file (System > "
            f"About > Advanced system settings > Performance > Advanced), and {_AGAIN}"
        )
    if code(error) in _HELD:
        return f"Close what may hold it ({HOLDERS}), and {_AGAIN}"
    if code(error) == _ACCESS_DENIED:
        return (
            f"Close what may hold it ({HOLDERS}); if nothing does, this account may not write "
            f"there: choose a folder of your own. Then {_AGAIN}"
        )
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        return f"Choose a folder that you may write to, or mend its permissions, and {_AGAIN}"
    if isinstance(error, OSError) and is_disk_full(error):
        return f"Make room and {_AGAIN}"
    return f"Make room (or mend what stands in the way) and {_AGAIN}"


def _what(error: BaseException) -> str | None:
    file = _file(error)
    if _is_library(error):
        return f"A system library is missing or too old ({_first_line(error)})."
    if _is_memory(error):
        return f"The memory ran out ({_first_line(error)})."
    if not isinstance(error, OSError):
        return None
    if is_disk_full(error):
        return f"The disk is full: {file or 'a file'} could not be written."
    if file is None:
        return None
    if _is_too_long(error):
        return f"A path is too long ({max(map(len, _names(error)))} characters): {file}."
    if code(error) in _HELD:
        return f"{file} is held open by another program."
    if code(error) == _ACCESS_DENIED:
        return f"Windows refused access to {file}."
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"{file} cannot be read or written ({error.strerror})."
    return None


def _is_too_long(error: BaseException) -> bool:
    number = code(error)
    too_long = any(len(name) >= _MAX_FOLDER for name in _names(error))
    return (
        number == _TOO_LONG
        or getattr(error, "errno", None) == errno.ENAMETOOLONG
        or (number in _NOT_FOUND and too_long)
    )


def _is_library(error: BaseException) -> bool:
    found = isinstance(error, OSError) and code(error) in _NO_LIBRARY
    return found or (isinstance(error, ImportError) and "DLL load failed" in str(error))


def _is_memory(error: BaseException) -> bool:
    return code(error) in _NO_MEMORY or getattr(error, "errno", None) == errno.ENOMEM


def _names(error: BaseException) -> list[str]:
    names = [getattr(error, key, None) for key in ("filename", "filename2")]
    return [name for name in names if isinstance(name, str)]


def _file(error: BaseException) -> str | None:
    """The file at fault, as messages show it; both where one was to take the other's place."""
    return " or ".join(shown(name) for name in _names(error)) or None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
