"""`python -m code_interpreter`: serve until told to stop."""

import uvicorn

from code_interpreter.app import create_app

PORT = 49999

uvicorn.run(create_app(), host="0.0.0.0", port=PORT, access_log=False, timeout_keep_alive=640)  # noqa: S104 - the sandbox
