"""The login file: read strictly, written whole."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cc_ray.cli import app
from cc_ray.errors import CcRayError
from cc_ray.serve.login.file import LoginFile, read
from cc_ray.serve.login.passwords import digest, matches


def password(path: Path, *arguments: str, typed: str = "") -> str:
    ran = CliRunner().invoke(app, ["password", *arguments, "--login", str(path)], input=typed)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_the_command_line_makes_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "login.toml"

    password(path, "anna", "--role", "operator", typed="correct horse\ncorrect horse\n")
    token = password(path, "anna.bot", "--token").strip().splitlines()[-1]

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    known = read(path)
    assert known.users["anna"].role == "operator"
    assert matches("correct horse", known.users["anna"].password)
    assert known.users["anna.bot"].token == digest(token)
    assert "correct horse" not in path.read_text() and token not in path.read_text()


def test_a_change_leaves_the_rest_alone(tmp_path: Path) -> None:
    path = tmp_path / "login.toml"
    password(path, "anna", typed="correct horse\ncorrect horse\n")
    path.write_text(
        path.read_text()
        + '\n# about eva\n[users.eva]\nrole = "reader"\n\n[oidc]\nissuer = "https://id.example"\nclient_id = "x"\n'
    )
    before = read(path)

    password(path, "anna", "--role", "operator", "--token")
    password(path, "eva", "--role", "operator", "--token")

    known = read(path)
    assert known.key == before.key and known.oidc == before.oidc
    assert known.users["anna"].password == before.users["anna"].password
    assert [person.role for person in known.users.values()] == ["operator", "operator"]
    assert "# about eva" in path.read_text()


def test_what_is_no_name_role_or_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "login.toml"

    for arguments, typed in ((["a b", "--token"], ""), (["anna", "--role", "boss"], ""), (["anna"], "short\nshort\n")):
        ran = CliRunner().invoke(app, ["password", *arguments, "--login", str(path)], input=typed)
        assert isinstance(ran.exception, CcRayError), arguments
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602])
def test_one_that_others_can_read_is_refused(login: Path, mode: int) -> None:
    login.chmod(mode)

    with pytest.raises(CcRayError, match=f"mode 0{mode:o}.*chmod 600"):
        read(login)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key = ", "not TOML"),
        ('key = "short"', "key: String should have at least 32"),
        (f'key = "{"k" * 32}"\n[users.x]\nrole = "boss"', "users.x.role"),
        (f'key = "{"k" * 32}"\n[users."a b"]\nrole = "reader"', "users.a b"),
        (f'key = "{"k" * 32}"\n[oidc]\nissuer = "http://id.example"\nclient_id = "x"', "must be an https address"),
    ],
)
def test_one_that_says_something_else_is_refused(login: Path, text: str, said: str) -> None:
    login.write_text(text)

    with pytest.raises(CcRayError, match=said):
        read(login)


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CcRayError, match="cc-ray password NAME --login"):
        read(tmp_path / "none.toml")


def test_one_that_becomes_wrong_stays_as_it_was(login: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = LoginFile(login)
    before = file.known

    login.write_text("not toml")

    assert file.known == before
    assert "stays in force" in caplog.text
