package frontdesk

import "embed"

// Audio is testdata/audio: the recordings that let the demo greet its callers
// where no speech engine is installed.
//
//go:embed testdata/audio/*.wav testdata/audio/*.txt
var Audio embed.FS
