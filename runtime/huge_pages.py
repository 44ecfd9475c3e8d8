"""Memory in pages of 2 MB on Linux: glibc asks for them only if told so at its start: it starts again.

A training step allocates and frees every activation. In pages of 4 KB the first touch of each is a
page fault, and every use a walk through the page table, in a virtual machine through two.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"
_SETTING = "glibc.malloc.hugetlb=1"  # madvise(MADV_HUGEPAGE) for what malloc takes from the system
_FIRST_VERSION = (2, 35)  # of glibc that knows it
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages(main: Callable[[], None]) -> None:
    """Replace this process by one of the same command whose memory lies in huge pages, where that helps.

    Not where the user has set glibc's tunables, even to nothing, a debugger watches, the program came by
    standard input, or `main` is not the program itself: then the process is someone else's. The process
    number stays, and nothing was done yet.
    """
    theirs = main.__module__ != "__main__" or "torch" in sys.modules or sys.gettrace() is not None
    if theirs or sys.argv[0] in ("", "-") or not {"-h", "--help"}.isdisjoint(sys.argv):
        return
    if settings := huge_page_settings(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | settings)


def huge_page_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable to add to an environment, where that helps and its user has not chosen."""
    return {_VARIABLE: _SETTING} if huge_pages_help(environment) else {}


def huge_pages_help(environment: Mapping[str, str], kernel: Path = _KERNEL) -> bool:
    """Whether malloc gets huge pages if it asks, and only then: Linux's setting "madvise", its default."""
    if not sys.platform.startswith("linux") or _VARIABLE in environment:
        return False
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        known = tuple(int(part) for part in version.split(".")[:2]) >= _FIRST_VERSION
        return name == "glibc" and known and "[madvise]" in kernel.read_text()
    except (OSError, ValueError):  # another C library, or a kernel without huge pages
        return False
