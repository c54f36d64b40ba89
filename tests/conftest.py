import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, print_blob=True, max_examples=3000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def mnist_folder():
    """The real files; without them there is nothing to test."""
    folder = os.environ.get("NNPY_MNIST")
    if not folder:
        pytest.skip("NNPY_MNIST does not name a folder with the MNIST files")
    return Path(folder)
