"""What a loaded model makes of a request's texts."""

from musicgen_service.models import text_reading
from musicgen_service.models.music_model import MusicModel
from musicgen_service.notes import note
from musicgen_service.requests import descriptions
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest


def note_unread_words(request: GenerationRequest, model: MusicModel) -> None:
    """Note the parts of a prompt, or of that of a section, that the model does not understand or does not read."""
    if not request.spec.samples_tokens:
        return
    texts = [(request.prompt, request.description)]
    if request.parts:
        texts = [
            (descriptions.joined(request.prompt, part.words), request.described(part)[0]) for part in request.parts
        ]
    for prompt, description in texts:
        if prompt is not None:
            readings = model.read_text(prompt), model.read_text(description or "")
            for sentence in text_reading.notes(model.name, *readings):
                note(sentence)


def refuse_negative_texts(request: GenerationRequest) -> None:
    """Refuse negative texts, for an engine that takes none.

    Raises
    ------
    RequestError
        When the request has any.
    """
    given = ["negative_prompt"] if request.negative_prompt is not None else []
    if any(part.negative_words for part in request.parts):
        given.append("'/ not:' in sections")
    if given:
        raise RequestError(
            [f"audiocraft's own loop, which is in use, takes no {name}: leave it out." for name in given]
        )
