// Package recording keeps the recordings of talks from their making until the
// CRM has them.
//
// A Keeper owns one folder. A bridged call is recorded into a Tape, a WAV file
// with the caller on the left and the employee on the right, which gets its name
// when it is whole; what a crash left is mended at the next start. A recording
// that the PBX made is fetched from there, and counts as whole when its header,
// its duration and its size agree. Either is named by a text that stands in the
// record of the call: "file:NAME", "pbx:ID", or "pbx" for one that is still to
// be found by time and numbers.
//
// Whoever delivers asks for a talk's recording by Open. What has to be cut to
// the talk, turned to mp3 or fetched first is done in the background, one at a
// time, and Open says ErrNotReady until it is there. The mp3 is made by lame;
// where lame is missing, or fails, the WAV is delivered. A file is removed when
// its delivery was confirmed, never before.
package recording
