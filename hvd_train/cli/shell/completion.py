"""`hvd-train completion SHELL`: a script with which a shell completes verbs, flags, their values and files.

tyro writes the script. It holds all verbs and flags, so completing starts neither hvd_train nor TensorFlow. tyro knows one
parser. So all verbs are put together here as the subcommands of one, which parses nothing.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import dataclasses
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import tyro

from hvd_train.cli import arguments, data_verbs, supervise_verb
from hvd_train.cli.cluster import jobs_verb, launch_verb, submit_verb
from hvd_train.cli.environment import horovod_verbs
from hvd_train.cli.runs import export_verb, report_verb, runs_verb, watch_verb
from hvd_train.cli.terminal import parse
from hvd_train.config import LOSSES, NETWORKS, recipes
from hvd_train.distributed import Placement
from hvd_train.evaluation import MONITORS

PROG = "hvd-train completion"
Shell = Literal["bash", "zsh", "fish"]
# Of no type: mypy cannot follow types that are made at run time.
_ANNOTATED: Any = Annotated
_UNION: Any = Union


@dataclass(frozen=True, kw_only=True)
class CompletionArguments:
    """Print a script that completes verbs, flags and values when you press TAB. Write it to where your shell looks for it.

    The script holds the flags of this version: write it again after an update.

    Examples:

        hvd-train completion bash > ~/.local/share/bash-completion/completions/hvd-train

        hvd-train completion zsh > ~/.zfunc/_hvd-train

        hvd-train completion fish > ~/.config/fish/completions/hvd-train.fish
    """

    shell: Annotated[Shell, tyro.conf.Positional]
    """The shell. zsh reads ~/.zfunc where ~/.zshrc has fpath+=~/.zfunc before compinit."""


KINDS: dict[str, Any] = {
    "train": arguments.TrainArguments,
    "launch": launch_verb.LaunchArguments,
    "supervise": supervise_verb.SuperviseArguments,
    "ensemble": arguments.EnsembleArguments,
    "evaluate": arguments.EvaluateArguments,
    "predict": arguments.PredictArguments,
    "bench": arguments.BenchArguments,
    "search": arguments.SearchArguments,
    "tune": arguments.TuneArguments,
    "export": export_verb.ExportArguments,
    "runs": runs_verb.RunsArguments,
    "watch": watch_verb.WatchArguments,
    "report": report_verb.ReportArguments,
    "submit": submit_verb.SubmitArguments,
    **{f"jobs {name}": kind for name, kind in jobs_verb.KINDS.items()},
    "doctor": arguments.DoctorArguments,
    "data fetch": data_verbs.FetchArguments,
    "data convert": data_verbs.ConvertArguments,
    "data check": data_verbs.CheckArguments,
    "data describe": data_verbs.DescribeArguments,
    "horovod install": horovod_verbs.HorovodInstallArguments,
    "horovod status": horovod_verbs.HorovodStatusArguments,
    "hostfile check": arguments.HostfileCheckArguments,
    "hostfile convert": arguments.HostfileConvertArguments,
    "hostfile job": arguments.HostfileJobArguments,
    "completion": CompletionArguments,
}
"""The arguments of each verb."""
# Verbs that take another verb and its flags after --.
AROUND: dict[str, Sequence[str]] = {
    "launch": launch_verb.LAUNCHED,
    "supervise": supervise_verb.SUPERVISED,
    "submit": submit_verb.VERBS,
}
# Names for flags that take other text too, such as a file of the user's own.
CHOICES: dict[str, Sequence[str]] = {
    "--recipe": tuple(recipes.RECIPES),
    "--model": tuple(NETWORKS),
    "--loss": LOSSES,
    "--monitor": MONITORS,
}
# Where tyro's scripts keep all verbs and flags.
SPEC = re.compile(r"^COMPLETION_SPEC = (.*)$", re.MULTILINE)
# tyro's script for zsh reads one empty completion from no output, and TAB then inserts a space.
ZSH_OFFERS = "  # Parse completions into an array for _describe.\n"
ZSH_OFFERS_SOME = '  [[ -n "$completions" ]] || return 1\n\n'


def completion(argv: Sequence[str], placement: Placement, summaries: Mapping[str, str]) -> int:
    """Print the script on the root. `summaries` tell what each verb is for. Returns the exit code."""
    shell = parse(CompletionArguments, argv, placement, prog=PROG).shell
    if placement.is_root:
        print(script(shell, summaries), flush=True)
    return 0


def script(shell: Shell, summaries: Mapping[str, str]) -> str:
    """The completion script of all verbs."""
    from_tyro = _written(shell, summaries)
    spec = from_tyro if shell == "bash" else _written("bash", summaries)  # in the others it is quoted
    if shell == "zsh":
        from_tyro = from_tyro.replace(ZSH_OFFERS, ZSH_OFFERS_SOME + ZSH_OFFERS)
    return SPEC.sub(lambda _: packed(completed(ast.literal_eval(SPEC.search(spec)[1]), summaries)), from_tyro, count=1)  # type: ignore[index]


def _written(shell: Shell, summaries: Mapping[str, str]) -> str:
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured), contextlib.suppress(SystemExit):
        tyro.cli(command(summaries), prog="hvd-train", args=["--tyro-write-completion", shell, "-"])
    return captured.getvalue().rstrip("\n")


def command(summaries: Mapping[str, str]) -> Any:
    """A type whose subcommands are the verbs."""
    verbs: dict[str, Any] = {}
    for name, kind in KINDS.items():
        verb, _, second = name.partition(" ")
        if second:
            verbs.setdefault(verb, {})[second] = kind
        else:
            verbs[verb] = kind
    kinds = {verb: _group(verb, kind) if isinstance(kind, dict) else kind for verb, kind in verbs.items()}
    return _choice({name: (kind, summaries.get(name, "")) for name, kind in kinds.items()})


def _group(verb: str, kinds: Mapping[str, Any]) -> Any:
    inner = _choice({name: (kind, first_sentence(kind.__doc__ or "")) for name, kind in kinds.items()})
    return dataclasses.make_dataclass(f"{verb.title()}Verbs", [("verb", inner)], frozen=True, kw_only=True)


def _choice(kinds: Mapping[str, tuple[Any, str]]) -> Any:
    subcommands = [
        _ANNOTATED[kind, tyro.conf.subcommand(name, prefix_name=False, description=summary or None)]
        for name, (kind, summary) in kinds.items()
    ]
    return _ANNOTATED[_UNION[tuple(subcommands)], tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes]


def completed(spec: dict[str, Any], summaries: Mapping[str, str]) -> dict[str, Any]:
    """tyro's description of the verbs, with what tyro cannot know. Pure but for `spec` itself, which is changed."""
    verbs = spec["subcommands"]
    spec["options"].append({"flags": ["--version"], "description": "Print the version.", "type": "flag"})
    for name, verb in verbs.items():
        verb["description"] = summaries.get(name, name)
        if any("--recipe" in option["flags"] for option in verb["options"]):
            verb["options"].append({"flags": ["--help-all"], "description": "Print all flags.", "type": "flag"})
        if name in AROUND:
            verb["subcommands"] = {inner: verbs[inner] for inner in AROUND[name]}
        for one in (verb, *verb["subcommands"].values()):
            for option in one["options"]:
                _improve(option)
    return spec


def _improve(option: dict[str, Any]) -> None:
    names = next((CHOICES[flag] for flag in option["flags"] if flag in CHOICES), None)
    if names is not None:
        option |= {"type": "choice", "choices": list(names)}
    # tyro has "STR • what it is. More. (default: x)": a shell shows one short line.
    _, _, what = option["description"].partition(" • ")
    option["description"] = first_sentence(what or option["description"])


def first_sentence(text: str) -> str:
    """What a shell shows beside a name. The shell cuts it to the width of its window."""
    return re.split(r"(?<=\.) |\n", text)[0]


def packed(spec: dict[str, Any]) -> str:
    """Python that makes the same `spec`. fish passes it as one argument, which may have 128 KB."""
    text = base64.b64encode(zlib.compress(json.dumps(spec).encode(), 9)).decode()
    return f"import base64, json, zlib\nCOMPLETION_SPEC = json.loads(zlib.decompress(base64.b64decode('{text}')))"
