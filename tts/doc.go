// Package tts turns a prompt's text into audio, once.
//
// An Engine speaks a text: Google over the network, or espeak-ng as a program
// on this machine. A Store stands before the engines and gives a player what it
// wants for a text. It looks, in this order, at what it holds in memory, at
// recorded prompts (a WAV that somebody spoke wins over any engine), at the
// cache directory, and only then renders. Rendering is done once however many
// calls ask for the same text, by a few at a time, and goes on in the
// background when the call that asked cannot wait any longer: the next call
// finds it ready.
//
// Engines are tried in order of preference. What a fallback engine spoke is
// kept as its own and never as the preferred engine's, so that the better voice
// is heard as soon as its engine is back.
//
// All audio inside frontdesk is 8 kHz mono of 16-bit samples. Engines and
// recordings may come in any common WAV form and rate; they are mixed down and
// resampled here.
package tts
