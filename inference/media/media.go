// Package media is the border between files that people know (pictures, sound, mp4) and arrays that networks know.
// Inwards: an audio file becomes 16 kHz mono samples, a picture becomes RGB bytes, letterboxed as in training.
// Outwards: RGB frames and the original audio become an mp4.
//
// Everything it reads is foreign and possibly hostile: formats are told by content and not by name, sizes are checked
// before anything is decoded, a decoder that panics gives an error, and ffmpeg is given one local file, in one of a few
// container formats. ffmpeg and the decoder of pictures are processes of their own in a sandbox, which holds should one of
// these guards have a hole.
//
// It must not know jobs, URLs, latents or models.
package media
