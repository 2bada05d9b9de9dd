"""How many numbers each frame of drums, melody and chords has, and what the melody's begin with."""

N_DRUM_BANDS = 4
N_PITCHES = 53
PITCH_LOW_MIDI = 43
N_CHORD_CHANNELS = 37
