"""Command line options made from settings models: one flag and one environment variable a field.

So a setting's type, default and description live once, in the model, and no command can forget one.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from milepost.errors import UsageError

Command = Callable[..., None]
M = TypeVar("M", bound=BaseModel)


class Names(NamedTuple):
    """What a field is called outside: its flag, its environment variable."""

    flag: str
    variable: str


class OptionNames:
    """A field's names in its metadata: `Annotated[str, OptionNames("--nats", "NATS_URL")]`."""

    def __init__(self, flag: str, variable: str) -> None:
        self.names = Names(flag, variable)


_SINGULAR: Final = {"allow_origins": "allow_origin"}
"""Fields that are lists: their flag is given once for each item."""


class Group(NamedTuple):
    """How a model's options are shown: their heading, a word before each name, and what is left out.

    `variables`: a word before each variable that the flag does without.
    """

    panel: str
    prefix: str = ""
    without: frozenset[str] = frozenset()
    variables: str = ""


def expand(groups: dict[type[BaseModel], Group]) -> Callable[[Command], Command]:
    """Replace each parameter that is one of these models by options, one a field."""

    def decorate(command: Command) -> Command:
        parameters: list[inspect.Parameter] = []
        models: dict[str, type[BaseModel]] = {}
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.annotation in groups:
                models[parameter.name] = parameter.annotation
                parameters += _options(parameter.name, parameter.annotation, groups[parameter.annotation])
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def call(**given: Any) -> None:  # noqa: ANN401 - whatever the options are
            made = {name: _make(name, model, groups[model], given) for name, model in models.items()}
            command(**given, **made)

        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return call

    return decorate


def names(model: type[BaseModel], group: Group) -> dict[str, Names]:
    """Each field's flag and environment variable."""
    return {
        field: _names(field, info, group) for field, info in model.model_fields.items() if field not in group.without
    }


def from_environment(model: type[M], group: Group) -> M:
    """The model as the variables say it that are set, for programs without a command line.

    Raises:
        UsageError: a variable cannot be used.
    """
    known = names(model, group).items()
    given = {field: os.environ[variable] for field, (_, variable) in known if os.environ.get(variable)}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UsageError(_complaint(model, group, error)) from None


def _names(field: str, info: FieldInfo, group: Group) -> Names:
    for item in info.metadata:
        if isinstance(item, OptionNames):
            return item.names
    word = group.prefix + _SINGULAR.get(field, field)
    return Names("--" + word.replace("_", "-"), "MILEPOST_" + (group.variables + word).upper())


def _options(parameter: str, model: type[BaseModel], group: Group) -> Iterator[inspect.Parameter]:
    for field, (flag, variable) in names(model, group).items():
        info = model.model_fields[field]
        kind, default = _plain(info.annotation), info.default
        option = typer.Option(
            f"{flag}/--no-{flag.removeprefix('--')}" if kind is bool else flag,
            envvar=variable,
            help=(info.description or "").replace("`", ""),
            rich_help_panel=group.panel,
            # an empty list is no default worth showing
            show_default=default not in (None, ()),
        )
        yield inspect.Parameter(
            f"{parameter}_{field}",
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[kind, option],
            default=default,
        )


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - any field's type
    """The annotation as typer understands it: tuples of any length are lists there."""
    if get_origin(annotation) is tuple:
        return list[get_args(annotation)[0]]  # type: ignore[misc] # made at run time, for typer alone
    return annotation


def _make(parameter: str, model: type[BaseModel], group: Group, given: dict[str, Any]) -> BaseModel:
    values = {field: given.pop(f"{parameter}_{field}") for field in names(model, group)}
    try:
        return model(**{field: value for field, value in values.items() if value is not None})
    except ValidationError as error:
        raise UsageError(_complaint(model, group, error)) from None


def _complaint(model: type[BaseModel], group: Group, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return reason
    flag, variable = names(model, group)[str(first["loc"][0])]
    return f"{flag} (or {variable}): {reason}"
