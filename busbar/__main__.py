"""`python -m busbar` is `busbar`."""

import sys

from busbar.cli import main

sys.exit(main())
