"""What `blobdir.mounting.mount` runs: reads a job from standard input, mounts in the background, reports as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from blobdir.children import heed, open_streams
from blobdir.mounting.background import error_report
from blobdir.mounting.control import start
from blobdir.mounting.options import MountOptions

if TYPE_CHECKING:
    from typing import TextIO

    from blobdir.mounting.state import MountRecord


def main() -> int:
    """Do one job."""
    open_streams()
    heed()
    _heed_the_end()
    with open(os.dup(1), "w", encoding="utf-8") as report:
        os.dup2(2, 1)  # what a library prints mustn't be taken for the report
        os.register_at_fork(after_in_child=report.close)  # whoever waits for it waits for its end
        try:
            return _do(report)
        except KeyboardInterrupt:
            return 130


def _do(report: TextIO) -> int:
    try:
        job = json.load(sys.stdin)
    except ValueError:
        return 130  # who has started this was interrupted before it said what to do

    def tell(record: MountRecord) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):  # who is interrupted now gets it all, and unmounts
            signal.signal(number, signal.SIG_IGN)
        json.dump(record.to_json(), report)

    try:
        options = MountOptions.from_json(job["options"])
        more = {name: job[name] for name in ("log", "owner", "temporary") if name in job}
        start(job["url"], job["mountpoint"], options, **more, tell=tell)
    except Exception as error:
        json.dump(error_report(error), report)
        return 1
    return 0


def _heed_the_end() -> None:
    """Be interrupted when whoever has started this was, by SIGTERM or Ctrl-C of the same terminal: only once."""
    known = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        known.remove(signal.SIGINT)  # ignored

    def stop(*_: object) -> NoReturn:
        for number in known:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in known:
        signal.signal(number, stop)


if __name__ == "__main__":
    sys.exit(main())
