"""Settings for all tests."""

from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("project")
