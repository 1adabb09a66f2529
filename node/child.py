"""Child processes that cannot outlive us, however we die: PR_SET_PDEATHSIG of Linux, so that no port stays taken. And
which of their deaths mean damage.
"""

import ctypes
import os
import signal
from collections.abc import Callable

DEATHS_BY_DAMAGE = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)
"""How a process dies that reads an LMDB file which is not what LMDB wrote: mostly of its assertions, or it follows a
wrong page number, behind the file's end or into nowhere.
"""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> Callable[[], None]:
    """What a child of process `parent` runs before its program starts (`preexec_fn`), so that the kernel kills it with
    its parent.
    """

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return prepare
