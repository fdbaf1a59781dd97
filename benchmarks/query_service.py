"""The API as a process of the benchmark."""

from service import log
from service.api.server import main as serve
from service.settings import Settings

settings = Settings()
log.set_up(settings.log_level)
serve.run(settings)
