"""Who is next and who gives way: scenes, and then anything that can happen in any order."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.backend.fair_queue import FairQueue, Ticket, TicketState

WAITING, ADMITTED, EVICTED, GONE = TicketState


class Scene:
    """A queue and what came of everybody who asked it, by names like `a1`: the first request of owner a."""

    def __init__(self, limit: int, most_waiting: int = 100, *, is_split: bool = False) -> None:
        self.queue: FairQueue[Ticket] = FairQueue(limit, most_waiting, is_split=is_split)
        self.tickets: dict[str, Ticket] = {}
        self.served: list[str] = []

    def ask(self, *names: str, count: int = 1) -> None:
        for name in names:
            ticket = self.tickets[name] = Ticket(name[0], count)
            if self.queue.try_acquire(ticket.owner, count):
                ticket.state = ADMITTED
                self.served.append(name)
            else:
                self._note(self.queue.enqueue(ticket))

    def end(self, *names: str) -> None:
        for name in names:
            ticket = self.tickets[name]
            self._note(self.queue.release(ticket.owner, ticket.count))

    def leave(self, name: str) -> None:
        self._note(self.queue.cancel(self.tickets[name]))

    def _note(self, over: list[Ticket]) -> None:
        names = {id(ticket): name for name, ticket in self.tickets.items()}
        self.served += [names[id(t)] for t in over if t.state is ADMITTED]

    def names(self, state: TicketState) -> str:
        return " ".join(name for name, t in self.tickets.items() if t.state is state)


def test_one_owner_alone_is_served_in_the_order_of_arrival() -> None:
    scene = Scene(1)
    scene.ask("a1", "a2", "a3", "a4")
    scene.end("a1", "a2", "a3")
    assert scene.served == ["a1", "a2", "a3", "a4"]


def test_where_slots_are_split_one_owner_leaves_some_and_holds_up_nobody() -> None:
    scene = Scene(4, is_split=True)
    scene.ask("a1", "a2", "a3", "a4")
    assert scene.names(WAITING) == "a4"
    scene.ask("b1", "c1")
    assert scene.names(WAITING) == "a4 c1"
    scene.end("a1")
    assert scene.names(WAITING) == "a4"
    scene.end("b1", "c1")
    assert scene.served == ["a1", "a2", "a3", "b1", "c1", "a4"]


def test_a_request_for_more_than_a_share_has_it_while_its_owner_has_nothing_else() -> None:
    scene = Scene(4, is_split=True)
    scene.ask("a1", count=4)
    scene.ask("b1")
    scene.ask("a2")
    scene.end("a1")
    assert scene.names(ADMITTED) == "a1 b1 a2"


def test_a_newcomer_is_next_behind_a_flood() -> None:
    scene = Scene(1)
    scene.ask("a1", "a2", "a3", "a4", "b1")
    scene.end("a1")
    assert scene.served == ["a1", "b1"]


def test_owners_with_equally_many_slots_take_turns() -> None:
    scene = Scene(1)
    scene.ask("a1", "a2", "a3", "b1", "b2", "c1", "c2")
    for _ in range(6):
        scene.end(scene.served[-1])
    assert scene.served == ["a1", "b1", "c1", "a2", "b2", "c2", "a3"]


def test_an_owner_that_comes_back_stands_behind_those_who_waited() -> None:
    scene = Scene(1)
    scene.ask("b1", "a1", "a2")
    scene.end("b1")
    scene.ask("b2")  # b was served before a: its turn comes after a1, not before it
    scene.end("a1")
    scene.ask("b3")
    scene.end("b2")
    assert scene.served == ["b1", "a1", "b2", "a2"]


def test_long_turns_of_one_owner_do_not_gather_all_slots() -> None:
    scene = Scene(4)
    scene.ask("a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "b3")
    scene.end("a1", "a2")
    assert scene.served[4:] == ["b1", "b2"]
    scene.end("b1")  # a has two, b has one
    assert scene.served[6:] == ["b3"]


def test_who_needs_many_slots_gets_them_while_others_flood() -> None:
    scene = Scene(4)
    scene.ask("b1", "b2", "b3", "b4", "b5", "b6", "b7")
    scene.ask("a1", count=4)
    scene.ask("c1", "d1")
    scene.end("b1", "b2", "b3")
    assert scene.served == ["b1", "b2", "b3", "b4"]  # the free slots are kept for a1
    scene.end("b4")
    assert scene.served[4:] == ["a1"]


def test_who_is_next_stays_next_when_another_has_fewer_slots_by_then() -> None:
    scene = Scene(4)
    scene.ask("a1", "b1", "b2", "b3")
    scene.ask("a2", count=3)
    scene.ask("b4")
    scene.end("b1")
    scene.end("b2", "b3")  # b has none now, a has one
    assert scene.served[4:] == ["a2"]


def test_who_waits_for_its_own_turns_holds_up_nobody_else() -> None:
    scene = Scene(4)
    scene.ask("a1")
    scene.ask("a2", count=4)
    scene.ask("b1", "c1")
    assert scene.served == ["a1", "b1", "c1"]
    scene.ask("a3")
    assert scene.names(WAITING) == "a2 a3"  # within an owner nobody overtakes
    scene.end("a1")
    scene.ask("d1")
    assert scene.names(WAITING) == "a2 a3 d1"  # from now on it waits for the others, too
    scene.end("b1", "c1", "a2")
    assert scene.served[3:] == ["a2", "d1", "a3"]


def test_who_leaves_lets_the_next_one_in() -> None:
    scene = Scene(2)
    scene.ask("a1")
    scene.ask("b1", count=2)
    scene.ask("c1")
    scene.leave("b1")
    assert scene.served == ["a1", "c1"]


def test_what_was_given_to_one_who_left_goes_on() -> None:
    scene = Scene(1)
    scene.ask("a1", "a2", "a3")
    scene.end("a1")
    scene.leave("a2")
    scene.leave("a2")
    assert scene.served == ["a1", "a2", "a3"]
    assert (scene.queue.running, scene.queue.waiting) == (1, 0)


FULL = [
    # Who runs, who waits, who comes, who is put out; one slot for each who runs.
    ("a1", "a2 a3", "a4", "a4"),
    ("a1", "a2 a3", "b1", "a3"),
    ("a1", "a2 a3 b1 b2", "c1", "a3"),  # equally many wait: a also runs
    ("b1", "a1 a2 b2 b3", "c1", "b3"),
    ("a1", "a2 b1", "c1", "a2"),
    ("a1", "b1 c1", "d1", "d1"),
    ("a1", "a2", "b1", "a2"),
    ("a1", "b1", "a2", "a2"),  # and no back and forth
    ("a1 b1", "a2", "b2", "b2"),
    ("a1", "", "b1", "b1"),
]


@pytest.mark.parametrize(("running", "waiting", "comes", "put_out"), FULL)
def test_a_full_queue_puts_out_the_newest_of_the_owner_that_waits_most(
    running: str, waiting: str, comes: str, put_out: str
) -> None:
    scene = Scene(len(running.split()), len(waiting.split()))
    scene.ask(*running.split(), *waiting.split(), comes)
    assert scene.names(EVICTED) == put_out
    assert scene.names(ADMITTED) == running
    assert scene.queue.waiting == len(waiting.split())


def test_a_full_queue_does_not_refuse_whom_it_can_serve() -> None:
    scene = Scene(2, 1)
    scene.ask("a1")
    scene.ask("a2", count=2)
    scene.ask("b1")
    assert (scene.names(ADMITTED), scene.names(WAITING)) == ("a1 b1", "a2")


AHEAD = [
    # Who waits (one slot each), who asks for how many, how many slots until it has them.
    ("", "a", 1, 1),
    ("", "a", 3, 3),
    ("a1 a2", "a", 1, 3),
    ("a1 a2 a3 a4", "b", 1, 2),
    ("a1 a2 b1 c1", "b", 1, 5),
    ("a1 a2 a3", "b", 2, 4),
]


@pytest.mark.parametrize(("waiting", "owner", "count", "slots"), AHEAD)
def test_it_says_how_many_slots_are_ahead(waiting: str, owner: str, count: int, slots: int) -> None:
    scene = Scene(1)
    scene.ask("z1", *waiting.split())
    assert scene.queue.slots_ahead(owner, count) == slots


OWNERS = st.sampled_from("abcd")
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@UNHURRIED
@given(st.lists(OWNERS, min_size=1, max_size=40))
def test_with_one_slot_nobody_is_served_twice_while_another_waits(owners: list[str]) -> None:
    queue: FairQueue[Ticket] = FairQueue(1, 100)
    assert queue.try_acquire("z", 1)
    for owner in owners:
        assert queue.enqueue(Ticket(owner, 1)) == []
    left = defaultdict(int, {owner: owners.count(owner) for owner in owners})
    passed_over: dict[str, set[str]] = defaultdict(set)
    holder = "z"
    for _ in owners:
        (served,) = queue.release(holder)
        holder = served.owner
        left[holder] -= 1
        passed_over[holder].clear()
        for owner in (name for name, count in left.items() if count and name != holder):
            assert holder not in passed_over[owner]
            passed_over[owner].add(holder)
    assert (queue.running, queue.waiting) == (1, 0)


class Anything(RuleBasedStateMachine):
    """Requests of several owners come, end and leave in any order."""

    LIMIT = 5
    MOST_WAITING = 6

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[Ticket] = FairQueue(self.LIMIT, self.MOST_WAITING)
        self.tickets: list[Ticket] = []  # in the order of arrival
        self.told: set[int] = set()

    def note(self, over: list[Ticket]) -> None:
        for ticket in over:
            assert id(ticket) not in self.told, "told twice"
            assert ticket.state in {ADMITTED, EVICTED}
            self.told.add(id(ticket))
            if ticket.state is ADMITTED:
                # The first of its owner's line, as it was before.
                earlier = self.tickets[: self.tickets.index(ticket)]
                waits = [t for t in earlier if t.owner == ticket.owner and t.state is WAITING]
                assert waits == [], "overtaken by another request of its own key"

    @rule(owner=OWNERS, count=st.integers(1, LIMIT))
    def come(self, owner: str, count: int) -> None:
        ticket = Ticket(owner, count)
        if self.queue.try_acquire(owner, count):
            ticket.state = ADMITTED
            self.tickets.append(ticket)
            self.told.add(id(ticket))
        else:
            self.tickets.append(ticket)
            self.note(self.queue.enqueue(ticket))

    @precondition(lambda self: self.of(ADMITTED))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.of(ADMITTED)))
        ticket.state = GONE
        for _ in range(ticket.count):  # slots come back one by one
            self.note(self.queue.release(ticket.owner))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.note(self.queue.cancel(data.draw(st.sampled_from(self.tickets))))

    def of(self, state: TicketState) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state is state]

    @invariant()
    def never_more_than_the_limits(self) -> None:
        assert self.queue.running <= self.LIMIT
        assert self.queue.waiting == len(self.of(WAITING)) <= self.MOST_WAITING

    @invariant()
    def all_slots_or_none(self) -> None:
        assert self.queue.running == sum(ticket.count for ticket in self.of(ADMITTED))

    @invariant()
    def whoever_waits_waits_for_something(self) -> None:
        if not self.of(WAITING):
            return
        free = self.LIMIT - self.queue.running
        assert any(ticket.count > free for ticket in self.of(WAITING)), "slots lie idle"

    def teardown(self) -> None:
        """Whoever still waits is served in the end, when those who run end."""
        while running := self.of(ADMITTED):
            running[0].state = GONE
            self.note(self.queue.release(running[0].owner, running[0].count))
        assert self.of(WAITING) == []
        assert (self.queue.running, self.queue.waiting) == (0, 0)


TestAnything = Anything.TestCase
TestAnything.settings = UNHURRIED


@UNHURRIED
@given(st.data(), st.integers(1, 8))
def test_nobody_waits_for_ever_however_the_others_flood(data: st.DataObject, count: int) -> None:
    """Key a wants `count` of 8 slots while four others always want more: their overtaking is bounded."""
    limit, others = 8, "bcde"
    queue: FairQueue[Ticket] = FairQueue(limit, 100)
    running = [Ticket(data.draw(st.sampled_from(others)), 1) for _ in range(limit)]
    for ticket in running:
        assert queue.try_acquire(ticket.owner, 1)
    mine = Ticket("a", count)
    queue.enqueue(mine)
    releases = 0
    while mine.state is WAITING:
        for owner in others:
            running += [t for t in queue.enqueue(Ticket(owner, 1)) if t is not mine]
        ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
        releases += 1
        running += [t for t in queue.release(ended.owner) if t is not mine]
        # Each other key may go first once; then the slots are kept.
        assert releases <= len(others) + count
