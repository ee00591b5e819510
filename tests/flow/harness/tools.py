"""Ports, waiting, and processes that end with us."""

import contextlib
import random
import resource
import socket
import time

_given = set()


def free_port():
    """A loopback port below the kernel's ephemeral range, so that no outgoing
    connection takes it in between; never the same twice in one run."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


@contextlib.contextmanager
def many_files():
    """As many descriptors as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wait_until(condition, timeout=20, what=None):
    """Returns the first true value of condition(); fails after `timeout` s and
    says what was last seen. An exception counts as "not yet"."""
    end = time.monotonic() + timeout
    while True:
        try:
            seen = condition()
            if seen:
                return seen
        except (OSError, ValueError) as e:
            seen = e
        if time.monotonic() > end:
            raise AssertionError(
                f"waited {timeout} s for {what or condition}; last: {seen!r}")
        time.sleep(0.03)


def wait_equal(function, expected, timeout=20):
    """Until function() == expected; fails with what it was at last."""
    last = []

    def equal():
        last[:] = [function()]
        return last[0] == expected

    try:
        wait_until(equal, timeout)
    except AssertionError:
        assert last and last[0] == expected, f"after {timeout} s: {last}"


def stop_process(process, timeout=15):
    """SIGTERM, then SIGKILL; returns the exit status."""
    if process is None:
        return None
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except Exception:
            process.kill()
            process.wait()
            raise AssertionError(f"{process.args[0]} did not end by itself")
    return process.returncode
