"""Starts a service anew for each line on stdin, in a process forked from this one: everything is imported already."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import tiny_service


def main(folder: Path, models: Path) -> None:
    import cv2
    import tiny_models  # noqa: F401
    import uvicorn  # noqa: F401

    import lrface.matcher
    import lrface.serve.server  # noqa: F401

    cv2.setNumThreads(1)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            tiny_service.main(folder, models, {"limits": {"rate": 10_000.0, "burst": 10_000}})
            os._exit(0)
        os.waitpid(child, 0)
        sys.stdout.write(json.dumps({"ended": child}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
