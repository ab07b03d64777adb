package pbxtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"frontdesk/media"
)

// sound is a recording's file: a tone as long as the talk.
type sound struct {
	id     int
	row    Row
	name   string
	tone   int // Hz
	length time.Duration
	ended  time.Time
}

// recording makes the recording of an extension's talk and returns its id, 0
// where there is none. mu is held.
func (s *State) recording(a *Account, l *Leg) int {
	if l.Kind != Extension || talking(*l) <= 0 {
		return 0
	}
	if u := s.tables["Users"].by("Number", l.Number); u != nil && u["RecordCalls"] == false {
		return 0
	}
	id := s.id()
	from, fromType := a.Caller.Number, "Extension"
	if a.Direction == Inbound {
		from, fromType = a.Trunk, "ExternalLine"
	}
	name := fmt.Sprintf("[%s]_%s-%s_%s(%d).wav", l.Name, l.Number, a.Caller.Number, l.Answered.UTC().Format("20060102150405"), a.Number)
	r := Row{
		"Id": id, "StartTime": stamp(l.Answered), "EndTime": stamp(l.Ended), "CallType": recordedType(a.Direction),
		"FromDn": from, "FromDnType": fromType, "FromCallerNumber": a.Caller.Number, "FromDisplayName": a.Caller.Name, "FromDidNumber": a.Dialled,
		"ToDn": l.Number, "ToDnType": "Extension", "ToCallerNumber": l.Number, "ToDisplayName": l.Name, "ToDidNumber": "",
		"FromIdParticipant": id*10 + 1, "ToIdParticipant": id*10 + 2, "RefParticipantId": 0, "RecordingUrl": l.Number + "/" + name,
		"IsArchived": false, "IsTranscribed": false, "CanBeTranscribed": true,
	}
	s.calls.sounds = append(s.calls.sounds, sound{id: id, row: r, name: name, tone: ToneOf(l.Number), length: talking(*l), ended: l.Ended})
	return id
}

func recordedType(d Direction) string {
	switch d {
	case Inbound:
		return "InboundExternal"
	case Outbound:
		return "OutboundExternal"
	}
	return "Local"
}

// whole is how much of a file there is, from 0 to 1. ok is false while there is
// no file.
func (s *State) whole(f sound) (portion float64, ok bool) {
	age := s.now().Sub(f.ended) - s.cfg.RecordingDelay
	switch {
	case age < 0:
		return 0, false
	case age >= s.cfg.RecordingGrowing:
		return 1, true
	}
	return float64(age) / float64(s.cfg.RecordingGrowing), true
}

// listRecordings lists the files that have appeared. Recordings(5) is no
// operation: it is answered 404 by builds of v20.
func listRecordings(a *API, q *request) (any, *failure) {
	t := a.state.tables["Recordings"]
	options, fail := parseQuery(q.query, t)
	if fail != nil {
		return nil, fail
	}
	return options.page(t, a.state.Recordings()), nil
}

// Recordings are the rows of the recordings whose files have appeared, by id.
func (s *State) Recordings() []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []Row{}
	for _, f := range s.calls.sounds {
		if _, ok := s.whole(f); ok {
			rows = append(rows, f.row)
		}
	}
	return rows
}

// download is a recording as far as it has been written: while it grows, the
// header tells the length so far, as a whole file's would.
func download(a *API, q *request) (any, *failure) {
	id, err := strconv.Atoi(q.last().args["recId"])
	if err != nil {
		return nil, invalid("recId is no number")
	}
	s := a.state
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.calls.sounds, func(f sound) bool { return f.id == id })
	if i < 0 {
		return nil, &failure{status: http.StatusNotFound}
	}
	f := s.calls.sounds[i]
	portion, ok := s.whole(f)
	if !ok {
		return nil, &failure{status: http.StatusNotFound}
	}
	return file{f.name, "audio/x-wav", wav(media.Tone(float64(f.tone), time.Duration(float64(f.length)*portion)))}, nil
}

// wav is 8 kHz mono PCM as a RIFF file.
func wav(pcm []int16) []byte {
	const rate, header = 8000, 36
	var b bytes.Buffer
	data := uint32(2 * len(pcm))
	for _, v := range []any{
		[]byte("RIFF"), header + data, []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16),
		[]byte("data"), data, pcm,
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // into memory, of fixed sizes: it cannot fail
	}
	return b.Bytes()
}
