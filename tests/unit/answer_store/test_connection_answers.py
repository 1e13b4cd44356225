"""Answers of one connection: chains of them, and what goes where there is no room."""

from __future__ import annotations

from app.answer_store.connection_answers import ConnectionAnswers
from app.answer_store.stored_answer import StoredAnswer
from app.budget import Reservation, SharedBudget, Shares
from app.errors import WorkerBusy


def answer(id_: str, before: str | None = None, size: int = 0) -> StoredAnswer:
    return StoredAnswer(id_, "key", 0, before, answer=b"", given=b" " * size, made=b"[]")


def budget(limit: int, *, is_split: bool = False) -> SharedBudget:
    return SharedBudget(Shares(limit, is_split=is_split), lambda _: WorkerBusy("full"))


def ids(answers: ConnectionAnswers, id_: str | None) -> tuple[list[str], str | None]:
    found, base = answers.chain(id_)
    return [it.id for it in found], base


def test_a_chain_ends_where_the_connection_knows_no_more() -> None:
    answers = ConnectionAnswers(Reservation(budget(1 << 20), "key"))
    answers.keep(answer("a", before="stored"))
    answers.keep(answer("b", before="a"))
    answers.keep(answer("c", before="a"))
    assert ids(answers, "c") == (["a", "c"], "stored")
    assert ids(answers, "stored") == ([], "stored")
    assert ids(answers, None) == ([], None)
    answers.forget("a")
    assert ids(answers, "c") == (["c"], "a")


def test_the_oldest_make_room_and_all_is_given_back() -> None:
    room, gone = budget(10_000), []
    answers = ConnectionAnswers(Reservation(room, "key"), lambda: gone.append(1))
    for name in "abc":
        answers.keep(answer(name, size=3000))
    assert [ids(answers, name)[0] for name in "abc"] == [[], ["b"], ["c"]]
    assert gone
    answers.keep(answer("d", size=20_000))
    assert ids(answers, "d") == ([], "d"), "one that is larger than all"
    assert room.shares.used == 0
    answers.keep(answer("e"))
    answers.clear()
    assert room.shares.used == 0


def test_the_answers_of_another_connection_are_not_touched() -> None:
    room = budget(10_000)
    mine = ConnectionAnswers(Reservation(room, "key"))
    other = ConnectionAnswers(Reservation(room, "key"))
    other.keep(answer("a", size=6000))
    mine.keep(answer("b", size=6000))
    assert ids(other, "a")[0] == ["a"]
    assert ids(mine, "b")[0] == []
