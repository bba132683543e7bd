import sys
from pathlib import Path

# --import-mode=importlib leaves the tests' own helpers unfound.
sys.path.insert(0, str(Path(__file__).parent))
