from app.errors import InternalError, OutOfMemory
from app.http.error_handlers import unforeseen


def test_a_lack_of_memory_is_no_defect() -> None:
    assert isinstance(unforeseen(MemoryError(), "req_1"), OutOfMemory)
    assert isinstance(unforeseen(RecursionError(), "req_1"), InternalError)
