"""What `blobdir.mounting.mount` runs: reads a job from standard input, mounts in the background, reports as JSON."""

from __future__ import annotations

import json
import sys

from blobdir.mounting.background import error_report
from blobdir.mounting.control import start
from blobdir.mounting.options import MountOptions


def main() -> int:
    """Do one job."""
    job = json.load(sys.stdin)
    options = MountOptions.from_json(job["options"])
    try:
        record = start(job["url"], job["mountpoint"], options, log=job["log"], owner=job["owner"])
    except Exception as error:
        json.dump(error_report(error), sys.stdout)
        return 1
    json.dump(record.to_json(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
