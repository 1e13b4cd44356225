"""The service with the table in place of codex: the one line that chooses a backend."""

from app import create_app
from tests.fakes.table_backend import TableBackend

app = create_app(choose_backend=lambda *_: TableBackend())
