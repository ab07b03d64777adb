package pbx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"frontdesk/call"
)

// maxRecording bounds a download: some 16 hours of telephone audio.
const maxRecording = 1 << 30

// downloadWithin bounds how long a recording may take.
const downloadWithin = 30 * time.Minute

// Recording is an audio file of a part of a call. 3CX writes it seconds to
// minutes after that part ended; a transferred call has several.
type Recording struct {
	ID       int
	Type     string // Local, InboundExternal, OutboundExternal
	Started  time.Time
	Ended    time.Time
	From     RecordingParty
	To       RecordingParty
	Path     string // relative, with the callid in its name; may be empty
	Archived bool   // moved to other storage
}

// RecordingParty is one side of a recording.
type RecordingParty struct {
	DN     call.Extension // extension, queue or trunk
	Type   string         // of the DN
	Number string         // the telephone number, as 3CX has it
	Name   string
	DID    string
}

// RecordingsBetween reads the recordings that began from from until to, oldest
// first.
func (c *Client) RecordingsBetween(ctx context.Context, from, to time.Time) ([]Recording, error) {
	filter := fmt.Sprintf("StartTime ge %s and StartTime le %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	return rows(ctx, c, "recordings", "/Recordings", query{"$filter", filter, "$orderby", "Id asc"}, recordingWire.recording)
}

type recordingWire struct {
	ID, CallType, StartTime, EndTime, RecordingURL, IsArchived loose
	recordingFromWire
	recordingToWire
}

type recordingFromWire struct {
	FromDn, FromDnType, FromCallerNumber, FromDisplayName, FromDidNumber loose
}

type recordingToWire struct {
	ToDn, ToDnType, ToCallerNumber, ToDisplayName, ToDidNumber loose
}

func (w recordingWire) recording() (Recording, bool) {
	archived, _ := w.IsArchived.bool()
	side := func(dn, kind, number, name, did loose) RecordingParty {
		return RecordingParty{call.Extension(dn.text()), kind.text(), number.text(), name.text(), did.text()}
	}
	r := Recording{
		ID: w.ID.int(), Type: w.CallType.text(), Started: w.StartTime.time(), Ended: w.EndTime.time(),
		From: side(w.FromDn, w.FromDnType, w.FromCallerNumber, w.FromDisplayName, w.FromDidNumber),
		To:   side(w.ToDn, w.ToDnType, w.ToCallerNumber, w.ToDisplayName, w.ToDidNumber),
		Path: w.RecordingURL.text(), Archived: archived,
	}
	return r, r.ID > 0
}

// errNoAudio: what came instead of a recording was a page or a message.
var errNoAudio = errors.New("the answer is no audio")

// Download writes a recording to w, and is how many bytes it has. A file that
// 3CX still writes comes as far as it is there: whoever wants it whole compares
// two downloads, or its duration with the recording's.
func (c *Client) Download(ctx context.Context, id int, w io.Writer) (int64, error) {
	const name = "download"
	ctx, cancel := context.WithTimeout(ctx, downloadWithin)
	defer cancel()
	var n int64
	path := xapi + "/Recordings/Pbx.DownloadRecording(recId=" + strconv.Itoa(id) + ")"
	err := c.exchange(ctx, request{name: name, path: path}, func(res *http.Response) error {
		switch kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind {
		case "text/html", "application/json", "text/plain":
			return fmt.Errorf("%s: %w but %s", name, errNoAudio, kind)
		}
		var err error
		n, err = io.Copy(w, io.LimitReader(res.Body, maxRecording+1))
		if err == nil && n > maxRecording {
			err = errTooLarge
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return n, err
}
