"""The service of `service.py`, around which its author put perfkit; traces go to PROFILE_INTO.

uvicorn tests.integration.programs.instrumented:app --port 8000 --workers 2
"""

import os

import perfkit
from tests.integration.programs import service

app = perfkit.instrument(service.app, profile_into=os.environ["PROFILE_INTO"])
