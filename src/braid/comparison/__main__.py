"""The process that a comparison starts: the command ``braid``. If the comparison ends, it saves its run and ends, too."""

import os
import runpy
import signal
import sys
import threading
import time


def _follow(comparison: int) -> None:
    while os.getppid() == comparison:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_follow, args=(int(sys.argv.pop(1)),), daemon=True).start()
    runpy.run_module("braid", run_name="__main__", alter_sys=True)
