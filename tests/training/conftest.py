"""`training` is not installed: the repository's root comes last, so that the installed package is what is tested."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
