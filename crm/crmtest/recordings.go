package crmtest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// upload is an address that a recording may be posted to.
type upload struct {
	call, name string
	user       int
	until      time.Time
}

// uploadLife is how long an address for an upload is good.
const uploadLife = 10 * time.Minute

// uploadMethod is the name under which faults and records know uploads.
const uploadMethod = "upload"

// uploadField is the name of the part that holds the file.
const uploadField = "file"

// ExpireUploads ends the life of all addresses for uploads.
func (p *Portal) ExpireUploads() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.calls.uploads)
}

// attachRecord takes a recording within the request, or names an address for
// it.
func attachRecord(p *Portal, c invocation) (answer, *Failure) {
	id, name := c.text("CALL_ID"), c.text("FILENAME")
	done, ok := p.calls.finished[id]
	switch {
	case id == "":
		return answer{}, core("Required parameters are not set")
	case !ok:
		return answer{}, core("Call is not found in the statistic table. Probably the call was not finished")
	case c.text("RECORD_URL") != "":
		return answer{}, core("Server returns HTTP error code 404") // the sandbox reaches for nothing
	case name == "":
		return answer{}, core("File name is empty")
	case badExtension(name):
		return answer{}, core(fmt.Sprintf("Wrong file extension in %q. Only mp3 and wav are allowed", name))
	}
	content := c.arg("FILE_CONTENT")
	if content == nil {
		return p.uploadAddress(c, upload{call: id, name: name})
	}
	if str(content) == "" {
		return answer{}, core("File content is empty.")
	}
	audio, err := base64.StdEncoding.DecodeString(str(content))
	if err != nil {
		return answer{}, core("File content is not properly encoded")
	}
	return p.attach(done, name, audio)
}

func badExtension(name string) bool {
	lower := strings.ToLower(name)
	return !strings.HasSuffix(lower, ".mp3") && !strings.HasSuffix(lower, ".wav")
}

func (p *Portal) uploadAddress(c invocation, u upload) (answer, *Failure) {
	if c.batched {
		return answer{}, &Failure{405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage"}
	}
	token := strings.ToLower(rand.Text())
	u.user, u.until = c.user, p.now().Add(uploadLife)
	p.calls.uploads[token] = u
	return answer{result: map[string]any{
		"uploadUrl": c.base + "/rest/upload.json?auth=" + token[:8] + "&token=telephony%7C" + token, "fieldName": uploadField,
	}}, nil
}

// uploaded finds an address by what was posted to. mu must be free.
func (p *Portal) uploaded(token string) (upload, *Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.calls.uploads[strings.TrimPrefix(token, "telephony|")]
	if !ok || p.now().After(u.until) {
		return upload{}, &Failure{401, "expired_token", "The access token provided has expired."}
	}
	return u, nil
}

// uploadRecord takes a recording that was posted to an address.
func uploadRecord(p *Portal, c invocation) (answer, *Failure) {
	u, ok := p.calls.uploads[strings.TrimPrefix(c.text("token"), "telephony|")]
	if !ok {
		return answer{}, &Failure{401, "expired_token", "The access token provided has expired."}
	}
	done, ok := p.calls.finished[u.call]
	file, sent := c.files[uploadField]
	switch {
	case !ok:
		return answer{}, core("Call is not found in the statistic table")
	case !sent:
		return answer{}, core("File content is empty.")
	}
	return p.attach(done, u.name, file)
}

// attach puts a recording on the drive and replaces the one before.
func (p *Portal) attach(done *Call, name string, audio []byte) (answer, *Failure) {
	switch {
	case len(audio) == 0:
		return answer{}, core("File content is empty.")
	case !soundsRight(audio):
		return answer{}, core("Wrong file content: it is no audio")
	}
	delete(p.drive.files, done.RecordID)
	done.Record, done.RecordID, done.AudioSize = name, p.keepFile(name, done, len(audio)), len(audio)
	done.Attached++
	if done.Audio = nil; !p.calls.drop {
		done.Audio = bytes.Clone(audio)
	}
	return answer{result: map[string]any{"FILE_ID": done.RecordID}}, nil
}

// soundsRight reports whether content is sniffed as audio: a WAV, or MP3 with a
// tag or from its first frame.
func soundsRight(b []byte) bool {
	switch {
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WAVE":
		return true
	case bytes.HasPrefix(b, []byte("ID3")):
		return true
	}
	return len(b) >= 2 && b[0] == 0xFF && b[1]&0xE0 == 0xE0
}
