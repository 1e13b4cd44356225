import pytest

from app.settings.descriptors import Plan, TooFew, plan

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
        pytest.param(256, 256, Plan(256, 128, 872), id="half of a small limit"),
        pytest.param(96, 96, Plan(96, 32, 968), id="hardly any"),
    ],
)
def test_a_plan(soft: int, hard: int, planned: Plan) -> None:
    assert plan(WANTED, RESERVE, soft=soft, hard=hard) == planned


@pytest.mark.parametrize("hard", [0, 32, 95])
def test_a_limit_with_which_nothing_works_is_refused(hard: int) -> None:
    with pytest.raises(TooFew, match=rf"^Only {hard} files .* LimitNOFILE=1200 "):
        plan(WANTED, RESERVE, soft=hard, hard=hard)
