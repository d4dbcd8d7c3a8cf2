"""Tracebacks are read by programs, and what cells show comes in E2B's formats as well."""

c = get_config()  # noqa: F821 - IPython gives it
c.InteractiveShell.colors = "nocolor"
c.InteractiveShellApp.extensions = ["code_interpreter.display"]
