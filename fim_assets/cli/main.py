"""`fim-assets`: what is quicker to ask in a terminal than in the Dagster UI.

The group of commands, its options, and how errors reach the user. What is slow to load, a command
imports itself, so that help, keys and completion answer at once.
"""

import logging
import traceback
from itertools import chain
from typing import Any

import click

from fim_assets.cli.after_a_run import restore, show, summary, verify
from fim_assets.cli.before_a_run import doctor, keys, manifest, preview, sample
from fim_assets.cli.collect import collect
from fim_assets.cli.completion import completion
from fim_assets.cli.regroup import regroup
from fim_assets.cli.terminal import show_every_character
from fim_assets.errors import USER_ERRORS
from fim_assets.wording import escape_control_characters, escape_to_one_line

_INTERRUPTED = 130

_SECTIONS = {
    "Before a run": (sample, collect, regroup, keys, manifest, preview, doctor),
    "After a run": (summary, show, verify, restore),
    "In the shell": (completion,),
}

_SETTINGS = {
    "FIM_DATA_ROOT": "Folder or URL that holds all outputs; by default data in the repository.",
    "FIM_INPUT_ROOT": "Where relative globs in raw.documents start; by default the data root.",
    "FIM_RECIPE": "A built-in recipe's name or a YAML file; by default olmo_midtraining.",
    "FIM_WORKERS": "Partitions worked on at once in a run; by default one a core.",
    "FIM_ENGINE": "Who works on them: local, or ray, a cluster.",
    "FIM_PARTITIONS_PER_RUN": "Partitions of a backfill that one run takes; by default all.",
}


class _Commands(click.Group):
    """Commands in sections, whose errors are one message and whose output acts on no terminal."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, section by section."""
        width = max(map(len, self.commands))
        for section, commands in _SECTIONS.items():
            rows = [(str(c.name).ljust(width), c.get_short_help_str(limit=100)) for c in commands]
            with formatter.section(section):
                formatter.write_dl(rows)
        with formatter.section("Settings, from the environment"):
            formatter.write_dl(list(_SETTINGS.items()))

    def main(self, *args: Any, **options: Any) -> Any:
        """Run as a command, in a terminal of whatever encoding."""
        show_every_character()
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what its user can set right is one message, a fault has its traceback.

        Such a fault may not come twice, so that its traceback is shown where it comes.
        """
        if ctx.params["debug"]:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except click.UsageError as error:
            message = escape_control_characters(error.format_message())
            raise click.UsageError(message, error.ctx) from error
        except click.ClickException as error:
            raise click.ClickException(escape_control_characters(error.message)) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends quietly where nobody reads on
        except USER_ERRORS as error:
            raise click.ClickException(escape_control_characters(str(error))) from error
        except Exception as error:
            click.echo(escape_control_characters(traceback.format_exc()), err=True, nl=False)
            problem = "this is a fault of fim-assets, not of what it was given"
            raise click.ClickException(
                f"{problem}; please report it with the lines above"
            ) from error


class _OnOneLine(logging.Formatter):
    """What the project warns of in the log, which a command shows on standard error."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.capitalize()}: {escape_to_one_line(record.getMessage())}"


def _folders(_ctx: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    folders = tuple(value.rstrip("/").split("/")) if value else ()
    if not {"", ".", ".."}.isdisjoint(folders):
        raise click.BadParameter(f"{value}: give the parts of a key_prefix joined by /, as a/b")
    return folders


@click.group(
    cls=_Commands,
    commands=list(chain.from_iterable(_SECTIONS.values())),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`fim-assets COMMAND --help` explains a command, with examples.",
)
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
@click.option(
    "--key-prefix",
    default="",
    callback=_folders,
    metavar="A/B",
    help="The corpus with this key_prefix, of a component or of build_definitions; its recipe is "
    "FIM_RECIPE's.",
)
@click.version_option(package_name="fim_assets")
def main(*, debug: bool, key_prefix: tuple[str, ...]) -> None:
    """Fill-in-the-middle data as Dagster assets: what is quicker to ask in a terminal."""
    del debug, key_prefix  # `_Commands` and `key_prefix_of_command` read them
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_OnOneLine())
