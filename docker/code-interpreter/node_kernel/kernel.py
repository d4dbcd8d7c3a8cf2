"""The side that speaks Jupyter; what it is sent is evaluated by a Node process."""

from __future__ import annotations

from typing import Any, ClassVar

from ipykernel.kernelbase import Kernel
from traitlets import Unicode

from node_kernel.evaluator import Evaluator


class NodeKernel(Kernel):
    """One Node process, whose variables last from cell to cell."""

    implementation = "node_kernel"
    implementation_version = "1.0"
    banner = "Node.js"
    language = Unicode("javascript", help="javascript or typescript").tag(config=True)
    language_info: ClassVar[dict[str, str]] = {"name": "javascript", "mimetype": "text/javascript"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._evaluator = Evaluator(self.language)

    def do_execute(self, code: str, silent: bool, store_history: bool = True, *_: Any, **__: Any) -> dict[str, Any]:
        """Evaluate a cell; Jupyter calls this."""

        def show(name: str, text: str) -> None:
            if not silent:
                self.send_response(self.iopub_socket, "stream", {"name": name, "text": text})

        answer = self._evaluator.evaluate(code, show)
        if "error" in answer:
            return self._fail(answer["error"])
        if "text" in answer and not silent:
            self._show_result(answer["text"])
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    def _show_result(self, text: str) -> None:
        content = {"execution_count": self.execution_count, "data": {"text/plain": text}, "metadata": {}}
        self.send_response(self.iopub_socket, "execute_result", content)

    def _fail(self, error: dict[str, Any]) -> dict[str, Any]:
        content = {"ename": error["name"], "evalue": error["value"], "traceback": error["traceback"]}
        self.send_response(self.iopub_socket, "error", content)
        return {"status": "error", "execution_count": self.execution_count, **content}

    def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the Node process; Jupyter calls this."""
        self._evaluator.close()
        return {"status": "ok", "restart": restart}
