"""The manager's end of sd_notify(3): a socket that services tell how they are."""

import ctypes
import os
import socket
import threading

MESSAGE_BYTES = 4096
# One of ours among the messages: what was sent before it has been heard.
MARK = b"\n"
HEARD_SECONDS = 60
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_FOR_THREADS = 0x40000000


class Systemd:
    """Hears a service on a thread; use as a context manager. `env` is what the service is started with, `hears` is called with
    each message as it comes."""

    def __init__(self, path, watchdog_seconds=None, hears=lambda message: None):
        self._hears = hears
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path)}
        if watchdog_seconds is not None:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_seconds * 1_000_000))
        self.messages = []
        self._marks = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self):
        while message := self._socket.recv(MESSAGE_BYTES):
            if message == MARK:
                self._marks.release()
                continue
            told = dict(line.split("=", 1) for line in message.decode().splitlines())
            self._hears(told)
            self.messages.append(told)

    def told(self, key):
        """All messages that were sent so far and say something of a key, in order."""
        self._send(MARK)
        assert self._marks.acquire(timeout=HEARD_SECONDS), "nobody hears any more"
        return [message for message in list(self.messages) if key in message]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # An empty datagram ends the thread.
        self._send(b"")
        self._thread.join()
        self._socket.close()

    def _send(self, message):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, self._socket.getsockname())


class Stopped:
    """One thread of a process of ours that does not run until this is left, as one that is stuck; the others do. Made and left on
    one thread. Raises OSError where that is not allowed."""

    def __init__(self, pid, name):
        threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
        # Those that a thread has started have its name, too.
        self._thread = min(thread for thread in threads if _name(pid, thread).startswith(name))
        _ptrace(PTRACE_SEIZE, self._thread)
        _ptrace(PTRACE_INTERRUPT, self._thread)
        os.waitpid(self._thread, WAIT_FOR_THREADS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _ptrace(PTRACE_DETACH, self._thread)


def _name(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8") as file:
        return file.read().strip()


def _ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, None, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")
