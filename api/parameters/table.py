"""The one table of parameters: parsing, refusals, /openapi.json and /v1/models all read it."""

from __future__ import annotations

from dataclasses import dataclass

from api.parameters.kinds import Adapter, Flag, Integer, Kind, Number, Rate, Seconds, Steps, Text, WebhookUrl
from api.parameters.sizes import Shape
from api.parameters.structures import CLIP, PICTURE, Items, Metadata, Part, Reference
from domain.catalogue import MOST_TOTAL_SECONDS, NEEDS
from domain.video import PROMPT_LIMIT, Operation

DEFAULT_MODEL = "sora-2"
DEFAULT_SECONDS = "4"
MOST_SEED = 2**63 - 1
MOST_GUIDANCE = 30.0
PRIORITY = 10  # either way
SHOT_PROMPT_LIMIT = 4_000
MOST_CHARACTERS, MOST_KEYFRAMES, MOST_LORAS, MOST_SHOTS = 2, 8, 4, 20

CREATE, REMIX, EDIT, EXTEND = Operation.CREATE, Operation.REMIX, Operation.EDIT, Operation.EXTEND
ALL = frozenset(Operation)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One name of a body: what it holds, which calls take it, and what the model must be able to do."""

    name: str
    kind: Kind
    about: str
    operations: frozenset[Operation] = ALL
    required: bool = False
    capability: str | None = None
    default: str | None = None

    @property
    def structured(self) -> bool:
        """Whether a form may hold it as JSON text."""
        return isinstance(self.kind, (Items, Metadata, Reference))

    @property
    def is_reference(self) -> bool:
        """Whether a form may hold it as a file."""
        return isinstance(self.kind, Reference)


def _extra(name: str, kind: Kind, about: str, *operations: Operation) -> Parameter:
    return Parameter(name, kind, about, frozenset(operations) or ALL, capability=NEEDS.get(name))


_SHOT = (
    Part("prompt", Text(SHOT_PROMPT_LIMIT), required=True),
    Part("seconds", Integer(1, MOST_TOTAL_SECONDS), required=True),
    Part("reference", PICTURE, capability="first_frame"),
)
_KEYFRAME = (Part("second", Number(0, MOST_TOTAL_SECONDS), required=True), Part("image", PICTURE, required=True))
_LORA = (Part("name", Adapter(), required=True), Part("weight", Number(-2, 2)))

PARAMETERS = (
    Parameter("prompt", Text(PROMPT_LIMIT), "What to show.", required=True),
    Parameter(
        "video",
        CLIP,
        "The clip to work on: an MP4 file, the id of a completed video, or a file_id.",
        frozenset({EDIT, EXTEND}),
        required=True,
    ),
    Parameter(
        "model",
        Text(200, least=0),
        "A name or alias of GET /v1/models. A video given by id is worked on by its own model.",
        frozenset({CREATE, EDIT, EXTEND}),
        default=DEFAULT_MODEL,
    ),
    Parameter("seconds", Seconds(), "Length; with shots, their sum.", frozenset({CREATE}), default=DEFAULT_SECONDS),
    Parameter("seconds", Seconds(extension=True), "New seconds.", frozenset({EXTEND}), required=True),
    _extra("size", Shape("size"), "Width and height of the file.", CREATE),
    _extra("aspect_ratio", Shape("aspect_ratio"), "Picks the first of the model's sizes with this shape.", CREATE),
    _extra("resolution", Shape("resolution"), "Picks by the shorter side, or by a size.", CREATE),
    _extra("input_reference", PICTURE, "The first frame, of exactly the video's size.", CREATE),
    _extra("last_frame", PICTURE, "The last frame, of exactly the video's size.", CREATE, EXTEND),
    _extra(
        "keyframes",
        Items(_KEYFRAME, MOST_KEYFRAMES),
        "Pictures that the clip shows at given seconds; an extension counts its new ones.",
        CREATE,
        EXTEND,
    ),
    _extra(
        "shots",
        Items(_SHOT, MOST_SHOTS),
        "Parts with prompts of their own; their seconds add up to the video's.",
        CREATE,
    ),
    _extra("mask", PICTURE, "Where to repaint (white), of exactly the video's size.", EDIT),
    _extra("strength", Number(0, 1), "How far to go from the source: 0 keeps it, 1 ignores it.", REMIX, EDIT),
    _extra("negative_prompt", Text(PROMPT_LIMIT, least=0), "What not to show."),
    _extra("style", Text(500, least=0), "How it should look."),
    _extra("motion_intensity", Number(0, 1), "How much should move: 0 is still."),
    _extra("fps", Rate(), "Frames a second in the file.", CREATE, REMIX, EDIT),
    _extra("steps", Steps(1, 10_000), "Forwards of the denoiser."),
    _extra("guidance", Number(0, MOST_GUIDANCE), "How closely to follow the prompt."),
    _extra("seed", Integer(0, MOST_SEED), "The same seed and request give the same clip."),
    _extra("loras", Items(_LORA, MOST_LORAS), "Adapters of the model by name, with weights (1)."),
    _extra("characters", Items((Part("id", Text(64), required=True),), MOST_CHARACTERS), "Who appears, by id.", CREATE),
    _extra("priority", Integer(-PRIORITY, PRIORITY), "Higher goes first among the tenant's own videos."),
    _extra("metadata", Metadata(), "Texts of your own, kept with the video."),
    _extra("safety_identifier", Text(64), "Your own stable name for the end user."),
    _extra("webhook_url", WebhookUrl(), "Where this video's events are sent too."),
    _extra("dry_run", Flag(), "Check, moderate by rules and price, but make nothing."),
)
# Other names for parameters, by call; both at once are refused.
ALIASES: dict[Operation, dict[str, str]] = {
    CREATE: {"duration": "seconds", "input_file": "input_reference"},
    REMIX: {},
    EDIT: {"input_file": "video"},
    EXTEND: {
        "duration": "seconds",
        "duration_extension": "seconds",
        "prompt_continuation": "prompt",
        "input_file": "video",
    },
}


def of(operation: Operation) -> dict[str, Parameter]:
    """What a call takes, by name."""
    return {parameter.name: parameter for parameter in PARAMETERS if operation in parameter.operations}


_FORM_JSON = {parameter.name for parameter in PARAMETERS if parameter.structured}
_ELSEWHERE = {"expires_after", "output_expires_after"}  # of files and batches
STRUCTURED = frozenset(
    _FORM_JSON | _ELSEWHERE | {alias for names in ALIASES.values() for alias in names if alias == "input_file"}
)
KNOWN = frozenset({parameter.name for parameter in PARAMETERS}.union(*ALIASES.values()))
