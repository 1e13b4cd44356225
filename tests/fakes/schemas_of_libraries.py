"""Schemas as libraries write them for OpenAI, cut down: of each what is peculiar to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class LibrarySchema:
    """A schema, the `strict` it is sent with, and what is told of it."""

    origin: str
    schema: dict[str, Any]
    strict: bool | None = True
    ignored: tuple[str, ...] = ()


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "properties": properties,
        "required": list(properties),
        "type": "object",
        "additionalProperties": False,
    }


COLOR = {"enum": ["red", "blue"], "title": "Color", "type": "string"}
NODE = {
    "title": "Node",
    "type": "object",
    "properties": {
        "value": {"title": "Value", "type": "string"},
        "children": {"items": {"$ref": "#/$defs/Node"}, "title": "Children", "type": "array"},
    },
    "required": ["value", "children"],
}

ENFORCED = (
    LibrarySchema(
        "openai-python: parse() of a model with constraints, defaults and examples",
        closed(
            name={
                "description": "Its name",
                "examples": ["pen"],
                "maxLength": 40,
                "minLength": 1,
                "title": "Name",
                "type": "string",
            },
            color={"default": "red", "description": "Its colour", **COLOR},
            price={"default": 1.5, "exclusiveMinimum": 0, "title": "Price", "type": "number"},
            note={"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Note"},
            count={"default": 3, "deprecated": True, "maximum": 9, "minimum": 1, "type": "integer"},
            kind={"const": "a", "default": "a", "title": "Kind", "type": "string"},
            mixed={"enum": ["x", 1, None], "title": "Mixed"},
            made={"format": "date-time", "title": "Made", "type": "string"},
        )
        | {"title": "Item", "$defs": {"Color": COLOR}},
    ),
    LibrarySchema(
        "openai-python: parse() of a model with an address",
        closed(
            site={
                "format": "uri",
                "maxLength": 2083,
                "minLength": 1,
                "title": "Site",
                "type": "string",
            }
        ),
        ignored=("format",),
    ),
    LibrarySchema(
        "langchain-openai: with_structured_output(strict=True), words beside a reference",
        closed(
            color={"$ref": "#/$defs/Color", "default": "red", "description": "Its colour"},
            note={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        )
        | {"$defs": {"Color": COLOR}},
    ),
    LibrarySchema(
        "Pydantic 1 and FastAPI: a reference in allOf",
        closed(color={"allOf": [{"$ref": "#/definitions/Color"}], "description": "Its colour"})
        | {"definitions": {"Color": COLOR}},
    ),
    LibrarySchema(
        "Pydantic: a discriminated union",
        closed(
            pet={
                "discriminator": {
                    "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"},
                    "propertyName": "kind",
                },
                "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
                "title": "Pet",
            }
        )
        | {
            "$defs": {
                "Cat": closed(kind={"const": "cat", "type": "string"}, lives={"type": "integer"}),
                "Dog": closed(kind={"const": "dog", "type": "string"}),
            }
        },
        ignored=("discriminator",),
    ),
    LibrarySchema(
        "Pydantic: a recursive model, the root a reference",
        {"$defs": {"Node": {**NODE, "additionalProperties": False}}, "$ref": "#/$defs/Node"},
    ),
    LibrarySchema(
        "zodResponseFormat of openai-node: draft 7, definitions",
        {
            **closed(
                title={"type": "string"},
                part={"anyOf": [{"$ref": "#/definitions/doc_part"}, {"type": "null"}]},
            ),
            "definitions": {"doc_part": closed(text={"type": "string", "default": ""})},
            "$schema": DRAFT_7,
        },
    ),
    LibrarySchema(
        "zod 4: toJSONSchema of a lazy schema",
        {
            "$schema": DRAFT_2020,
            "$ref": "#/$defs/__schema0",
            "$defs": {
                "__schema0": closed(
                    name={"type": "string", "minLength": 1},
                    children={"type": "array", "items": {"$ref": "#/$defs/__schema0"}},
                )
            },
        },
    ),
    LibrarySchema(
        "Vercel AI SDK: generateObject with zod 4",
        {
            "$schema": DRAFT_7,
            **closed(
                email={"type": "string", "format": "email", "pattern": "^[^@]+@[^@]+$"},
                age={"type": "integer", "minimum": 0, "maximum": 9007199254740991},
                kind={"type": "string", "const": "a"},
            ),
        },
    ),
    LibrarySchema(
        "Gemini's dialect, through google-genai and LiteLLM",
        closed(
            name={"type": "string", "nullable": True, "x-order": 0},
            picture={"type": "string", "contentEncoding": "base64", "example": "aGk="},
        )
        | {"propertyOrdering": ["name", "picture"]},
        ignored=("contentEncoding", "example", "nullable", "propertyOrdering", "x-order"),
    ),
    LibrarySchema(
        "Spring AI: BeanOutputConverter",
        {
            "$schema": DRAFT_2020,
            **closed(count={"type": "integer", "format": "int32", "readOnly": True}),
        },
        ignored=("format",),
    ),
    LibrarySchema(
        "Microsoft.Extensions.AI",
        {
            "$schema": DRAFT_2020,
            "description": "A city",
            **closed(name={"type": ["string", "null"], "$comment": "from C#"}),
        },
    ),
    LibrarySchema(
        "LangChain4j: without a word about other properties",
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        strict=None,
    ),
    LibrarySchema(
        "instructor and DSPy: a Pydantic model as it is, not strict",
        {
            "$defs": {
                "Address": {
                    "properties": {"city": {"title": "City", "type": "string"}},
                    "required": ["city"],
                    "title": "Address",
                    "type": "object",
                }
            },
            "properties": {
                "name": {"title": "Name", "type": "string"},
                "homes": {"items": {"$ref": "#/$defs/Address"}, "title": "Homes", "type": "array"},
                "best": {"$ref": "#/$defs/Address", "description": "The best"},
            },
            "required": ["name", "homes", "best"],
            "title": "Person",
            "type": "object",
        },
        strict=None,
    ),
    LibrarySchema(
        "Pydantic: a recursive model, not strict",
        {"$defs": {"Node": NODE}, "$ref": "#/$defs/Node"},
        strict=False,
    ),
)
"""The upstream enforces these, as OpenAI does, or would if nothing had to be said beside a reference."""

INSTRUCTED = (
    LibrarySchema(
        "Pydantic: properties with a default are optional",
        {
            "properties": {
                "name": {"title": "Name", "type": "string"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            },
            "required": ["name"],
            "title": "Person",
            "type": "object",
        },
        strict=None,
    ),
    LibrarySchema(
        "Pydantic: a dict",
        {
            "properties": {
                "values": {"additionalProperties": {"type": "integer"}, "type": "object"}
            },
            "required": ["values"],
            "type": "object",
        },
        strict=False,
    ),
    LibrarySchema(
        "Pydantic: a tuple",
        closed(
            at={
                "maxItems": 2,
                "minItems": 2,
                "prefixItems": [{"type": "integer"}] * 2,
                "type": "array",
            }
        ),
        strict=False,
    ),
    LibrarySchema(
        "zod 4: z.record()",
        closed(
            a={
                "type": "object",
                "propertyNames": {"type": "string"},
                "additionalProperties": {"type": "number"},
            }
        ),
        strict=False,
    ),
    LibrarySchema("Pydantic: Any", closed(x={"title": "X"}), strict=False),
)
"""No strict upstream takes these. With `strict: true` OpenAI refuses them, and so does the gateway."""
