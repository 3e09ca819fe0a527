"""How hypothesis looks for examples: without a clock, and in CI the same ones each run."""

import os

from hypothesis import settings

settings.register_profile("peerdata", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("peerdata")
