"""``perfkit completion``."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("completion", short_help="Print what completes commands in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    r"""Print the script that completes perfkit's commands and options in SHELL.

    \b
    bash: eval "$(perfkit completion bash)"     in ~/.bashrc
    zsh:  eval "$(perfkit completion zsh)"      in ~/.zshrc
    fish: perfkit completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None, shell
    click.echo(maker(context.find_root().command, {}, "perfkit", "_PERFKIT_COMPLETE").source())
