"""The `httpbin` template: what it starts answers as soon as `create` has returned."""

from __future__ import annotations

import json
import os
import urllib.request

from e2b import Sandbox

PORT = 8080


def test_it_answers_through_the_front_door() -> None:
    with Sandbox.create("httpbin", timeout=60) as sandbox:
        headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(PORT), "X-Mine": "yes"}
        request = urllib.request.Request(f"{os.environ['E2B_API_URL']}/anything?a=b", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            told = json.load(answer)
    assert (told["args"], told["headers"]["X-Mine"]) == ({"a": "b"}, "yes")
