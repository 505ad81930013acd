"""Commands in a mount namespace of their own, for tests."""

import sys

APART = """
import ctypes, os, sys
base = sys.argv[1]
with open("/proc/self/mountinfo") as file:
    places = [line.split(" ")[4] for line in file]
umount = ctypes.CDLL(None).umount2
for place in reversed(places):
    if "/pytest-blobdir-" in place and not place.startswith(base + "/"):
        umount(place.encode(), 2)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def apart(base, *command):
    """The words that run a command in a mount namespace that has no mounts of tests in other processes.

    It would hold them, and those tests would be told that what they unmount goes on elsewhere. The process is the one
    that was started, from the beginning to the end.

    Parameters
    ----------
    base : str
        The folder of the tests of this process, whose mounts stay.
    """
    return ["unshare", "--mount", "--propagation", "private", sys.executable, "-ISc", APART, base, *map(str, command)]
