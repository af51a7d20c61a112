"""The predictor that Cog serves: typed inputs and nothing else.

Cog's build reads this file without running it, so every input is written out in literals;
`musicgen_service/requests/fields.py` holds the same bounds, and a test compares the two.
"""

from typing import Optional

from cog import Input, Path, concurrent

from musicgen_service.serving.any_system import AnySystem


class Predictor(AnySystem):
    """Text, melody, chords, continuation, loop, remix, repaint and encode-decode with any MusicGen checkpoint."""

    @concurrent(max=8)
    async def run(
        self,
        prompt: Optional[str] = Input(
            description="A description of the music you want to generate.",
        ),
        negative_prompt: Optional[str] = Input(
            description="A description of what the music should not be like.",
        ),
        sections: Optional[str] = Input(
            description="The form of the piece, a line for each section: 'intro 8 s: soft piano', 'verse 16 bars: drums join / chords: Am F C G / not: vocals'. Each has its own words after the prompt; duration follows from them.",
        ),
        model_version: str = Input(
            description="Model to use. 'auto' takes the best one present that can do the task.",
            default="auto",
            choices=[
                "auto",
                "small",
                "medium",
                "large",
                "melody",
                "melody-large",
                "stereo-small",
                "stereo-medium",
                "stereo-large",
                "stereo-melody",
                "stereo-melody-large",
                "demo",
            ],
        ),
        adapter: Optional[str] = Input(
            description="An adapter of the weights folder, trained on songs of your own: 'mystyle', weaker 'mystyle:0.7', or two 'mystyle+other'.",
        ),
        task: str = Input(
            description="What to do. 'auto' continues input_audio when continuation is true, follows its melody when it is false, and goes by the prompt alone without input_audio; with chords to play, it plays them.",
            default="auto",
            choices=["auto", "text", "melody", "chords", "continuation", "loop", "remix", "repaint", "encode-decode"],
        ),
        input_audio: Optional[Path] = Input(
            description="An audio file to continue, to follow the melody of, to remix, to repaint a part of, or to encode and decode.",
        ),
        duration: float = Input(
            description="Total length of the output in seconds, continued audio included. For a loop: the longest it may be, 2 to 20. A remix is as long as its song.",
            default=8,
            ge=1,
            le=600,
        ),
        continuation: bool = Input(
            description="If true, the output goes on from input_audio; if false, it follows its melody.",
            default=False,
        ),
        continuation_start: float = Input(
            description="Where the part of input_audio to use, or to repaint, starts, in seconds.",
            default=0,
            ge=0,
            le=900,
        ),
        continuation_end: Optional[float] = Input(
            description="Where the part of input_audio to use, or to repaint, ends, in seconds. -1 or none: the end of the file.",
            ge=-1,
            le=900,
        ),
        multi_band_diffusion: bool = Input(
            description="If true, tokens are decoded with MultiBand Diffusion: cleaner and much slower.",
            default=False,
        ),
        normalization_strategy: str = Input(
            description="How the level is set: loudness (-14 LUFS), clip (limit at -1 dB), peak (-1 dB) or rms (-18 dB).",
            default="loudness",
            choices=["loudness", "clip", "peak", "rms"],
        ),
        top_k: int = Input(
            description="Draw each token from this many likeliest ones. 0: from all.",
            default=250,
            ge=0,
            le=2048,
        ),
        top_p: float = Input(
            description="Draw each token from the likeliest ones that together reach this probability. 0: top_k decides.",
            default=0,
            ge=0,
            le=1,
        ),
        temperature: float = Input(
            description="Higher is more varied, lower is safer. 0 always takes the likeliest token.",
            default=1,
            ge=0,
            le=10,
        ),
        classifier_free_guidance: float = Input(
            description="How closely the output keeps to the prompt and the melody.",
            default=3,
            ge=0,
            le=20,
        ),
        bpm: Optional[float] = Input(
            description="Tempo in beats per minute, added to a prompt that names none. A loop has it exactly.",
            ge=40,
            le=300,
        ),
        time_signature: Optional[str] = Input(
            description="Time signature of text_chords, such as 3/4 or 6/8. bpm counts its notes, and in 6/8, 9/8 and 12/8 dotted ones. None: 4/4.",
        ),
        text_chords: Optional[str] = Input(
            description="Chords to play, bar by bar, again and again: 'Am F C G', 'C:min7,G:7 F', '| C / F G | Am % |', 'ii V I in C major'. Needs a tempo.",
        ),
        audio_chords: Optional[Path] = Input(
            description="An audio file whose chords to play, as long as they last in it.",
        ),
        variations: int = Input(
            description="How many clips to make, each from a seed of its own.",
            default=1,
            ge=1,
            le=20,
        ),
        beat_sync_threshold: float = Input(
            description="Remix: downbeats further apart than this many seconds are not aligned.",
            default=0.75,
            ge=0,
            le=10,
        ),
        chroma_coefficient: float = Input(
            description="How strongly chords are imposed: those asked for, or those of a remix's song. 1 is neutral.",
            default=1,
            ge=0.5,
            le=2.5,
        ),
        return_stems: bool = Input(
            description="Also return the stems of each clip: vocals and accompaniment, or drums, bass, other and vocals where Demucs is present; of a remix its backing and vocals.",
            default=False,
        ),
        return_midi: bool = Input(
            description="Also return a MIDI file for each clip: tempo map, key, chords, melody and bass as they are heard in it.",
            default=False,
        ),
        trim_to_bars: bool = Input(
            description="Cut the clip from its first downbeat to its last bar line.",
            default=False,
        ),
        repeat: int = Input(
            description="Loop: how often it is repeated in its file.",
            default=1,
            ge=1,
            le=64,
        ),
        fade_in: float = Input(
            description="Length of the fade at the beginning, in seconds.",
            default=0,
            ge=0,
            le=60,
        ),
        fade_out: float = Input(
            description="Length of the fade at the end, in seconds.",
            default=0,
            ge=0,
            le=60,
        ),
        output_format: str = Input(
            description="Format of the output files.",
            default="wav",
            choices=["wav", "mp3", "flac", "ogg"],
        ),
        sample_rate: Optional[int] = Input(
            description="Samples per second of the output files. None: as the model makes them, 32000.",
            choices=[32000, 44100, 48000],
        ),
        bit_depth: int = Input(
            description="Bits per sample of wav and flac files; 32 are floating-point, in wav alone.",
            default=16,
            choices=[16, 24, 32],
        ),
        seed: Optional[int] = Input(
            description="Seed of the random numbers. None, 0 or -1: a random one, reported in the metrics.",
            ge=-1,
            le=4294967295,
        ),
    ) -> list[Path]:
        """Make the clips of one request."""
        return await self.run_request(locals())
