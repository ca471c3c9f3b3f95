// Package whisper turns a 16 kHz voice into what HuMo's network listens to: Whisper's log-mel spectrogram, its
// encoder's hidden states merged into five bands at the video's frame rate, and one window of eight frames for each
// latent frame.
//
// It must not know files, codecs, prompts, images or samplers.
package whisper
