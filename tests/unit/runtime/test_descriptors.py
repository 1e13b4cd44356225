import pytest

from app.runtime.descriptors import FEWEST_CONNECTIONS, Plan, plan

WANTED, RESERVE = 1000, 200


@pytest.mark.parametrize(
    ("soft", "hard", "planned"),
    [
        pytest.param(4096, 4096, Plan(4096, WANTED), id="enough"),
        pytest.param(1200, 4096, Plan(1200, WANTED), id="just enough"),
        pytest.param(1024, 4096, Plan(1200, WANTED), id="raised to what is needed"),
        pytest.param(1024, 1200, Plan(1200, WANTED), id="raised to the hard limit"),
        pytest.param(1024, -1, Plan(1200, WANTED), id="raised without a hard limit"),
        pytest.param(-1, -1, Plan(-1, WANTED), id="no limit at all"),
        pytest.param(512, 1024, Plan(1024, 824, 176), id="fewer than wanted"),
        pytest.param(128, 128, Plan(128, FEWEST_CONNECTIONS, 968), id="hardly any"),
    ],
)
def test_a_plan(soft: int, hard: int, planned: Plan) -> None:
    assert plan(WANTED, RESERVE, soft=soft, hard=hard) == planned
