"""Other implementations of MusicGen's decoder, which the engine is raced with."""
