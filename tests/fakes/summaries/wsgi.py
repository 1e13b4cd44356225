"""The service with one endpoint more."""

from app import create_app
from tests.fakes.summaries import blueprint

app = create_app()
app.register_blueprint(blueprint)
