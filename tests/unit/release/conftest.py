import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from conftest_release_house import House


@pytest.fixture
def house(bucket):
    return House(bucket)
