"""Analysis of recordings: stems, beats, chords, key. Arrays in, arrays out."""
