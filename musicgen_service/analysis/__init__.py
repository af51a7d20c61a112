"""What a recording holds: stems, beats, chords. Arrays in, arrays out."""
