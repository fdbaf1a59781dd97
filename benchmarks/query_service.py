"""The API process of the query benchmark."""

from service import log
from service.api.server import main as serve
from service.app import make_app
from service.settings import Settings

settings = Settings()
log.set_up(settings.log_level)
serve.run(settings, make_app)
