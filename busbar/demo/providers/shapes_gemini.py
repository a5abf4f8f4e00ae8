"""The shape of Gemini requests (generativelanguage v1beta), as a table of protobuf messages.

Names are those of the SDK's types (google-genai 3.4.0) that the API accepts. Hosted tools and their parts are let
through unchecked. What holds between the parts of a request is in `validate_gemini.py`.
"""

from typing import Any

from .protobuf import (
    Path,
    Reader,
    anything,
    blob,
    boolean,
    enum,
    floating,
    integer,
    mapping,
    message,
    repeated,
    string,
    struct,
)

BLOB = message("Blob", {"mimeType": string, "data": blob, "displayName": string})
FILE_DATA = message("FileData", {"mimeType": string, "fileUri": string, "displayName": string})
FUNCTION_CALL = message("FunctionCall", {"id": string, "name": string, "args": struct})
FUNCTION_RESPONSE = message(
    "FunctionResponse",
    {
        "id": string,
        "name": string,
        "response": struct,
        "parts": repeated(message("FunctionResponsePart", {"inlineData": BLOB, "fileData": FILE_DATA})),
        "willContinue": boolean,
        "scheduling": string,
    },
)
DATA: dict[str, Reader] = {
    "text": string,
    "inlineData": BLOB,
    "fileData": FILE_DATA,
    "functionCall": FUNCTION_CALL,
    "functionResponse": FUNCTION_RESPONSE,
    "executableCode": anything,
    "codeExecutionResult": anything,
    "toolCall": anything,
    "toolResponse": anything,
}
"""What a part carries: one of these."""
PART = message(
    "Part",
    {
        **DATA,
        "thought": boolean,
        "thoughtSignature": blob,
        "videoMetadata": anything,
        "partMetadata": struct,
        "mediaResolution": anything,
    },
    frozenset(DATA),
)
CONTENT = message("Content", {"role": string, "parts": repeated(PART)})

TYPES = ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")


def _schema(value: Any, path: Path) -> Any:
    return SCHEMA(value, path)


SCHEMA = message(
    "Schema",
    {
        "type": enum("Type", *TYPES),
        "format": string,
        "title": string,
        "description": string,
        "nullable": boolean,
        "enum": repeated(string),
        "items": _schema,
        "properties": mapping(_schema),
        "required": repeated(string),
        "propertyOrdering": repeated(string),
        "anyOf": repeated(_schema),
        "pattern": string,
        "minimum": floating,
        "maximum": floating,
        "default": anything,
        "example": anything,
        **dict.fromkeys(
            ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), integer
        ),
    },
)
"""The subset of JSON Schema that `parameters` and `responseSchema` take."""

FUNCTION = message(
    "FunctionDeclaration",
    {
        "name": string,
        "description": string,
        "parameters": SCHEMA,
        "parametersJsonSchema": anything,
        "response": SCHEMA,
        "responseJsonSchema": anything,
        "behavior": string,
    },
)
TOOL = message(
    "Tool",
    {
        "functionDeclarations": repeated(FUNCTION),
        **dict.fromkeys(
            (
                "codeExecution",
                "computerUse",
                "fileSearch",
                "googleMaps",
                "googleSearch",
                "googleSearchRetrieval",
                "mcpServers",
                "urlContext",
            ),
            anything,
        ),
    },
)
CALLING = message(
    "FunctionCallingConfig",
    {
        "mode": enum("FunctionCallingConfig.Mode", "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
        "allowedFunctionNames": repeated(string),
    },
)
TOOL_CONFIG = message(
    "ToolConfig",
    {"functionCallingConfig": CALLING, "retrievalConfig": anything, "includeServerSideToolInvocations": boolean},
)
THINKING = message(
    "ThinkingConfig",
    {
        "includeThoughts": boolean,
        "thinkingBudget": integer,
        "thinkingLevel": enum(
            "ThinkingConfig.ThinkingLevel", "THINKING_LEVEL_UNSPECIFIED", "LOW", "HIGH", "MEDIUM", "MINIMAL"
        ),
    },
)
GENERATION_CONFIG = message(
    "GenerationConfig",
    {
        "candidateCount": integer,
        "stopSequences": repeated(string),
        "maxOutputTokens": integer,
        "temperature": floating,
        "topP": floating,
        "topK": floating,
        "seed": integer,
        "presencePenalty": floating,
        "frequencyPenalty": floating,
        "responseLogprobs": boolean,
        "logprobs": integer,
        "responseMimeType": string,
        "responseSchema": SCHEMA,
        "responseJsonSchema": anything,
        "responseModalities": repeated(
            enum("GenerationConfig.Modality", "MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO")
        ),
        "thinkingConfig": THINKING,
        "enableEnhancedCivicAnswers": boolean,
        **dict.fromkeys(("imageConfig", "mediaResolution", "speechConfig"), anything),
    },
)
SAFETY_SETTING = message("SafetySetting", dict.fromkeys(("category", "threshold", "method"), anything))
_REQUEST: dict[str, Reader] = {
    "model": string,
    "contents": repeated(CONTENT),
    "systemInstruction": CONTENT,
    "generationConfig": GENERATION_CONFIG,
    "tools": repeated(TOOL),
    "toolConfig": TOOL_CONFIG,
    "safetySettings": repeated(SAFETY_SETTING),
    "cachedContent": string,
    "serviceTier": string,
    "store": boolean,
}
REQUEST = message("GenerateContentRequest", _REQUEST)
"""The body of :generateContent and :streamGenerateContent."""
COUNT_REQUEST = message("CountTokensRequest", {"contents": repeated(CONTENT), "generateContentRequest": REQUEST})
"""The body of :countTokens."""
