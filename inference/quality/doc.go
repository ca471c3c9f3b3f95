// Package quality measures what the declared savings cost: the same clip, of the same seed, exact and with each of them, and
// how far their latents and frames lie apart. What it finds holds for the weights it is given: those that this project can
// make itself are random numbers and say nothing about real pictures.
//
// It must not know how a saving works; it asks for qualities and step counts.
package quality
