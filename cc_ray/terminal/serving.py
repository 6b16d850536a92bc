"""Verbs that show the dashboard, and say who may look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from cc_ray.errors import CcRayError
from cc_ray.terminal.options import DEFAULT_STORE, StorePath
from cc_ray.terminal.tables import notices, screen

if TYPE_CHECKING:
    from cc_ray.serve import Settings

serving = typer.Typer()

Host = Annotated[str, typer.Option(help="Address to listen on; the default answers this machine only.")]
Port = Annotated[int, typer.Option(help="Port of the dashboard.")]
JOBS: Final = "Job server, http://HEAD:8265, for the studies that operators start; without one this machine runs them."
ALSO: Final = "A further store that the page can change to: a folder, a URL, or NAME=either; repeatable."
LOGIN_FILE: Final = Path("cc-ray-login.toml")
NO_LOGIN: Final = (
    "There is no login: whoever reaches {host} can read the store, and only who asks from this machine may write. "
    "`cc-ray password NAME --role operator` makes a login file for --login."
)


@serving.command()
def serve(
    store: StorePath = DEFAULT_STORE,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    login: Annotated[Path | None, typer.Option(help="Who may enter: a file that `cc-ray password` makes.")] = None,
    name: Annotated[list[str], typer.Option(help="Name that it answers to, such as lab.example.org; repeatable.")] = [],  # noqa: B006 (typer copies it)
    proxy: Annotated[list[str], typer.Option(help="Address or network of a proxy to believe; repeatable.")] = [],  # noqa: B006
    also: Annotated[list[str], typer.Option(metavar="STORE", help=ALSO)] = [],  # noqa: B006
    replicas: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the open tabs.")] = 1,
    jobs: Annotated[str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help=JOBS)] = "",
) -> None:
    """Serve the dashboard until Ctrl-C."""
    from cc_ray.serve.stores import named

    given = {
        "login": str(login.resolve()) if login else "",
        "hosts": tuple(name),
        "proxies": tuple(proxy),
        "jobs": jobs,
        "stores": named(also),
    }
    refuse_port(host, port)
    show(store, host, port, replicas, given)


@serving.command()
def password(
    name: Annotated[str, typer.Argument(help="Who may enter: a person or, with --token, a program.")],
    role: Annotated[
        str, typer.Option(help="reader, or operator: may also start and stop studies and write.")
    ] = "reader",
    token: Annotated[
        bool, typer.Option("--token", help="Make a token for a program instead of asking a password.")
    ] = False,
    login: Annotated[Path, typer.Option(help="The login file; made if need be, readable by you alone.")] = LOGIN_FILE,
) -> None:
    """Put somebody into a login file, or give them another password, role or token. A running dashboard notices."""
    from cc_ray.serve.login.file import Person
    from cc_ray.serve.login.passwords import digest, hashed, new_token
    from cc_ray.serve.login.writing import put

    if role not in ("reader", "operator"):
        raise CcRayError(f"no role '{role}'. Roles are reader and operator.")
    made = new_token() if token else ""
    secret = {"token": digest(made)} if token else {"password": hashed(_ask())}
    put(login, name, Person.model_validate({"role": role, **secret}))
    notices.print(f"{name} may enter as {role}: {login}", soft_wrap=True)
    if made:
        notices.print("The token, which is kept nowhere else; send it as 'Authorization: Bearer TOKEN':")
        typer.echo(made)


def refuse_port(host: str, port: int) -> None:
    """Refuse a port that is taken, before anything takes long."""
    from cc_ray.serve import refuse_taken_port

    refuse_taken_port(host, port)


def show(store: str, host: str, port: int, replicas: int = 1, given: dict[str, Any] | None = None) -> None:
    """Serve the dashboard of a store until Ctrl-C."""
    from cc_ray.serve import LOCAL, serve_store, stay
    from cc_ray.store import Store

    settings = _settings(host, given or {})
    root = Store(store).root
    with notices.status(Text(f"Starting the dashboard of {root} …")):
        url = serve_store(root, host=host, port=port, settings=settings, replicas=replicas)
    screen.print(Text.assemble("The dashboard is at ", (url, "bold"), " (Ctrl-C ends it)."))
    if not settings.login and host not in LOCAL:
        notices.print(Text(NO_LOGIN.format(host=host), "yellow"), soft_wrap=True)
    stay()


def _settings(host: str, given: dict[str, Any]) -> Settings:
    """Settings of the command line.

    Raises:
        CcRayError: If one is not what it should be.
    """
    from pydantic import ValidationError

    from cc_ray.serve import Settings
    from cc_ray.serve.starting import names_of

    try:
        return Settings.model_validate({**given, "hosts": given.get("hosts") or names_of(host)})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise CcRayError(f"'{wrong['input']}' is not an address or network of a proxy, such as 10.0.0.0/8.") from error


def _ask() -> str:
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(password) < 8:
        raise CcRayError("the password is shorter than 8 characters.")
    return password
