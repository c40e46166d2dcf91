"""Run by path (``python -I -S …/runner/__main__.py``): finds its own package without site-packages."""

import os
import sys

if __name__ == "__main__":
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.append(os.path.dirname(package))
    from crewyard.server.runner import forkserver

    forkserver.main()
