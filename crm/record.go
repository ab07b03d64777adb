package crm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Recording is an audio file for the portal. It is read once for each try.
type Recording struct {
	Name string // with the ending .mp3 or .wav
	Size int64  // in bytes; a file that turns out shorter or longer is not delivered
	Open func() (io.ReadCloser, error)
}

const (
	methodAttach = "telephony.externalCall.attachRecord"
	// uploading is the upload's name in metrics and errors.
	uploading = "upload"
	// inlineMost is up to where a recording goes within the request; what is
	// longer is streamed from its file, so that memory stays flat.
	inlineMost = 1 << 20
	// activityMost bounds the files of an activity, which only go within the
	// request.
	activityMost = 32 << 20
	// slowest is the throughput, in bytes a second, below which an upload is
	// given up.
	slowest = 32 << 10
)

func (r Recording) check() error {
	name := strings.ToLower(r.Name)
	switch {
	case !strings.HasSuffix(name, ".mp3") && !strings.HasSuffix(name, ".wav"):
		return fmt.Errorf("%w: the recording is neither .mp3 nor .wav", errRefused)
	case r.Size <= 0 || r.Open == nil:
		return fmt.Errorf("%w: the recording is empty", errRefused)
	}
	return nil
}

// content is the whole file.
func (r Recording) content() (data []byte, err error) {
	f, err := r.Open()
	if err != nil {
		return nil, fmt.Errorf("opening the recording: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data = make([]byte, r.Size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading the recording: %w", err)
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("reading the recording: %w", errGrows)
	}
	return data, nil
}

var (
	errGrows  = errors.New("the file is longer than said: it may be in the making")
	errUpload = errors.New("the portal names no usable address for the upload")
)

// AttachRecord gives a finished call its recording
// (telephony.externalCall.attachRecord) and tells its file's id on the portal's
// drive. Doing it again, as after an ambiguous failure, replaces the recording
// and makes a new file. A short one goes within the request; for a
// longer one the portal gives an address, which holds a credential and dies
// soon. NotYet: the call is to be finished before.
func (c *Client) AttachRecord(ctx context.Context, callID string, r Recording) (file int, err error) {
	if callID == "" {
		return 0, fmt.Errorf("%s: %w: no call", methodAttach, errRefused)
	}
	if err := r.check(); err != nil {
		return 0, fmt.Errorf("%s: %w", methodAttach, err)
	}
	if r.Size <= inlineMost {
		return c.attach(ctx, callID, r)
	}
	for again := true; ; again = false {
		file, err = c.deliver(ctx, callID, r)
		if !again || !Denied(err) || WrongAuth(err) || !hasMethod(err, uploading) {
			return file, err
		}
	}
}

func hasMethod(err error, method string) bool {
	var e *Error
	return errors.As(err, &e) && e.Method == method
}

// attach sends a recording within the request.
func (c *Client) attach(ctx context.Context, callID string, r Recording) (int, error) {
	data, err := r.content()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", methodAttach, err)
	}
	var out attached
	err = c.serve(ctx, LaneUpload, methodAttach, map[string]any{
		"CALL_ID": callID, "FILENAME": r.Name, "FILE_CONTENT": base64.StdEncoding.EncodeToString(data),
	}, &out)
	if err != nil {
		return 0, err
	}
	return c.fileOf(ctx, callID, out)
}

// fileOf is the file of a recording that was taken: as the answer says, or else
// as the statistics have it.
func (c *Client) fileOf(ctx context.Context, callID string, a attached) (int, error) {
	if id := whole(a.File); id > 0 {
		return id, nil
	}
	rows, err := c.statistics(ctx, "CALL_ID", []string{callID})
	if err != nil {
		return 0, err
	}
	for _, r := range rows[callID] {
		if id := whole(r.File); id > 0 {
			return id, nil
		}
	}
	return 0, fmt.Errorf("%s: %w: %w", methodAttach, errShape, errNoID)
}

// attached is the answer to a recording, or to the wish to send one.
type attached struct {
	File  json.RawMessage `json:"FILE_ID"`
	URL   json.RawMessage `json:"uploadUrl"`
	Field json.RawMessage `json:"fieldName"`
}

// deliver asks for an address and sends a recording there.
func (c *Client) deliver(ctx context.Context, callID string, r Recording) (int, error) {
	var out attached
	err := c.serve(ctx, LaneUpload, methodAttach, map[string]any{"CALL_ID": callID, "FILENAME": r.Name}, &out)
	if err != nil {
		return 0, err
	}
	to, err := c.uploadAddress(ctx, word(out.URL))
	if err != nil {
		return 0, err
	}
	field := word(out.Field)
	if field == "" {
		field = "file"
	}
	if err := c.bucket.wait(ctx, LaneUpload); err != nil {
		return 0, fmt.Errorf("%s: %w", uploading, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writePatience+time.Duration(r.Size/slowest)*time.Second)
	defer cancel()
	began := time.Now()
	answer, err := c.upload(ctx, to, field, r)
	c.metrics.request(uploading, err, time.Since(began))
	if hasCode(err, CodeQueryLimit) {
		c.bucket.drain()
	}
	if err != nil {
		return 0, err
	}
	if err := decode(uploading, answer.Result, &out); err != nil {
		return 0, err
	}
	return c.fileOf(ctx, callID, out)
}

// uploadAddress checks an address that the portal named: nothing is sent to
// another host, or without TLS where the portal has it. Its errors never quote
// it.
func (c *Client) uploadAddress(ctx context.Context, address string) (*url.URL, error) {
	home, _, _, err := c.signed(ctx, request{method: methodAttach, body: []byte("{}"), as: c.portalFor(methodAttach)})
	if err != nil {
		return nil, err
	}
	home = moveTo(home, c.moved.Load())
	to, err := url.Parse(address)
	switch {
	case err != nil || !strings.EqualFold(to.Host, home.Host):
		return nil, fmt.Errorf("%s: %w", uploading, errUpload)
	case to.Scheme != "https" && to.Scheme != home.Scheme:
		return nil, fmt.Errorf("%s: %w", uploading, errUpload)
	}
	return to, nil
}

// portalFor is the portal's own credential as a method takes it.
func (c *Client) portalFor(method string) *credential {
	if _, only := c.voices.appOnly.Load(strings.ToLower(method)); only {
		return c.voices.app
	}
	return c.voices.portal
}

// upload posts a recording as a form, from its file.
func (c *Client) upload(ctx context.Context, to *url.URL, field string, r Recording) (answer envelope, err error) {
	hidden := secrets{to.RawQuery, to.RequestURI()}
	for _, values := range to.Query() {
		hidden = append(hidden, values...)
	}
	f, err := r.Open()
	if err != nil {
		return envelope{}, fmt.Errorf("opening the recording: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if _, err := w.CreateFormFile(field, r.Name); err != nil {
		return envelope{}, fmt.Errorf("writing the form: %w", err)
	}
	head := bytes.Clone(form.Bytes())
	form.Reset()
	if err := w.Close(); err != nil {
		return envelope{}, fmt.Errorf("writing the form: %w", err)
	}
	body := io.MultiReader(bytes.NewReader(head), f, &form)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), io.NopCloser(body))
	if err != nil {
		return envelope{}, fmt.Errorf("%s: %w", uploading, errUpload)
	}
	req.ContentLength = int64(len(head)) + r.Size + int64(form.Len())
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	res, err := c.do(uploading, req)
	if err == nil {
		answer, err = c.read(uploading, res)
	}
	return answer, hidden.hide(err)
}

// hide takes secrets out of an error.
func (s secrets) hide(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Text, e.Code = s.clean(e.Text), s.clean(e.Code)
		return err
	}
	if err != nil && s.clean(err.Error()) != err.Error() {
		return &unanswered{errors.New(s.clean(err.Error()))}
	}
	return err
}
