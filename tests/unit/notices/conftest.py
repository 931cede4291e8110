import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from conftest_notices_receiver import Receiver


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()
