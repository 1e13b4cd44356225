"""Names of models and efforts: what a request's words stand for. Pure.

A name is looked up in this order, and spelled exactly:

1. an alias from `PROXY_MODEL_ALIASES` (`name=model` or `name=model-effort`), which may also hide a model of that name;
2. a model of codex's;
3. an alias without an effort of its own, or a model, then a hyphen and an effort that the model knows
   (`gpt-5.5-high`).

An effort of `none` or `minimal`, which clients send by default, becomes the lowest one of a model that does not have
it.

A request without a model takes `PROXY_DEFAULT_MODEL`, which is looked up in the same way. Where the name sets an
effort, a field that asks for another one is a contradiction and refused: neither is silently dropped. Only the
default's effort yields, since that caller named none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from app.answers.field_errors import missing
from app.backend.request import Model
from app.errors import InvalidRequest, ModelNotFound, RequestPart

_SHOWN = 100
"""Characters of an unknown name that an error repeats."""


@dataclass(frozen=True, slots=True)
class Names:
    """What this gateway calls models beside their own names. `default` is empty where there is none."""

    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model, and the effort it was asked to make; None leaves that to the model. `name` is the caller's word.

    `adjusted` has the fields of the request whose value was replaced, with the value that took its place.
    """

    name: str
    model: Model
    effort: str | None
    adjusted: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def resolve(
    models: Sequence[Model],
    names: Names,
    fields: Mapping[RequestPart, str],
    name: str | None,
    effort: str | None = None,
) -> Resolved:
    """Return what `name` and `effort` of a request stand for. An empty name is none where there is a default.

    `fields` names the endpoint's fields for both (`EFFORT` only where an effort is given). Raises `ModelNotFound`, and
    `InvalidRequest` for an effort that the model does not know or the name contradicts.
    """
    asked = name or names.default or name
    if asked is None:
        raise missing(fields[RequestPart.MODEL])
    found = _look_up(models, names, asked)
    if found is None:
        reason = _not_found(names, asked, is_default=asked != name)
        raise ModelNotFound(reason, param=fields[RequestPart.MODEL])
    model, implied = found
    adjusted: dict[str, str] = {}
    if effort is not None:
        param = fields[RequestPart.EFFORT]
        if effort in _LITTLE and effort not in model.efforts:
            lowest = _lowest(model)
            instead = lowest or model.default_effort or "default"
            if instead != effort:
                adjusted[param] = instead
            effort = lowest
        else:
            _check_effort(model, effort, param)
        if name and implied and effort and effort != implied:
            raise InvalidRequest(
                f"The model `{asked[:_SHOWN]}` already means the reasoning effort '{implied}', which contradicts "
                f"'{param}': '{effort}'. Leave one of them out.",
                param=param,
            )
    return Resolved(asked, model, effort or implied, adjusted)


def listed(models: Sequence[Model], names: Names) -> tuple[str, ...]:
    """Return the names that the model list shows: models, then aliases, if they lead somewhere; no effort variants."""
    known = dict.fromkeys((*(model.id for model in models), *names.aliases))
    return tuple(name for name in known if _look_up(models, names, name))


def dangling(models: Sequence[Model], names: Names) -> tuple[str, ...]:
    """Return the aliases, and the default, that name no model: what an operator should be told of."""
    wrong = [f"{alias}={to}" for alias, to in names.aliases.items() if not _find(models, to)]
    if names.default and not _look_up(models, names, names.default):
        wrong.append(names.default)
    return tuple(wrong)


_Found = tuple[Model, str | None]
"""A model and the effort that its name implied."""


def _look_up(models: Sequence[Model], names: Names, name: str) -> _Found | None:
    if name in names.aliases:
        return _find(models, names.aliases[name])
    found = _find(models, name)
    stem, _, effort = name.rpartition("-")
    if stem not in names.aliases or (found and found[1] is None):
        return found
    behind = _find(models, names.aliases[stem])
    if behind and behind[1] is None and effort in behind[0].efforts:
        return behind[0], effort
    return found


def _find(models: Sequence[Model], name: str) -> _Found | None:
    """Find a model by its own name, or by its name and an effort."""
    stem, _, effort = name.rpartition("-")
    for model in models:
        if model.id == name:
            return model, None
    for model in models:
        if model.id == stem and effort in model.efforts:
            return model, effort
    return None


_LITTLE = ("none", "minimal")
_RISING = (*_LITTLE, "low", "medium", "high", "xhigh", "max", "ultra")
"""Every effort that OpenAI has a word for, the lowest first."""


def _lowest(model: Model) -> str | None:
    """Return the lowest effort that the model has, None where it has none to choose from."""
    return next((name for name in (*_RISING, *model.efforts) if name in model.efforts), None)


def _check_effort(model: Model, effort: str, field: str) -> None:
    # codex itself would hand on any word.
    if effort in model.efforts:
        return
    supported = ", ".join(f"'{name}'" for name in model.efforts)
    raise InvalidRequest(
        f"Unsupported value: '{field}' does not support '{effort[:60]}' with this model. "
        f"Supported values are: {supported}.",
        param=field,
        code="unsupported_value",
    )


def _not_found(names: Names, name: str, *, is_default: bool) -> str:
    """Return the sentence that says who can mend it."""
    shown, target = name[:_SHOWN], names.aliases.get(name)
    if target is not None:
        reason = f"The model `{shown}` stands for `{target[:_SHOWN]}` here, which does not exist. "
        reason += "This gateway's operator has to correct PROXY_MODEL_ALIASES."
    elif is_default:
        reason = f"Your request names no model, and the default here, `{shown}`, does not exist. "
        reason += "Name a model, or ask the operator to correct PROXY_DEFAULT_MODEL."
    else:
        reason = f"The model `{shown}` does not exist or you do not have access to it. "
        reason += "GET /v1/models lists those that do."
    return reason
