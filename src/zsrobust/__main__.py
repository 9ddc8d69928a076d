"""``python -m zsrobust``: the command, also for launchers of several processes."""

import sys

from zsrobust.cli.main import main

sys.exit(main())
