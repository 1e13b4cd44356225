from app.runtime.idle_connections import IdleConnections


def test_strangers_go_before_the_known_and_the_longest_waiting_first() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add("known early", 1, was_served=True)
    waiting.add("stranger early", 2, was_served=False)
    waiting.add("known late", 3, was_served=True)
    waiting.add("stranger late", 4, was_served=False)
    taken = [waiting.take_longest(4, 4) for _ in range(5)]
    assert taken == ["stranger early", "stranger late", "known early", "known late", None]
    assert len(waiting) == 0


def test_upgraded_ones_go_only_where_nothing_else_waits() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add_upgraded("upgraded early", 1)
    waiting.add_upgraded("upgraded late", 3)
    waiting.add("stranger", 9, was_served=False)
    waiting.add("known", 9, was_served=True)
    assert waiting.take_longest(5, 5) is None, "the others may be taken in a moment"
    taken = [waiting.take_longest(9, 9) for _ in range(3)]
    assert taken == ["stranger", "known", "upgraded early"]
    assert len(waiting) == 1
    assert waiting.take_longest(9, 2) is None
    assert waiting.take_since(3) == ["upgraded late"]
    waiting.add_upgraded("again", 4)
    waiting.remove("again")
    assert len(waiting) == 0


def test_one_that_asks_something_is_not_taken() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add("a", 1, was_served=True)
    waiting.remove("a")
    waiting.remove("a")
    assert waiting.take_longest(5, 5) is None
    assert waiting.take_since(5) == []


def test_who_has_waited_since_then_or_longer_is_taken_once() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add("a", 1, was_served=False)
    waiting.add("b", 2, was_served=True)
    waiting.add("c", 3, was_served=True)
    assert waiting.take_since(2) == ["a", "b"]
    assert waiting.take_since(2) == []
    assert len(waiting) == 1


def test_one_that_waits_anew_counts_from_then() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add("a", 1, was_served=False)
    waiting.add("b", 2, was_served=True)
    waiting.remove("a")
    waiting.add("a", 3, was_served=True)
    assert waiting.take_longest(3, 3) == "b"


def test_one_that_has_only_begun_to_wait_is_not_taken() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add("known", 1, was_served=True)
    waiting.add("stranger", 2, was_served=False)
    assert waiting.take_longest(1.5, 0.5) is None
    assert waiting.take_longest(2, 2) == "stranger"
    assert waiting.take_longest(0.5, 0.5) is None
    assert waiting.take_longest(2, 2) == "known"


def test_one_that_was_served_may_be_let_be_for_less() -> None:
    waiting: IdleConnections[str] = IdleConnections()
    waiting.add("stranger", 2, was_served=False)
    waiting.add("known", 2, was_served=True)
    assert waiting.take_longest(1, 2) == "known"
    assert waiting.take_longest(1, 2) is None
