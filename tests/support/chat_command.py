"""`jan chat` in the process of the test, as a program runs it: with pipes and not on a terminal."""

from click.testing import CliRunner, Result

from jan.cli.commands import main


def chat(url: str, *arguments: str, typed: str | bytes = "hello\n", key: str = "") -> Result:
    """Run the command in this process."""
    environ = {"JAN_API_KEY": key or None, "JAN_API_KEY_FILE": None, "SSL_CERT_FILE": None}
    return CliRunner().invoke(main, ["chat", "--url", url, *arguments], input=typed, env=environ)
