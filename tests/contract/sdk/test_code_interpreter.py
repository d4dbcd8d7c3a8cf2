"""E2B's code interpreter for Python against the template that comes with Sandlot."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

code_interpreter = pytest.importorskip("e2b_code_interpreter", reason="an SDK of an earlier era has none")
pytestmark = pytest.mark.timeout(300)

CHART = """
import matplotlib.pyplot as plt
plt.plot([1, 2, 3], [10, 20, 15], label="measured")
plt.title("A title")
plt.xlabel("time")
plt.show()
"""


@pytest.fixture(scope="module")
def sandbox(endpoint: None) -> Iterator[code_interpreter.Sandbox]:
    with code_interpreter.Sandbox.create(timeout=600, envs={"SHARED": "of the sandbox"}) as sandbox:
        yield sandbox


def test_what_one_cell_defines_is_there_for_the_next(sandbox: code_interpreter.Sandbox) -> None:
    sandbox.run_code("x = 1")
    assert sandbox.run_code("x += 1; x").text == "2"


def test_a_chart_comes_as_a_picture_and_as_data(sandbox: code_interpreter.Sandbox) -> None:
    (result,) = sandbox.run_code(CHART).results
    assert base64.b64decode(result.png).startswith(b"\x89PNG")
    assert (result.chart.type.value, result.chart.title, result.chart.x_label) == ("line", "A title", "time")
    (line,) = result.chart.elements
    assert (line.label, line.points) == ("measured", [(1, 10), (2, 20), (3, 15)])


def test_a_table_comes_as_html_and_as_data(sandbox: code_interpreter.Sandbox) -> None:
    execution = sandbox.run_code("import pandas\npandas.DataFrame({'a': [1, 2], 'b': ['x', 'y']})")
    (result,) = execution.results
    assert "<table" in result.html
    assert result.data == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("code", "name", "shown"),
    [
        ("from IPython.display import SVG; SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')", "svg", "<svg"),
        ("from IPython.display import Markdown; Markdown('# head')", "markdown", "# head"),
        ("from IPython.display import Latex; Latex('$x$')", "latex", "$x$"),
        ("{'a': {'b': 1}}", "json", "{'a': {'b': 1}}"),
    ],
)
def test_results_in_rich_formats(sandbox: code_interpreter.Sandbox, code: str, name: str, shown: str) -> None:
    (result,) = sandbox.run_code(code).results
    assert str(getattr(result, name)).startswith(shown)


def test_output_comes_as_it_is_printed(sandbox: code_interpreter.Sandbox) -> None:
    seen: list[str] = []
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    execution = sandbox.run_code(code, on_stdout=lambda one: seen.append(one.line))
    assert (seen, execution.logs.stderr) == (["out\n"], ["err\n"])


def test_an_exception_has_its_traceback(sandbox: code_interpreter.Sandbox) -> None:
    error = sandbox.run_code("def fail():\n    1 / 0\nfail()").error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero")
    assert "line 2, in fail" in error.traceback or "1 / 0" in error.traceback


def test_after_a_timeout_the_kernel_is_free_again(sandbox: code_interpreter.Sandbox) -> None:
    with pytest.raises(code_interpreter.TimeoutException):
        sandbox.run_code("kept = 7\nwhile True: pass", timeout=2)
    assert sandbox.run_code("kept").text == "7"


def test_two_contexts_know_nothing_of_each_other(sandbox: code_interpreter.Sandbox) -> None:
    context = sandbox.create_code_context(cwd="/tmp")
    sandbox.run_code("mine = 1")
    assert sandbox.run_code("mine", context=context).error.name == "NameError"
    assert sandbox.run_code("import os; os.getcwd()", context=context).text == "/tmp"
    assert context.id in [one.id for one in sandbox.list_code_contexts()]
    sandbox.run_code("other = 2", context=context)
    sandbox.restart_code_context(context)
    assert sandbox.run_code("other", context=context).error.name == "NameError"
    sandbox.remove_code_context(context)
    assert context.id not in [one.id for one in sandbox.list_code_contexts()]


@pytest.mark.parametrize(("language", "read"), [("python", "os.environ.get"), ("javascript", "process.env[")])
def test_variables_of_the_sandbox_and_of_one_execution(
    sandbox: code_interpreter.Sandbox, language: str, read: str
) -> None:
    def look(name: str, **options: object) -> str | None:
        code = f"import os\n{read}('{name}', 'none')" if language == "python" else f"{read}'{name}'] ?? 'none'"
        return sandbox.run_code(code, language=language, **options).text

    assert look("SHARED") == "of the sandbox"
    assert look("SHARED", envs={"SHARED": "it's mine"}) == "it's mine"
    assert look("SHARED") == "of the sandbox"
    assert look("OWN", envs={"OWN": "once"}) == "once"
    assert look("OWN") == "none"


@pytest.mark.parametrize(
    ("language", "hello", "read"),
    [
        ("r", "cat('hello\\n')", "cat(Sys.getenv('{}', 'none'))"),
        ("java", 'System.out.println("hello")', 'System.out.print(System.getProperty("{}", "none"))'),
        ("bash", "echo hello", "echo -n ${{{}:-none}}"),
    ],
)
def test_other_languages(sandbox: code_interpreter.Sandbox, language: str, hello: str, read: str) -> None:
    def look(name: str, **options: object) -> str:
        shown = sandbox.run_code(read.format(name), language=language, **options).logs.stdout
        return "".join(shown).removesuffix("\n")

    assert "".join(sandbox.run_code(hello, language=language).logs.stdout) == "hello\n"
    assert look("SHARED") == "of the sandbox"
    assert look("OWN", envs={"OWN": "a 'b' \"c\" ü"}) == "a 'b' \"c\" ü"
    assert look("OWN") == "none"


def test_a_picture_that_is_saved_is_shown(sandbox: code_interpreter.Sandbox) -> None:
    code = "from PIL import Image\nImage.new('RGB', (2, 2)).save('black.png')"
    (result,) = sandbox.run_code(code).results
    assert base64.b64decode(result.png).startswith(b"\x89PNG")


def test_javascript_and_typescript(sandbox: code_interpreter.Sandbox) -> None:
    sandbox.run_code("import { basename } from 'path'\nconst a = [1, 2]", language="js")
    assert sandbox.run_code("const a = await Promise.resolve(5); a + basename('/x/y')", language="js").text == "5y"
    error = sandbox.run_code("function fail() { throw new TypeError('bad') }\nfail()", language="js").error
    assert (error.name, error.value) == ("TypeError", "bad")
    assert "at fail" in error.traceback
    assert sandbox.run_code("const n: number = 3; n", language="ts").text == "3"


@pytest.mark.parametrize("code", ["while (true) {}", "await new Promise(() => {})"])
def test_javascript_that_never_ends_is_interrupted_and_what_was_defined_stays(
    sandbox: code_interpreter.Sandbox, code: str
) -> None:
    sandbox.run_code("const kept = 5", language="js")
    with pytest.raises(code_interpreter.TimeoutException):
        sandbox.run_code(code, language="js", timeout=2)
    assert sandbox.run_code("kept", language="js").text == "5"


def test_javascript_that_cannot_be_interrupted_holds_nothing_up(sandbox: code_interpreter.Sandbox) -> None:
    with pytest.raises(code_interpreter.TimeoutException):
        sandbox.run_code("await null; while (true) {}", language="js", timeout=2)
    assert sandbox.run_code("1 + 1", language="js").text == "2"


def test_a_kernel_that_dies_is_replaced(sandbox: code_interpreter.Sandbox) -> None:
    context = sandbox.create_code_context()
    assert sandbox.run_code("import os; os._exit(1)", context=context).error.name == "ContextRestarting"
    assert sandbox.run_code("1 + 1", context=context).text == "2"


def test_a_language_without_a_kernel_is_refused_by_name(sandbox: code_interpreter.Sandbox) -> None:
    with pytest.raises(Exception, match="no kernel for 'cobol'"):
        sandbox.run_code("DISPLAY 1", language="cobol")
