"""The verbs for a cluster's job server: send a search space there, see what runs, read along, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cc_ray.terminal.options import FormatOption, Output
from cc_ray.terminal.questions import drawn
from cc_ray.terminal.tables import Format, cell, duration, grid, notices, screen, write
from cc_ray.wording import NOTHING

if TYPE_CHECKING:
    import pyarrow as pa

    from cc_ray.jobs import Job, JobServer, Submission

jobs = typer.Typer()

Server = Annotated[
    str | None,
    typer.Option(
        help="The cluster's job server, http://HEAD:8265; else RAY_API_SERVER_ADDRESS or RAY_ADDRESS names it."
    ),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job, or the study that it runs.")]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@jobs.command()
def submit(
    space: Annotated[str, typer.Argument(help="A search space: a Python file, or a name such as 'digits'.")],
    store: Annotated[
        str,
        typer.Option(
            envvar="CC_RAY_STORE", help="Folder that every node sees, by its whole path; or the URL of a bucket."
        ),
    ],
    address: Server = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed in an earlier session.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the job and return, without its log.")] = False,
) -> None:
    """Run a search space as a job of a Ray cluster and follow it; a study that runs there already is joined."""
    from cc_ray.jobs import JobServer

    server = JobServer(address)
    with notices.status("Submitting …"):
        submission = server.submit(space, store, retry_failed=retry_failed)
    _show_submission(submission, server)
    if no_wait:
        screen.print(submission.job.job_id, soft_wrap=True)
    else:
        _follow(server, submission.job)


@jobs.command("jobs")
def list_jobs(
    address: Server = None,
    every: Annotated[bool, typer.Option("--all", help="Also jobs that CC-Ray did not submit.")] = False,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """List the jobs of a cluster, newest first."""
    from cc_ray.jobs import JobServer

    server = JobServer(address)
    found = server.jobs(every=every)
    if not drawn(format, output):
        write(_table(found), format, output)
    elif found:
        _show_jobs(found)
    else:
        screen.print(f"{server.address} has no jobs of CC-Ray.", soft_wrap=True)


@jobs.command()
def logs(
    job: JobName,
    address: Server = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends; exit with its code.")] = False,
) -> None:
    """Print what a job has written."""
    from cc_ray.jobs import JobServer

    server = JobServer(address)
    found = server.find(job)
    if follow:
        _follow(server, found)
    else:
        _pass_on(server.log(found.job_id))


@jobs.command()
def stop(job: JobName, address: Server = None) -> None:
    """Stop a job; what is published stays, and submitting the study again goes on from there."""
    from cc_ray.jobs import JobServer

    server = JobServer(address)
    found = server.find(job)
    if found.ended:
        notices.print(f"{found.job_id} has ended already: {found.state}.", soft_wrap=True)
        return
    with notices.status(Text(f"Stopping {found.job_id} …")):
        found = server.stop(found.job_id)
    notices.print(f"{found.job_id} is {found.state}." if found.ended else _still(found, server), soft_wrap=True)


def _show_submission(submission: Submission, server: JobServer) -> None:
    job = submission.job
    done = "is under way already, and joined" if submission.joined else "submitted"
    notices.print(
        Text.assemble((job.job_id, "bold"), f" {done}: study {job.study}, store {job.store} on {server.address}."),
        soft_wrap=True,
    )
    if not submission.same:
        notices.print(
            "It was started with another version of the search space or of the code, or with other options. "
            "Submit again when it has ended; what is published is not made again.",
            soft_wrap=True,
        )


def _follow(server: JobServer, job: Job) -> None:
    """Print a job's log until the job ends, and exit with its code."""
    try:
        ended = server.follow(job.job_id, _pass_on)
    except KeyboardInterrupt:
        notices.print(_still(job, server), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    code = f" with exit code {ended.exit_code}" if ended.exit_code else ""
    notices.print(Text.assemble((ended.job_id, "bold"), f" {ended.state}{code}."), soft_wrap=True)
    if ended.reason:
        notices.print(Text(ended.reason), soft_wrap=True)
    raise typer.Exit(ended.exit_code or 0)


def _still(job: Job, server: JobServer) -> str:
    where = f"{job.job_id} --address {server.address}"
    return f"{job.job_id} goes on.\n  follow it: cc-ray logs {where} --follow\n  stop it: cc-ray stop {where}"


def _pass_on(text: str) -> None:
    typer.echo(text, nl=False)


def _show_jobs(found: list[Job]) -> None:
    table = grid("job", "study", "state", "started (UTC)", ">duration", "store")
    for job in found:
        table.add_row(
            job.job_id,
            job.study or NOTHING,
            job.state,
            cell(job.started_at),
            NOTHING if job.duration_s is None else duration(job.duration_s),
            job.store or NOTHING,
        )
    screen.print(table)


def _table(found: list[Job]) -> pa.Table:
    import pyarrow as pa

    columns = {
        "job_id": pa.string(),
        "study": pa.string(),
        "state": pa.string(),
        "started_at": pa.timestamp("ms", tz="UTC"),
        "duration_s": pa.float64(),
        "exit_code": pa.int64(),
        "store": pa.string(),
    }
    rows = [{name: getattr(job, name) for name in columns} for job in found]
    return pa.Table.from_pylist(rows, schema=pa.schema(columns))
