"A child process under ptrace: every write of it can be counted, be its last, or fail. Linux on x86-64."
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

SUPPORTED = sys.platform == "linux" and os.uname().machine == "x86_64"
WRITES = {1: "write", 18: "pwrite64", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 82: "rename", 87: "unlink"}
PATHS = ("rename", "unlink") # these take names and no descriptor
TRACEME, GETREGS, SETREGS, SYSCALL, SETOPTIONS, SYSGOOD = 0, 12, 13, 24, 0x4200, 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
Registers = ctypes.c_ulonglong * 27
RAX, RDI, ORIG_RAX = 10, 14, 15


def _ptrace(what: int, pid: int, data: object = None) -> None:
    if _libc.ptrace(what, pid, None, data) < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def traced(work: Callable[[], None], folder: Path, at: int | None = None, error: int = 0) -> tuple[list[str], int]:
    """Run `work` in a forked child; the writes below `folder` that it made, and how it ended (negative: by a signal).

    Before write number `at` (from 0) it is killed; or, with an `error`, that write and all that follow fail with it.
    """
    pid = os.fork()
    if not pid:
        try:
            _libc.ptrace(TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
        except BaseException as e: os._exit(2 if type(e).__name__ in ("JournalError", "OSError", "RunError") else 3)
        finally: os._exit(3)
    os.waitpid(pid, 0)
    _ptrace(SETOPTIONS, pid, SYSGOOD)
    made, entering, failing, pass_on, regs = list[str](), True, False, 0, Registers()
    while True:
        _ptrace(SYSCALL, pid, pass_on)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status): return made, os.waitstatus_to_exitcode(status)
        pass_on = 0 if os.WSTOPSIG(status) & 0x80 else os.WSTOPSIG(status)
        if pass_on: continue
        if entering:
            _ptrace(GETREGS, pid, ctypes.byref(regs))
            name = WRITES.get(regs[ORIG_RAX], "")
            if name and (name in PATHS or _below(pid, regs[RDI], folder)):
                made.append(name)
                if at is not None and len(made) > at:
                    if not error:
                        os.kill(pid, signal.SIGKILL)
                        return made, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    if name in ("write", "pwrite64", "fsync", "fdatasync"):
                        regs[ORIG_RAX], failing = 2**64 - 1, True
                        _ptrace(SETREGS, pid, ctypes.byref(regs))
        elif failing:
            _ptrace(GETREGS, pid, ctypes.byref(regs))
            regs[RAX], failing = 2**64 - error, False
            _ptrace(SETREGS, pid, ctypes.byref(regs))
        entering = not entering


def _below(pid: int, fd: int, folder: Path) -> bool:
    try: return os.readlink(f"/proc/{pid}/fd/{fd}").startswith(str(folder))
    except OSError: return False


DISK_FULL, IO_ERROR = errno.ENOSPC, errno.EIO
